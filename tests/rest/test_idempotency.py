"""`Idempotency-Key`: what moves a branch's head happens once, however often it is sent (ours)."""
import concurrent.futures
import json
import time
import uuid

import pytest

from doors import BASIC, Door

COMMIT = "/branches/main/commits"


@pytest.fixture
def lake(server, repo):
    door = Door(server.port)

    def call(method, at, body=None, key=None, **query):
        return door.rest(method, f"/repositories/{repo}{at}", body, {"Idempotency-Key": key} if key is not None else {}, **query)

    call.put = lambda path, branch="main": call("POST", f"/branches/{branch}/objects", path.encode(), path=path)
    call.log = lambda ref="main": [commit["message"] for commit in call("GET", f"/refs/{ref}/commits")[1]["results"]]
    call.door, call.at = door, f"/repositories/{repo}"
    yield call
    door.close()


def test_a_commit_sent_again_is_the_same_commit(lake):
    lake.put("a")
    first = lake("POST", COMMIT, {"message": "m", "metadata": {"b": "2", "a": "1"}}, "key")
    assert first[0] == 201
    lake.put("b")
    # Equal in what it says, not byte by byte.
    assert lake("POST", COMMIT, {"metadata": {"a": "1", "b": "2"}, "message": "m", "force": False}, "key") == first
    assert lake.log() == ["m", "Repository created"]
    assert lake("POST", COMMIT, {"message": "m", "metadata": {"b": "2", "a": "1"}}, "another")[0] == 201


def test_a_key_with_another_request_is_refused(lake):
    lake.put("a")
    assert lake("POST", "/branches", {"name": "dev", "source": "main"})[0] == 201
    assert lake("POST", COMMIT, {"message": "m"}, "key")[0] == 201
    lake.put("b", "dev")
    for at, body in [(COMMIT, {"message": "other"}), ("/branches/dev/commits", {"message": "m"})]:
        status, answer = lake("POST", at, body, "key")
        assert status == 422 and "idempotency key" in answer["message"], answer
    # Another operation's keys are others.
    assert lake("POST", "/branches/main/revert", {"ref": "main", "parent_number": 0}, "key")[0] == 204


def test_a_refused_request_leaves_its_key_free(lake):
    assert lake("POST", COMMIT, {"message": "m"}, "key")[0] == 400
    lake.put("a")
    assert lake("POST", COMMIT, {"message": "m"}, "key")[0] == 201


def test_merge_revert_and_pick(lake):
    assert lake("POST", "/branches", {"name": "dev", "source": "main"})[0] == 201
    lake.put("a", "dev")
    picked = lake("POST", "/branches/dev/commits", {"message": "change"})[1]["id"]
    merged = lake("POST", "/refs/dev/merge/main", None, "k")
    assert merged[0] == 200
    # A client that lost the answer and whose other half went on.
    assert lake("DELETE", "/branches/dev")[0] == 204
    assert lake("POST", "/refs/dev/merge/main", {}, "k") == merged
    undo = {"ref": "main", "parent_number": 1}
    ids = []
    for _ in range(2):
        sent = {"Authorization": BASIC, "Content-Type": "application/json", "Idempotency-Key": "k"}
        status, _, headers = lake.door.send("POST", f"/api/v1{lake.at}/branches/main/revert", json.dumps(undo).encode(), sent)
        assert status == 204
        ids.append(headers["X-Lakebed-Commit-Id"])
    assert ids[0] == ids[1] == lake("GET", "/branches/main")[1]["commit_id"]
    again = lake("POST", "/branches/main/cherry-pick", {"ref": picked}, "k")
    assert again[0] == 201 and lake("POST", "/branches/main/cherry-pick", {"ref": picked}, "k") == again
    assert lake.log() == ["change", "Revert main", "Merge 'dev' into 'main'", "change", "Repository created"]


def test_in_the_background(lake):
    """Each request is a task; those of one key end with one commit."""
    def ended(at, body):
        status, task = lake("POST", f"{at}/async", body, "k")
        assert status == 202, task
        deadline = time.monotonic() + 30
        while not (shown := lake("GET", f"{at}/async/{task['id']}/status")[1])["completed"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return shown

    assert lake("POST", "/branches", {"name": "dev", "source": "main"})[0] == 201
    lake.put("a", "dev")
    first, second = (ended("/branches/dev/commits", {"message": "m"}) for _ in range(2))
    assert first["result"] == second["result"] and first["task_id"] != second["task_id"]
    assert ended("/branches/dev/commits", {"message": "other"})["status_code"] == 422
    first, second = (ended("/refs/dev/merge/main", {}) for _ in range(2))
    assert first["result"]["reference"] == second["result"]["reference"]
    assert lake.log() == ["Merge 'dev' into 'main'", "m", "Repository created"]


def test_a_pull_request_merged_again(lake):
    assert lake("POST", "/branches", {"name": "dev", "source": "main"})[0] == 201
    lake.put("a", "dev")
    assert lake("POST", "/branches/dev/commits", {"message": "m"})[0] == 201
    pull = lake("POST", "/pulls", {"title": "t", "source_branch": "dev", "destination_branch": "main"})[1]["id"]
    merged = lake("PUT", f"/pulls/{pull}/merge", key="k")
    assert merged[0] == 200 and lake("PUT", f"/pulls/{pull}/merge", key="k") == merged
    assert lake("PUT", f"/pulls/{pull}/merge", key="another")[0] == 400


def test_many_at_once_make_one(server, lake):
    lake.put("a")
    key = uuid.uuid4().hex

    def send(_):
        door = Door(server.port)
        try:
            return door.rest("POST", lake.at + COMMIT, {"message": "m"}, {"Idempotency-Key": key})
        finally:
            door.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))
    assert {status for status, _ in answers} == {201}
    assert len({answer["id"] for _, answer in answers}) == 1
    assert lake.log() == ["m", "Repository created"]


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_keys_are_bounded(lake, key):
    lake.put("a")
    status, answer = lake("POST", COMMIT, {"message": "m"}, key)
    assert status == 400 and "Idempotency-Key" in answer["message"]
    assert lake("POST", COMMIT, {"message": "m"}, "k" * 255)[0] == 201
