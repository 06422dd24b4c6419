"""What listings show beyond repositories and branches, and who owns it, if the server is told to."""
import pytest

from doors import Door
from lakebed_server import Server
from test_reading import code, commit, create_branch, listed, tree, upload

EXTRA = """gateways:
  s3:
    list_refs: branches+tags
    list_branch_buckets: true
    strict_owner: true
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("refs"), extra=EXTRA) as running:
        yield running


def tag(server, repo, name, ref="main"):
    status, made = server.rest("POST", f"/repositories/{repo}/tags", {"id": name, "ref": ref})
    assert status == 201, made


def test_tags_are_listed_among_branches(server, repo, door):
    upload(server, repo, "o")
    commit(server, repo)
    for name in ("a", "b-c", "x"):
        create_branch(server, repo, name)
    create_branch(server, repo, "hidden", hidden=True)
    for name in ("a-b", "b", "v1", "v1-2", "v1.0"):
        tag(server, repo, name)
    expected = ["a-b/", "a/", "b-c/", "b/", "main/", "v1-2/", "v1.0/", "v1/", "x/"]
    assert listed(door.s3("GET", repo)) == ([], expected, False)
    assert listed(door.s3("GET", repo, query={"prefix": "v1"})) == ([], ["v1-2/", "v1.0/", "v1/"], False)
    assert listed(door.s3("GET", repo, query={"marker": "b-c/"})) == ([], expected[3:], False)
    for size in range(1, len(expected) + 2):
        query, seen = {"list-type": "2", "max-keys": str(size)}, []
        while True:
            root = tree(door.s3("GET", repo, query=query)[1])
            page = [prefix.text for prefix in root.findall("CommonPrefixes/Prefix")]
            assert len(page) <= size
            seen += page
            if root.findtext("IsTruncated") == "false":
                break
            query["continuation-token"] = root.findtext("NextContinuationToken")
        assert seen == expected, size
    assert listed(door.s3("GET", repo, query={"prefix": "v1/"})) == (["v1/o"], [], False)


def test_branches_are_listed_as_buckets(server, repo, door):
    other = f"{repo}-2"
    assert server.rest("POST", "/repositories", {"name": other, "storage_namespace": f"local://{other}"})[0] == 201
    create_branch(server, repo, "dev")
    create_branch(server, repo, "hidden", hidden=True)
    tag(server, repo, "v1")
    expected = [repo, f"dev.{repo}", f"main.{repo}", other, f"main.{other}"]

    def pages(size):
        query, seen = {"max-buckets": str(size)}, []
        while True:
            root = tree(door.s3("GET", "", query=query)[1])
            page = [bucket.findtext("Name") for bucket in root.findall("Buckets/Bucket")]
            assert len(page) <= size and all(bucket.findtext("CreationDate") for bucket in root.findall("Buckets/Bucket"))
            seen += page
            token = root.findtext("ContinuationToken")
            if token is None:
                return [name for name in seen if repo in name]
            assert len(page) == size
            query["continuation-token"] = token

    for size in (1, 2, 3, 4, 5, 100):
        assert pages(size) == expected, size
    root = tree(door.s3("GET", "", query={"prefix": f"dev.{repo}"})[1])
    assert [bucket.findtext("Name") for bucket in root.findall("Buckets/Bucket")] == [f"dev.{repo}"]
    assert door.s3("PUT", f"dev.{repo}/o", b"x")[0] == 200
    assert door.s3("GET", f"{repo}/dev/o")[1] == b"x"


def test_a_bucket_belongs_to_who_asks(server, repo, door):
    me = tree(door.s3("GET", "")[1]).findtext("Owner/ID")
    for owner, answer in ((me, (200, None)), ("", (200, None)), ("123456789012", (403, "AccessDenied"))):
        assert code(door.s3("PUT", f"{repo}/main/o", b"x", headers={"x-amz-expected-bucket-owner": owner})) == answer
        copy = {"x-amz-copy-source": f"{repo}/main/o", "x-amz-source-expected-bucket-owner": owner}
        assert door.s3("PUT", f"{repo}/main/copy", headers=copy)[0] == answer[0]
        assert door.s3("HEAD", repo, headers={"x-amz-expected-bucket-owner": owner})[0] == answer[0]


def test_accounts_of_others_mean_nothing_by_default(tmp_path):
    with Server(tmp_path) as plain:
        assert plain.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})[0] == 201
        door = Door(plain.port)
        assert door.s3("PUT", "lake/main/o", b"x", headers={"x-amz-expected-bucket-owner": "123456789012"})[0] == 200
        assert plain.rest("POST", "/repositories/lake/tags", {"id": "v1", "ref": "main"})[0] == 201
        assert listed(door.s3("GET", "lake")) == ([], ["main/"], False)
        assert [name.text for name in tree(door.s3("GET", "")[1]).findall("Buckets/Bucket/Name")] == ["lake"]
        door.close()
