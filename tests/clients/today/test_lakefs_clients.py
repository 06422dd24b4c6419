"""The published clients of today: `lakefs`, `lakefs-sdk`, `lakefs-spec` with pandas, pyarrow and DuckDB."""
import duckdb
import lakefs
import lakefs_sdk
import pandas
import pyarrow.parquet
import pytest
from lakefs.client import Client
from lakefs_spec import LakeFSFileSystem

from lakebed_server import KEY, SECRET


@pytest.fixture(scope="session")
def lake(server):
    return Client(host=server.endpoint, username=KEY, password=SECRET)


@pytest.fixture
def filesystem(server):
    return LakeFSFileSystem(host=server.endpoint, username=KEY, password=SECRET, use_listings_cache=False, skip_instance_cache=True)


def test_a_day_with_lakefs(lake, repo):
    repository = lakefs.Repository(repo, client=lake)
    branch = repository.branch("experiment").create("main")
    with branch.object("data/a.csv").writer("w", content_type="text/csv", metadata={"by": "test"}) as out:
        out.write("a,b\n1,2\n")
    assert [c.path for c in branch.uncommitted()] == ["data/a.csv"]
    assert branch.object("data/a.csv").reader("r").read() == "a,b\n1,2\n"
    stats = branch.object("data/a.csv").stat()
    assert stats.content_type == "text/csv" and stats.metadata == {"by": "test"}
    reference = branch.commit("first", metadata={"k": "v"})
    assert reference.get_commit().message == "first"
    main = repository.branch("main")
    assert [d.path for d in main.diff("experiment")] == ["data/a.csv"]
    branch.merge_into(main)
    assert list(main.diff("experiment")) == []
    assert main.object("data/a.csv").exists()
    tag = repository.tag("v1").create("main")
    assert tag.get_commit().id == main.get_commit().id
    assert [x.id for x in repository.branches()] == ["experiment", "main"]
    revert = main.revert("main", parent_number=1)
    assert not main.object("data/a.csv").exists() and revert is not None
    assert repository.ref("v1").object("data/a.csv").exists()


def test_transactions(lake, repo):
    main = lakefs.Repository(repo, client=lake).branch("main")
    with main.transact(commit_message="both or none") as tx:
        tx.object("a").upload(data=b"1")
        tx.object("b").upload(data=b"2")
        assert not main.object("a").exists()
    assert main.object("a").reader("rb").read() == b"1" and main.object("b").exists()
    assert main.get_commit().message
    with pytest.raises(ZeroDivisionError):
        with main.transact(commit_message="never") as tx:
            tx.object("c").upload(data=b"3")
            1 / 0
    assert not main.object("c").exists()
    assert [b.id for b in lakefs.Repository(repo, client=lake).branches()] == ["main"]


def test_sdk_errors_name_what_is_wrong(server, repo):
    api = lakefs_sdk.ApiClient(lakefs_sdk.Configuration(host=server.endpoint + "/api/v1", username=KEY, password=SECRET))
    with pytest.raises(lakefs_sdk.exceptions.NotFoundException) as error:
        lakefs_sdk.BranchesApi(api).get_branch(repo, "nowhere")
    assert "nowhere" in error.value.body
    with pytest.raises(lakefs_sdk.exceptions.UnauthorizedException):
        wrong = lakefs_sdk.ApiClient(lakefs_sdk.Configuration(host=server.endpoint + "/api/v1", username=KEY, password="wrong"))
        lakefs_sdk.RepositoriesApi(wrong).list_repositories()


def test_parquet_through_lakefs_spec(filesystem, repo):
    frame = pandas.DataFrame({"n": range(1000), "name": [f"row {n}" for n in range(1000)]})
    path = f"{repo}/main/tables/t.parquet"
    with filesystem.open(path, "wb") as out:
        frame.to_parquet(out)
    with filesystem.open(path, "rb") as source:
        assert pandas.read_parquet(source).equals(frame)
    table = pyarrow.parquet.read_table(path, filesystem=filesystem, columns=["n"])
    assert table.num_rows == 1000
    assert filesystem.ls(f"{repo}/main/tables", detail=False) == [path]
    connection = duckdb.connect()
    connection.register_filesystem(filesystem)
    assert connection.execute(f"select sum(n) from read_parquet('lakefs://{path}')").fetchall() == [(499500,)]
    filesystem.rm(path)
    assert not filesystem.exists(path)
