"""`x-lakefs-commit`: reads say at which commit they read the same, and never one at which they do not."""


ASK = {"x-lakefs-show-commit": "true"}


def put(door, repo, path, content, branch="main"):
    assert door.s3("PUT", f"{repo}/{branch}/{path}", content)[0] == 200


def commit(door, repo, branch="main"):
    status, said = door.rest("POST", f"/repositories/{repo}/branches/{branch}/commits", {"message": "m"})
    assert status == 201, said
    return said["id"]


def named(door, method, at, headers=ASK, **query):
    status, _, answered = door.s3(method, at, query=query or None, headers=headers)
    assert status in (200, 206, 304), status
    return answered.get("x-lakefs-commit")


def listed(door, repo, prefix, headers=ASK, **query):
    return named(door, "GET", repo, headers, **{"list-type": "2", "prefix": prefix} | query)


def test_nobody_is_told_who_does_not_ask(door, repo):
    put(door, repo, "a", b"1")
    commit(door, repo)
    assert named(door, "GET", f"{repo}/main/a", {}) is None
    assert named(door, "GET", f"{repo}/main/a", {"x-lakefs-show-commit": "false"}) is None
    assert listed(door, repo, "main/", {}) is None


def test_an_object_is_at_the_head_unless_it_is_staged(door, repo):
    put(door, repo, "a", b"1")
    put(door, repo, "b", b"1")
    assert named(door, "GET", f"{repo}/main/a") is None, "it is in no commit yet"
    first = commit(door, repo)
    for method in ["GET", "HEAD"]:
        assert named(door, method, f"{repo}/main/a") == first
    assert named(door, "GET", f"{repo}/main/a", ASK | {"range": "bytes=0-0"}) == first
    put(door, repo, "a", b"2")
    assert named(door, "GET", f"{repo}/main/a") is None
    assert named(door, "GET", f"{repo}/main/b") == first, "of this path nothing is staged"
    second = commit(door, repo)
    assert named(door, "GET", f"{repo}/main/a") == named(door, "GET", f"{repo}/main/b") == second
    # What is named reads the same.
    assert door.s3("GET", f"{repo}/main/a", query={"versionId": second})[1] == b"2"
    assert door.s3("GET", f"{repo}/main/a", query={"versionId": first})[1] == b"1"


def test_other_states_name_their_commit(door, repo):
    put(door, repo, "a", b"1")
    first = commit(door, repo)
    put(door, repo, "a", b"2")
    second = commit(door, repo)
    assert named(door, "GET", f"{repo}/{first}/a") == first
    assert named(door, "GET", f"{repo}/main~1/a") == first
    assert named(door, "GET", f"{repo}/main/a", versionId=first) == first
    assert named(door, "GET", f"{repo}/main/a", ASK | {"x-lakefs-ref-at": first}) == first
    put(door, repo, "a", b"3")
    assert named(door, "GET", f"{repo}/main@/a") == second


def test_a_page_is_at_the_head_unless_something_on_it_is_staged(door, repo):
    for path in ["a", "d/1", "d/2", "z"]:
        put(door, repo, path, b"1")
    assert listed(door, repo, "main/") is None
    head = commit(door, repo)
    assert listed(door, repo, "main/") == listed(door, repo, "main/", delimiter="/") == head
    put(door, repo, "z", b"2")
    assert listed(door, repo, "main/") is None
    assert listed(door, repo, "main/d/") == head
    assert listed(door, repo, "main/", **{"max-keys": "1"}) == head
    assert door.s3("DELETE", f"{repo}/main/d/1")[0] == 204
    assert listed(door, repo, "main/d/") is None, "the head has more"
    assert listed(door, repo, f"{head}/") == head
    assert listed(door, repo, "") is None, "refs are in no commit"
