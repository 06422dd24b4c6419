"""The AWS CLI: version 1 as published today, and version 2 as Debian has it."""
import json
import urllib.request

import pytest
import trees
from conftest import BIN, Failed, installed, run


@pytest.fixture(params=["1", "2"])
def aws(request, server, aws_environment):
    command = BIN / "aws" if request.param == "1" else installed("aws", "awscli")
    assert f"aws-cli/{request.param}." in run(command, "--version")

    def aws(*words, **more):
        return run(command, "--endpoint-url", server.endpoint, *words, **more, **aws_environment)

    return aws


def test_sync_both_ways(aws, repo, tmp_path, commit, changes):
    source, back = trees.make(tmp_path / "source", trees.ODD + trees.PATTERNS, many=120, large=[(8 << 20) + 1, 20 << 20]), tmp_path / "back"
    lake = f"s3://{repo}/main/files"
    assert aws("s3", "sync", source, lake, "--no-progress").count("upload:") == len(trees.contents(source))
    assert aws("s3", "sync", source, lake) == "", "the second time there is nothing to do"
    first = commit()
    assert aws("s3", "sync", lake, back, "--no-progress").count("download:") == len(trees.contents(source))
    assert trees.contents(back) == trees.contents(source)
    assert aws("s3", "sync", lake, back) == ""

    (source / "empty").unlink()
    (source / "many/000/00007").write_bytes(b"changed, and of another size")
    printed = aws("s3", "sync", source, lake, "--delete", "--no-progress").splitlines()
    assert sorted(line.split(":")[0] for line in printed) == ["delete", "upload"]
    assert changes() == ["files/empty", "files/many/000/00007"]
    commit()
    # The commit before still has the old content, and a sync from it brings it back.
    aws("s3", "sync", f"s3://{repo}/{first}/files", tmp_path / "then", "--no-progress")
    assert trees.contents(tmp_path / "then") == trees.contents(back)


def test_cp_mv_rm(aws, repo, tmp_path, commit, server):
    content = bytes(range(256)) * 40_000
    lake = f"s3://{repo}/main"
    aws("s3", "cp", "-", f"{lake}/from stdin", text=False, input=content)
    assert aws("s3", "cp", f"{lake}/from stdin", "-", text=False) == content
    # Copies on the server: of an object in parts (with its tags), between branches, of many.
    server.rest("POST", f"/repositories/{repo}/branches", {"name": "dev", "source": "main"})
    aws("s3", "cp", f"{lake}/from stdin", f"s3://{repo}/dev/copied")
    assert aws("s3", "cp", f"s3://{repo}/dev/copied", "-", text=False) == content
    source = trees.make(tmp_path / "source", trees.ODD, many=60)
    aws("s3", "cp", source, f"{lake}/a", "--recursive", "--metadata", "by=test", "--cache-control", "no-store")
    aws("s3", "mv", f"{lake}/a", f"{lake}/b", "--recursive")
    assert "a/" not in aws("s3", "ls", f"{lake}/")
    head = json.loads(aws("s3api", "head-object", "--bucket", repo, "--key", "main/b/empty"))
    assert head["Metadata"] == {"by": "test"} and head["CacheControl"] == "no-store" and head["ContentLength"] == 0
    listed = aws("s3", "ls", f"{lake}/b/", "--recursive", "--summarize")
    assert f"Total Objects: {len(trees.contents(source))}" in listed and "b/odd/蒙AH 蓝+1.jpg" in listed
    ref = commit()
    aws("s3", "rm", f"{lake}/b", "--recursive")
    with pytest.raises(Failed):
        aws("s3", "ls", f"{lake}/b/")
    aws("s3", "cp", f"s3://{repo}/{ref}/b", tmp_path / "back", "--recursive")
    assert trees.contents(tmp_path / "back") == trees.contents(source)
    # The root of a bucket lists its branches.
    assert [line.split()[-1] for line in aws("s3", "ls", f"s3://{repo}").splitlines()] == ["dev/", "main/"]
    assert repo in aws("s3", "ls")


def test_presign_and_s3api(aws, repo, tmp_path):
    (tmp_path / "x").write_bytes(b"0123456789")
    put = json.loads(aws("s3api", "put-object", "--bucket", repo, "--key", "main/a b+c", "--body", tmp_path / "x", "--content-type", "text/plain"))
    assert put["ETag"] == '"781e5e245d69b566979b86e28d23f2c7"'
    with urllib.request.urlopen(aws("s3", "presign", f"s3://{repo}/main/a b+c", "--expires-in", "60").strip()) as answer:
        assert answer.read() == b"0123456789" and answer.headers["Content-Type"] == "text/plain"
    part = json.loads(aws("s3api", "get-object", "--bucket", repo, "--key", "main/a b+c", "--range", "bytes=2-4", tmp_path / "part"))
    assert part["ContentLength"] == 3 and (tmp_path / "part").read_bytes() == b"234"
    listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", repo, "--prefix", "main/a"))
    assert [(entry["Key"], entry["Size"]) for entry in listed["Contents"]] == [("main/a b+c", 10)]
    aws("s3api", "put-object-tagging", "--bucket", repo, "--key", "main/a b+c", "--tagging", "TagSet=[{Key=k,Value=v}]")
    assert json.loads(aws("s3api", "get-object-tagging", "--bucket", repo, "--key", "main/a b+c"))["TagSet"] == [{"Key": "k", "Value": "v"}]
    aws("s3api", "copy-object", "--bucket", repo, "--key", "main/copy", "--copy-source", f"{repo}/main/a b+c")
    gone = json.loads(aws("s3api", "delete-objects", "--bucket", repo, "--delete", json.dumps({"Objects": [{"Key": "main/copy"}, {"Key": "main/none"}]})))
    assert [entry["Key"] for entry in gone["Deleted"]] == ["main/copy", "main/none"]
    aws("s3api", "wait", "object-not-exists", "--bucket", repo, "--key", "main/copy")
    aws("s3api", "wait", "object-exists", "--bucket", repo, "--key", "main/a b+c")
    with pytest.raises(Failed, match="NoSuchKey"):
        aws("s3api", "get-object", "--bucket", repo, "--key", "main/copy", tmp_path / "none")
