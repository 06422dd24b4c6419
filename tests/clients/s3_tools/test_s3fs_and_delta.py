"""s3fs of fsspec with pandas, and delta-rs over both schemes."""
import pandas
import pyarrow
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
