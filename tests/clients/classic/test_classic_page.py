"""The classic Python page, call by call, with the generated clients of the first years."""
import io
import uuid
import warnings

warnings.simplefilter("ignore")
import lakefs_client  # noqa: E402
from lakefs_client import models  # noqa: E402
from lakefs_client.client import LakeFSClient  # noqa: E402

from lakebed_server import KEY, SECRET  # noqa: E402


def test_the_classic_page(server):
    configuration = lakefs_client.Configuration()
    configuration.username = KEY
    configuration.password = SECRET
    configuration.host = server.endpoint
    client = LakeFSClient(configuration)
    # Releases before 1.0 name their attributes without `_api`, later ones with it as well.
    def api(name):
        return getattr(client, name, None) or getattr(client, name + "_api")

    name = "example-" + uuid.uuid4().hex[:8]
    made = api("repositories").create_repository(
        models.RepositoryCreation(name=name, storage_namespace=f"local://{name}", default_branch="main")
    )
    assert (made.id, made.default_branch, made.storage_namespace) == (name, "main", f"local://{name}")

    branches = api("branches").list_branches(name).results
    assert [b.id for b in branches] == ["main"] and len(branches[0].commit_id) == 64

    answer = api("branches").create_branch(
        repository=name, branch_creation=models.BranchCreation(name="experiment-aggregations1", source="main")
    )
    assert answer == branches[0].commit_id, "the plain commit id"

    content = io.BytesIO(b"ID,File1\n1,a\n2,b\n")
    content.name = "file.csv"
    uploaded = api("objects").upload_object(
        repository=name, branch="experiment-aggregations1", path="path/to/file.csv", content=content
    )
    assert (uploaded.path, uploaded.path_type, uploaded.size_bytes) == ("path/to/file.csv", "object", 17)

    diff = api("branches").diff_branch(repository=name, branch="experiment-aggregations1").results
    assert [(d.path, d.path_type, d.type) for d in diff] == [("path/to/file.csv", "object", "added")]

    commit = api("commits").commit(
        repository=name,
        branch="experiment-aggregations1",
        commit_creation=models.CommitCreation(message="Added a CSV file!", metadata={"using": "python_api"}),
    )
    assert commit.message == "Added a CSV file!" and commit.metadata == {"using": "python_api"}
    assert commit.parents == [branches[0].commit_id] and len(commit.id) == 64

    assert api("branches").diff_branch(repository=name, branch="experiment-aggregations1").results == []

    diff = api("refs").diff_refs(repository=name, left_ref="main", right_ref="experiment-aggregations1").results
    assert [(d.path, d.type) for d in diff] == [("path/to/file.csv", "added")]

    merged = api("refs").merge_into_branch(
        repository=name, source_ref="experiment-aggregations1", destination_branch="main"
    )
    assert len(merged.reference) == 64
    assert merged.get("summary") is None or merged.summary["added"] == 1
    status, again = server.rest("GET", f"/repositories/{name}/commits/{merged.reference}")
    assert status == 200 and len(again["parents"]) == 2

    diff = api("refs").diff_refs(repository=name, left_ref="main", right_ref="experiment-aggregations1").results
    assert diff == []


def test_the_merge_summary_is_there_for_who_prints_it(server, repo):
    for path in ["a", "b"]:
        assert server.rest("POST", f"/repositories/{repo}/branches/main/objects", b"x", path=path)[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "base"})[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/branches", {"name": "dev", "source": "main"})[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/branches/dev/objects", b"new", path="a")[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/branches/dev/objects", b"x", path="c")[0] == 201
    assert server.rest("DELETE", f"/repositories/{repo}/branches/dev/objects", path="b")[0] == 204
    assert server.rest("POST", f"/repositories/{repo}/branches/dev/commits", {"message": "dev"})[0] == 201
    agent = lakefs_client.ApiClient().user_agent
    status, merged = server.rest("POST", f"/repositories/{repo}/refs/dev/merge/main", agent=agent)
    assert status == 200
    assert merged["summary"] == {"added": 1, "changed": 1, "removed": 1, "conflict": 0}
