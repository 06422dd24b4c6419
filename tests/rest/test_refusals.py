"""Refusals that say whose mistake it is: what the client can change is never a fault of the server's."""
import pytest

from doors import Door


@pytest.fixture
def lake(server, repo):
    door = Door(server.port)
    yield lambda method, at, body=None, **query: door.rest(method, f"/repositories/{repo}{at}", body, **query)
    door.close()


def test_presigning_that_the_store_cannot_do(lake):
    status, answer = lake("GET", "/branches/main/staging/backing", path="a", presign="true")
    assert status == 400 and "presigned" in answer["message"]


def test_bytes_that_are_gone_are_gone_for_every_reader(lake, repo):
    for address in (f"local://{repo}/data/never-written", "local://elsewhere/never-written"):
        linked = {"physical_address": address, "checksum": "x", "size_bytes": 5}
        assert lake("PUT", "/branches/main/objects", linked, path="a")[0] == 201
        for method, at, body, query in [
            ("GET", "/refs/main/objects", None, {"path": "a"}),
            ("GET", "/refs/main/objects/underlyingProperties", None, {"path": "a"}),
            ("POST", "/branches/main/objects/copy", {"src_path": "a"}, {"dest_path": "b"}),
        ]:
            status, answer = lake(method, at, body, **query)
            assert status == 410 and answer["message"], (at, status, answer)


@pytest.mark.parametrize("path", ["x//y", "../x/y", "\0/a", "n" * 300 + "/b"], ids=["empty", "dots", "nul", "long"])
def test_a_directory_that_no_file_can_have_gets_no_manifest(lake, path):
    assert lake("POST", "/branches/main/objects", b"x", path=path)[0] == 201
    status, answer = lake("POST", "/refs/main/symlink")
    assert status == 400 and "manifest" in answer["message"], answer
    assert lake("POST", "/branches/main/objects", b"x", path="good/y")[0] == 201
    assert lake("POST", "/refs/main/symlink", location="good/")[0] == 201


def test_a_pull_request_in_conflict_answers_as_a_merge_does(lake):
    for branch in ("dev", "other"):
        assert lake("POST", "/branches", {"name": branch, "source": "main"})[0] == 201
        assert lake("POST", f"/branches/{branch}/objects", branch.encode(), path="same")[0] == 201
        assert lake("POST", f"/branches/{branch}/commits", {"message": "m"})[0] == 201
    wanted = {"title": "t", "source_branch": "dev", "destination_branch": "other"}
    status, pull = lake("POST", "/pulls", wanted)
    assert status == 201
    status, answer = lake("PUT", f"/pulls/{pull['id']}/merge")
    assert status == 409 and answer["reference"] == "" and "same" in answer["message"]
