"""An import takes constant memory, however many files its source has (the short form: 50,000; the full one: a million)."""
import os
import time

from lakebed_server import Server

FILES = 1_000_000 if os.environ.get("LAKEBED_BOUNDED") == "full" else 50_000
MOST_MEMORY = 250 << 20


def test_an_import_takes_little_memory(tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for n in range(FILES):
        os.close(os.open(many / f"a-file-with-a-name-as-long-as-they-are-{n:08}.parquet", os.O_CREAT | os.O_WRONLY))
    local = {"path": str(tmp_path / "data"), "import_enabled": True, "allowed_external_prefixes": [str(many)]}
    with Server(tmp_path / "lake", blockstore={"type": "local", "local": local}) as server:
        server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})
        body = {"paths": [{"type": "common_prefix", "path": f"local://{many}/", "destination": "d/"}], "commit": {"message": ""}}
        at = "/repositories/lake/branches/main/import"
        task = server.rest("POST", at, body)[1]["id"]
        deadline = time.monotonic() + 600
        while not (shown := server.rest("GET", at, id=task)[1])["completed"]:
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)
        assert "error" not in shown and shown["ingested_objects"] == FILES, shown
        assert server.memory() < MOST_MEMORY, f"{server.memory() >> 20} MiB at the peak"
