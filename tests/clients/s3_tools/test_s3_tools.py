"""What speaks S3 besides boto3: s3fs, delta-rs over both schemes, rclone and the AWS CLI from Debian."""
import os
import shutil
import subprocess

import pandas
import pyarrow
import pytest
import s3fs
from deltalake import DeltaTable, write_deltalake

from lakebed_server import KEY, SECRET


def s3_options(server):
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "conditional_put": "etag",
    }


def test_s3fs(server, repo):
    fs = s3fs.S3FileSystem(key=KEY, secret=SECRET, endpoint_url=server.endpoint, use_listings_cache=False)
    fs.pipe(f"{repo}/main/a/b.txt", b"hello")
    assert fs.ls(f"{repo}/main", detail=False) == [f"{repo}/main/a"]
    assert fs.cat(f"{repo}/main/a/b.txt") == b"hello"
    assert fs.ls(repo, detail=False) == [f"{repo}/main"]
    frame = pandas.DataFrame({"x": range(100)})
    with fs.open(f"{repo}/main/t.parquet", "wb") as out:
        frame.to_parquet(out)
    with fs.open(f"{repo}/main/t.parquet", "rb") as source:
        assert pandas.read_parquet(source).equals(frame)
    fs.rm(f"{repo}/main/a", recursive=True)
    assert not fs.exists(f"{repo}/main/a/b.txt")


def table(first, rows):
    return pyarrow.table({"id": list(range(first, first + rows)), "v": ["x"] * rows})


def test_delta_over_s3(server, repo):
    where, options = f"s3://{repo}/main/delta/events", s3_options(server)
    write_deltalake(where, table(0, 10), storage_options=options)
    write_deltalake(where, table(10, 5), mode="append", storage_options=options)
    read = DeltaTable(where, storage_options=options)
    assert read.version() == 1 and read.to_pyarrow_table().num_rows == 15


def test_delta_over_lakefs(server, repo):
    where = f"lakefs://{repo}/main/delta/events"
    options = {"endpoint": server.endpoint, "access_key_id": KEY, "secret_access_key": SECRET, "allow_http": "true"}
    write_deltalake(where, table(0, 10), storage_options=options)
    write_deltalake(where, table(10, 5), mode="append", storage_options=options)
    assert DeltaTable(where, storage_options=options).to_pyarrow_table().num_rows == 15


def run(*command, **environment):
    # Settings for the AWS of whoever runs the tests are not for this server.
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(command, capture_output=True, text=True, env={**own, **environment}, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rclone(server, repo, tmp_path):
    assert shutil.which("rclone"), "rclone is missing: the Makefile installs it (apt-get install rclone)"
    source, back = tmp_path / "source", tmp_path / "back"
    for name, size in [("a.txt", 10), ("dir/b.bin", 200_000), ("dir/蒙 AH+1.jpg", 3), ("empty", 0)]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(os.urandom(size))
    environment = {
        "RCLONE_CONFIG_LAKE_TYPE": "s3", "RCLONE_CONFIG_LAKE_PROVIDER": "Other", "RCLONE_CONFIG_LAKE_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_LAKE_ACCESS_KEY_ID": KEY, "RCLONE_CONFIG_LAKE_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_LAKE_NO_CHECK_BUCKET": "true", "RCLONE_CONFIG": str(tmp_path / "none.conf"),
    }
    run("rclone", "copy", str(source), f"lake:{repo}/main/files", **environment)
    run("rclone", "check", str(source), f"lake:{repo}/main/files", **environment)
    run("rclone", "copy", f"lake:{repo}/main/files", str(back), **environment)
    for path in [p for p in source.rglob("*") if p.is_file()]:
        assert (back / path.relative_to(source)).read_bytes() == path.read_bytes()


@pytest.mark.skipif(not shutil.which("aws"), reason="no AWS CLI on this machine; rclone covers the requirement")
def test_aws_cli(server, repo, tmp_path):
    (tmp_path / "x").write_bytes(b"from the command line")
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    aws = ["aws", "--endpoint-url", server.endpoint, "s3"]
    run(*aws, "cp", str(tmp_path / "x"), f"s3://{repo}/main/x", **environment)
    assert "x" in run(*aws, "ls", f"s3://{repo}/main/", **environment)
    assert run(*aws, "cp", f"s3://{repo}/main/x", "-", **environment) == "from the command line"
