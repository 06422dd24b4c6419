"""s5cmd: many operations at once, patterns, server-side copies (Go SDK version 1)."""
import json

import pytest
import trees
from conftest import BIN, Failed, run


@pytest.fixture
def s5cmd(server, aws_environment):
    def s5cmd(*words, **more):
        return run(BIN / "s5cmd", "--endpoint-url", server.endpoint, *words, **more, **aws_environment)

    return s5cmd


def test_files_go_up_round_and_down(s5cmd, repo, tmp_path, commit):
    source, back = trees.make(tmp_path / "source", trees.ODD, many=400, large=[30 << 20]), tmp_path / "back"
    lake = f"s3://{repo}/main"
    s5cmd("cp", "--part-size", "5", f"{source}/", f"{lake}/files/")
    listed = [json.loads(line) for line in s5cmd("--json", "ls", f"{lake}/files/*").splitlines()]
    assert {entry["key"].removeprefix(f"{lake}/files/"): entry.get("size", 0) for entry in listed} == {name: size for name, (size, _) in trees.contents(source).items()}
    assert s5cmd("ls", f"s3://{repo}").split() == ["DIR", "main/"]
    ref = commit()
    # Renaming is copying on the server and deleting in bulk.
    s5cmd("mv", f"{lake}/files/*", f"{lake}/moved/")
    with pytest.raises(Failed, match="no object found"):
        s5cmd("ls", f"{lake}/files/*")
    s5cmd("cp", "--part-size", "5", "--concurrency", "3", f"{lake}/moved/*", f"{back}/")
    assert trees.contents(back) == trees.contents(source)
    s5cmd("cp", f"s3://{repo}/{ref}/files/many/*", f"{tmp_path / 'then'}/")
    assert trees.contents(tmp_path / "then") == trees.contents(source / "many")
    s5cmd("rm", f"{lake}/moved/*")
    with pytest.raises(Failed, match="no object found"):
        s5cmd("ls", f"{lake}/*")


def test_sync_does_nothing_twice(s5cmd, repo, tmp_path, changes, commit):
    source = trees.make(tmp_path / "source", many=60)
    lake = f"s3://{repo}/main/files/"
    assert len(s5cmd("sync", f"{source}/", lake).splitlines()) == len(trees.contents(source))
    commit()
    assert s5cmd("sync", f"{source}/", lake) == "" and changes() == []
    s5cmd("sync", f"{lake}*", f"{tmp_path / 'back'}/")
    assert trees.contents(tmp_path / "back") == trees.contents(source)
    (source / "empty").unlink()
    assert s5cmd("sync", "--delete", f"{source}/", lake).split() == ["rm", f"{lake}empty"] and changes() == ["files/empty"]


def test_streams_and_a_batch_of_commands(s5cmd, repo, tmp_path):
    lake = f"s3://{repo}/main"
    content = bytes(range(256)) * 50_000
    s5cmd("pipe", "--part-size", "5", f"{lake}/piped", text=False, input=content)
    assert s5cmd("cat", f"{lake}/piped", text=False) == content
    assert f"{len(content)}" in s5cmd("du", f"{lake}/*")
    commands = "".join(f"cp {lake}/piped {lake}/copies/{n:03}\n" for n in range(100))
    s5cmd("run", input=commands)
    assert len(s5cmd("ls", f"{lake}/copies/*").splitlines()) == 100
    assert s5cmd("cat", f"{lake}/copies/077", text=False) == content
