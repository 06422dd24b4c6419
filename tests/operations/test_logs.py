"""Where log lines go and how they look."""
import json
import re

from lakebed_server import Server

LINE = re.compile(r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z" level=(\w+) msg="((?:[^"\\]|\\.)*)"( [\w.]+=("(?:[^"\\]|\\.)*"|\S+))*')


def test_several_outputs_and_files_put_aside(tmp_path):
    at = tmp_path / "logs"
    at.mkdir()
    logging = {"format": "json", "level": "INFO", "audit_log_level": "INFO", "output": ["-", str(at / "server.log")], "file_max_size_mb": 1, "files_keep": 2}
    with Server(tmp_path / "lake", logging=logging) as server:
        # More than five files full of records.
        agent = "a client that says a lot of itself " * 200
        for _ in range(800):
            assert server.rest("GET", "/repositories", agent=agent)[0] == 200
    printed = server.log.read_text().splitlines()
    files = sorted(at.iterdir())
    assert [path.name for path in files if not re.fullmatch(r"server-[\dT.-]{23}\.log|server\.log", path.name)] == []
    assert len(files) == 3 and all(path.stat().st_size <= 1 << 20 for path in files)
    written = [line for path in files[:-1] + [at / "server.log"] for line in path.read_text().splitlines()]
    assert written == printed[-len(written):] and len(written) < len(printed)
    for line in printed:
        fields = json.loads(line)
        assert list(fields)[:3] == ["time", "level", "msg"]


def test_text_is_keys_and_values(tmp_path):
    with Server(tmp_path, logging={"format": "text", "level": "INFO", "audit_log_level": "INFO"}) as server:
        server.rest("GET", "/repositories", agent='one "two" three')
    lines = server.log.read_text().splitlines()
    assert lines and all(LINE.fullmatch(line) for line in lines), [line for line in lines if not LINE.fullmatch(line)]
    record = next(line for line in lines if "HTTP call ended" in line)
    assert 'client="one \\"two\\" three"' in record and " log_audit=true " in record and " status_code=200 " in record
