"""Frames and tables on s3://: pyarrow (C++ SDK), Polars (Rust object_store) and DuckDB (httpfs with its own signer)."""
import pathlib

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

from lakebed_server import KEY, SECRET

ROWS = 200_000


@pytest.fixture
def commit(server, repo):
    def commit():
        status, made = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})
        assert status == 201, made
        return made["id"]

    return commit


@pytest.fixture
def arrow(server):
    return pyarrow.fs.S3FileSystem(
        access_key=KEY, secret_key=SECRET, endpoint_override=server.endpoint.removeprefix("http://"), scheme="http", region="us-east-1"
    )


def rows():
    return pyarrow.table({"id": range(ROWS), "day": [f"2026-01-{n % 5 + 1:02}" for n in range(ROWS)], "place": [("Zürich & co", "a b+c", "x=y")[n % 3] for n in range(ROWS)]})


def test_pyarrow_datasets(arrow, repo, commit):
    at = f"{repo}/main/tables/events"
    partitions = pyarrow.dataset.partitioning(pyarrow.schema([("day", pyarrow.string()), ("place", pyarrow.string())]), flavor="hive")
    pyarrow.dataset.write_dataset(rows(), at, filesystem=arrow, format="parquet", partitioning=partitions)
    ref = commit()
    dataset = pyarrow.dataset.dataset(at, filesystem=arrow, format="parquet", partitioning=partitions)
    assert len(dataset.files) == 15
    assert dataset.to_table().sort_by("id").select(["id", "day", "place"]).equals(rows())
    some = dataset.to_table(columns=["id"], filter=(pyarrow.dataset.field("day") == "2026-01-02") & (pyarrow.dataset.field("id") < 1000))
    assert some.num_rows == 200
    # Written once more, in place of what was there.
    fewer = rows().slice(0, 1000)
    pyarrow.dataset.write_dataset(fewer, at, filesystem=arrow, format="parquet", partitioning=partitions, existing_data_behavior="delete_matching")
    assert pyarrow.dataset.dataset(at, filesystem=arrow, format="parquet", partitioning=partitions).count_rows() == 1000
    then = pyarrow.dataset.dataset(f"{repo}/{ref}/tables/events", filesystem=arrow, format="parquet", partitioning=partitions)
    assert then.count_rows() == ROWS


def test_pyarrow_files_and_directories(arrow, repo):
    content = bytes(range(256)) * 60_000
    arrow.create_dir(f"{repo}/main/d/sub")
    with arrow.open_output_stream(f"{repo}/main/d/large", metadata={"Content-Type": "text/x"}) as out:
        out.write(content)
    with arrow.open_output_stream(f"{repo}/main/d/empty"):
        pass
    with arrow.open_input_file(f"{repo}/main/d/large") as source:
        assert source.size() == len(content) and source.read_at(1000, 5_000_000) == content[5_000_000:5_001_000]
        assert source.read() == content
    kinds = {info.path.removeprefix(f"{repo}/main/"): (info.type, info.size) for info in arrow.get_file_info(pyarrow.fs.FileSelector(f"{repo}/main/d", recursive=True))}
    directory, file = pyarrow.fs.FileType.Directory, pyarrow.fs.FileType.File
    assert kinds == {"d/sub": (directory, None), "d/large": (file, len(content)), "d/empty": (file, 0)}
    arrow.move(f"{repo}/main/d/large", f"{repo}/main/d/moved é")
    arrow.copy_file(f"{repo}/main/d/moved é", f"{repo}/main/copy")
    assert arrow.open_input_stream(f"{repo}/main/copy").read() == content
    assert arrow.get_file_info(f"{repo}/main/d/large").type == pyarrow.fs.FileType.NotFound
    assert arrow.get_file_info([repo, f"{repo}/main", f"{repo}/main/d"])[2].type == directory
    arrow.delete_dir_contents(f"{repo}/main/d")
    arrow.delete_dir(f"{repo}/main/d")
    assert arrow.get_file_info(f"{repo}/main/d").type == pyarrow.fs.FileType.NotFound


def test_polars_scans_and_sinks(server, repo, commit):
    options = {"aws_endpoint_url": server.endpoint, "aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_region": "us-east-1", "aws_allow_http": "true"}
    at = f"s3://{repo}/main/polars"
    frame = polars.from_arrow(rows())
    frame.lazy().sink_parquet(f"{at}/whole.parquet", storage_options=options)
    for day, part in frame.partition_by("day", as_dict=True).items():
        part.write_parquet(f"{at}/days/day={day[0]}/part 0.parquet", storage_options=options)
    ref = commit()
    read = polars.scan_parquet(f"{at}/whole.parquet", storage_options=options)
    assert read.filter(polars.col("id") >= ROWS - 10).select("id", "place").collect().height == 10
    assert read.collect().equals(frame)
    days = polars.scan_parquet(f"{at}/days/**/*.parquet", storage_options=options, hive_partitioning=True)
    assert days.filter(polars.col("day") == "2026-01-03").select(polars.len()).collect().item() == ROWS // 5
    frame.head(10).lazy().sink_parquet(f"{at}/whole.parquet", storage_options=options)
    frame.head(3).lazy().sink_csv(f"{at}/few.csv", storage_options=options)
    assert polars.scan_csv(f"{at}/few.csv", storage_options=options).collect().height == 3
    assert polars.scan_parquet(f"s3://{repo}/{ref}/polars/whole.parquet", storage_options=options).select(polars.len()).collect().item() == ROWS


@pytest.fixture
def duck(server):
    """DuckDB with the extension out of its package: where nothing can be fetched from DuckDB's own site."""
    import duckdb_extension_httpfs

    packaged = next(pathlib.Path(at) for at in duckdb_extension_httpfs.__path__)
    (extension,) = packaged.rglob("*.duckdb_extension")
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    connection.execute(f"LOAD '{extension}'")
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false, ENDPOINT '{server.endpoint.removeprefix('http://')}')"
    )
    return connection


def test_duckdb_reads_and_writes(duck, repo, commit):
    at = f"s3://{repo}/main/duck"
    duck.execute(f"COPY (SELECT n AS id, n % 5 AS day, 'x' || n AS name FROM range({ROWS}) t(n)) TO '{at}/days' (FORMAT parquet, PARTITION_BY (day))")
    duck.execute(f"COPY (SELECT n AS id FROM range({ROWS}) t(n)) TO '{at}/with space+é.csv'")
    ref = commit()
    assert duck.execute(f"SELECT count(*), sum(id) FROM read_parquet('{at}/days/*/*.parquet', hive_partitioning = true) WHERE day = 2").fetchone() == (ROWS // 5, sum(range(2, ROWS, 5)))
    assert duck.execute(f"SELECT sum(id) FROM '{at}/with space+é.csv'").fetchone() == (sum(range(ROWS)),)
    assert duck.execute(f"SELECT count(*) FROM glob('{at}/**')").fetchone()[0] >= 6
    duck.execute(f"COPY (SELECT 1 AS id) TO '{at}/with space+é.csv'")
    assert duck.execute(f"SELECT count(*) FROM 's3://{repo}/main/duck/with space+é.csv'").fetchone() == (1,)
    assert duck.execute(f"SELECT count(*) FROM 's3://{repo}/{ref}/duck/with space+é.csv'").fetchone() == (ROWS,)
    # A pattern for the ref: what each version holds.
    found = duck.execute(f"SELECT file FROM glob('s3://{repo}/*/duck/*.csv')").fetchall()
    assert found == [(f"{at}/with space+é.csv",)]
