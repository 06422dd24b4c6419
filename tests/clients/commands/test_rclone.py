"""rclone: copies, syncs and checks by checksum and time, renames, and appends of time and metadata to what is there."""
import json

import pytest
import trees
from conftest import Failed, installed, run

from lakebed_server import KEY, SECRET


@pytest.fixture(params=["v4", "v2", "v4, making the bucket first"])
def rclone(request, server, tmp_path):
    environment = {
        "RCLONE_CONFIG_LAKE_TYPE": "s3", "RCLONE_CONFIG_LAKE_PROVIDER": "Other", "RCLONE_CONFIG_LAKE_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_LAKE_ACCESS_KEY_ID": KEY, "RCLONE_CONFIG_LAKE_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_LAKE_NO_CHECK_BUCKET": str("making" not in request.param).lower(), "RCLONE_CONFIG": str(tmp_path / "none.conf"),
        "RCLONE_CONFIG_LAKE_V2_AUTH": str(request.param == "v2").lower(),
        "RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M",
    }  # fmt: skip

    def rclone(*words, **more):
        return run(installed("rclone", "rclone"), *words, **more, **environment)

    return rclone


def test_sync_check_and_rename(rclone, repo, tmp_path, commit, changes, server):
    source, back = trees.make(tmp_path / "source", trees.ODD + trees.PATTERNS, many=150, large=[(5 << 20) + 1, 13 << 20]), tmp_path / "back"
    lake = f"lake:{repo}/main/files"
    rclone("sync", source, lake)
    rclone("check", source, lake)
    rclone("check", "--download", source, lake)
    first = commit()
    rclone("sync", source, lake)
    assert changes() == [], "the second sync has nothing to do"
    rclone("sync", lake, back)
    assert trees.contents(back) == trees.contents(source)
    listed = {entry["Path"]: entry["Size"] for entry in json.loads(rclone("lsjson", "--recursive", "--files-only", lake))}
    assert listed == {name: size for name, (size, _) in trees.contents(source).items()}
    assert [entry["Name"] for entry in json.loads(rclone("lsjson", f"lake:{repo}"))] == ["main"]

    # A new time of the same content is a copy of the object onto itself.
    (source / "many/000/00007").touch()
    rclone("sync", source, lake)
    # Renames are copies on the server.
    rclone("moveto", f"{lake}/large", f"{lake}/huge")
    (source / "large").rename(source / "huge")
    (source / "empty").unlink()
    rclone("sync", source, lake)
    rclone("check", "--checksum", source, lake)
    assert set(changes()) >= {"files/empty", f"files/huge/{13 << 20}.bin", f"files/large/{13 << 20}.bin"}
    commit()
    assert rclone("cat", f"lake:{repo}/{first}/files/empty") == ""
    with pytest.raises(Failed):
        rclone("check", source, f"lake:{repo}/{first}/files")
    rclone("check", source, f"lake:{repo}/main~0/files")
    rclone("purge", lake)
    assert rclone("lsf", f"lake:{repo}/main") == ""


def test_streams_and_ranges(rclone, repo):
    content = bytes(range(256)) * 60_000
    rclone("rcat", f"lake:{repo}/main/piped", text=False, input=content)
    assert rclone("cat", f"lake:{repo}/main/piped", text=False) == content
    assert rclone("cat", "--offset", "1000", "--count", "5000", f"lake:{repo}/main/piped", text=False) == content[1000:6000]
    assert rclone("cat", "--tail", "10", f"lake:{repo}/main/piped", text=False) == content[-10:]
    assert json.loads(rclone("size", "--json", f"lake:{repo}/main"))["bytes"] == len(content)
