"""s3cmd: listings of version 1, its own metadata, multipart uploads, signatures of both versions."""
import pytest
import trees
from conftest import BIN, Failed, run

from lakebed_server import KEY, SECRET


@pytest.fixture(params=["v4", "v2"])
def s3cmd(request, server, tmp_path):
    config = tmp_path / "s3cfg"
    host = server.endpoint.removeprefix("http://")
    config.write_text(f"""[default]
access_key = {KEY}
secret_key = {SECRET}
host_base = {host}
host_bucket = {host}
use_https = False
signature_v2 = {request.param == "v2"}
multipart_chunk_size_mb = 5
""")

    def s3cmd(*words, **more):
        return run(BIN / "s3cmd", "--config", config, "--no-progress", *words, **more)

    return s3cmd


def test_put_get_info_mv_del(s3cmd, repo, tmp_path, commit):
    lake = f"s3://{repo}/main"
    source = tmp_path / "a file+.bin"
    source.write_bytes(bytes(range(256)) * 60_000)
    s3cmd("put", source, f"{lake}/dir/", "--mime-type", "application/x-own", "--add-header", "x-amz-meta-colour:blue")
    info = s3cmd("info", f"{lake}/dir/{source.name}")
    assert f"File size: {source.stat().st_size}" in info and "application/x-own" in info and "x-amz-meta-colour: blue" in info, info
    assert "Location:" in s3cmd("info", f"s3://{repo}")
    assert f"s3://{repo}" in s3cmd("ls")
    assert [line.split(None, 1) for line in s3cmd("ls", f"s3://{repo}").splitlines()] == [["DIR", f"{lake}/"]]
    assert f"{lake}/dir/{source.name}" in s3cmd("ls", "--recursive", f"{lake}/")
    ref = commit()
    s3cmd("mv", f"{lake}/dir/{source.name}", f"{lake}/moved ü")
    s3cmd("cp", f"{lake}/moved ü", f"{lake}/copy")
    for at in ("main/moved ü", "main/copy", f"{ref}/dir/{source.name}"):
        s3cmd("get", "--force", f"s3://{repo}/{at}", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
    # What was half there is continued.
    (tmp_path / "back").write_bytes(source.read_bytes()[:1_000_000])
    s3cmd("get", "--continue", f"{lake}/copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    s3cmd("modify", f"{lake}/copy", "--add-header", "x-amz-meta-colour:red")
    assert "x-amz-meta-colour: red" in s3cmd("info", f"{lake}/copy")
    s3cmd("del", "--recursive", "--force", f"{lake}/")
    assert s3cmd("ls", "--recursive", f"{lake}/") == ""
    with pytest.raises(Failed, match="does not exist"):
        s3cmd("get", f"{lake}/copy", tmp_path / "none")


def test_sync_does_nothing_twice(s3cmd, repo, tmp_path, commit, changes):
    source, back = trees.make(tmp_path / "source", trees.ODD, many=60, large=[11 << 20]), tmp_path / "back"
    lake = f"s3://{repo}/main/files/"
    assert s3cmd("sync", f"{source}/", lake).count("upload:") == len(trees.contents(source))
    commit()
    assert "upload:" not in s3cmd("sync", f"{source}/", lake) and changes() == []
    back.mkdir()
    assert s3cmd("sync", lake, f"{back}/").count("download:") == len(trees.contents(source))
    assert trees.contents(back) == trees.contents(source)
    assert "download:" not in s3cmd("sync", lake, f"{back}/")
    (source / "empty").unlink()
    assert s3cmd("sync", "--delete-removed", f"{source}/", lake).count("delete:") == 1 and changes() == ["files/empty"]
