"""Operations that go on after their request was answered: background commit and merge, dump and restore."""
import concurrent.futures
import shutil
import time
import uuid

from lakebed_server import Server

ZEROS = "0" * 64


def upload(server, repo, path, content=b"hello", branch="main"):
    status, made = server.rest("POST", f"/repositories/{repo}/branches/{branch}/objects", content, path=path)
    assert status == 201, made


def until(server, at, ended, **query):
    """The status of a task once it has ended; its id is known from the first moment on."""
    deadline = time.monotonic() + 30
    while True:
        status, shown = server.rest("GET", at, **query)
        assert status == 200, shown
        if shown[ended]:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)


def commit(server, repo, body, branch="main"):
    at = f"/repositories/{repo}/branches/{branch}/commits/async"
    status, task = server.rest("POST", at, body)
    assert status == 202 and list(task) == ["id"], task
    return until(server, f"{at}/{task['id']}/status", "completed")


def merge(server, repo, body, source="dev", into="main"):
    at = f"/repositories/{repo}/refs/{source}/merge/{into}/async"
    status, task = server.rest("POST", at, body)
    assert status == 202 and list(task) == ["id"], task
    return until(server, f"{at}/{task['id']}/status", "completed")


def test_clients_are_told(server):
    assert server.rest("GET", "/config")[1]["capabilities_config"] == {"async_ops": True}


def test_commit_in_the_background(server, repo):
    upload(server, repo, "a")
    done = commit(server, repo, {"message": "m", "metadata": {"k": "v"}})
    head = server.rest("GET", f"/repositories/{repo}/commits/main")[1]
    assert done["result"] == head and head["metadata"] == {"k": "v"} and "error" not in done
    assert done["update_time"].endswith("Z")
    refused = commit(server, repo, {"message": "m"})
    assert refused["status_code"] == 400 and "no changes" in refused["error"]["message"] and "result" not in refused


def test_what_the_direct_form_refuses(server, repo):
    commits = f"/repositories/{repo}/branches"
    assert server.rest("POST", f"{commits}/none/commits/async", {"message": "m"})[0] == 404
    assert server.rest("POST", f"{commits}/main/commits/async", {})[0] == 400
    assert server.rest("GET", f"{commits}/main/commits/async/none/status")[0] == 404
    upload(server, repo, "a")
    server.rest("PUT", f"/repositories/{repo}/settings/branch_protection", [{"pattern": "main"}])
    assert commit(server, repo, {"message": "m"})["status_code"] == 403


def test_merge_in_the_background(server, repo):
    server.rest("POST", f"/repositories/{repo}/branches", {"name": "dev", "source": "main"})
    for branch, content in (("dev", b"1"), ("main", b"2")):
        upload(server, repo, "a", content, branch)
        commit(server, repo, {"message": branch}, branch)
    assert merge(server, repo, {})["status_code"] == 409
    done = merge(server, repo, {"strategy": "source-wins"})
    assert done["result"]["reference"] == server.rest("GET", f"/repositories/{repo}/branches/main")[1]["commit_id"]
    merges = f"/repositories/{repo}/refs/dev/merge/main/async"
    assert server.rest("POST", merges, {"strategy": "best"})[0] == 400
    assert server.rest("GET", f"/repositories/{repo}/branches/main/commits/async/{done['task_id']}/status")[0] == 404
    assert server.rest("GET", f"/repositories/{repo}/refs/dev/merge/dev/async/{done['task_id']}/status")[0] == 404


def test_many_at_once_lose_nothing(server, repo):
    def one(n):
        upload(server, repo, f"o/{n}")
        return commit(server, repo, {"message": str(n)})

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ended = list(pool.map(one, range(48)))
    assert all("result" in task or task["status_code"] == 400 for task in ended)
    listed = server.rest("GET", f"/repositories/{repo}/refs/main@/objects/ls", amount=1000)[1]
    assert len(listed["results"]) == 48


def test_a_repository_is_made_from_a_dump(server, repo):
    upload(server, repo, "a")
    commit(server, repo, {"message": "m"})
    server.rest("POST", f"/repositories/{repo}/branches", {"name": "hid", "source": "main", "hidden": True})
    server.rest("POST", f"/repositories/{repo}/tags", {"id": "v1.0", "ref": "main"})
    status, task = server.rest("POST", f"/repositories/{repo}/dump")
    assert status == 202
    refs = until(server, f"/repositories/{repo}/dump", "done", task_id=task["id"])["refs"]
    copy = "copy-" + uuid.uuid4().hex[:12]
    new = {"name": copy, "storage_namespace": f"local://{repo}"}
    assert server.rest("POST", "/repositories", new, bare="true")[0] == 201
    wrong = refs | {"tags_meta_range_id": ZEROS}
    task = server.rest("POST", f"/repositories/{copy}/restore", wrong)[1]
    failed = until(server, f"/repositories/{copy}/restore", "done", task_id=task["id"])
    assert failed["error"].startswith("No data")
    task = server.rest("POST", f"/repositories/{copy}/restore", refs)[1]
    done = until(server, f"/repositories/{copy}/restore", "done", task_id=task["id"])
    assert "error" not in done
    for what in ("branches", "tags", "refs/main/commits", "branches?show_hidden=true"):
        assert server.rest("GET", f"/repositories/{copy}/{what}") == server.rest("GET", f"/repositories/{repo}/{what}")
    assert server.rest("GET", f"/repositories/{copy}/refs/v1.0/objects", path="a")[1] == b"hello"
    assert server.rest("POST", f"/repositories/{copy}/restore", refs)[0] == 400


def test_a_repository_is_made_from_its_bucket_alone(tmp_path):
    with Server(tmp_path / "lake") as server:
        server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})
        upload(server, "lake", "a")
        commit(server, "lake", {"message": "m"})
        server.rest("POST", "/repositories/lake/tags", {"id": "v1.0", "ref": "main"})
        server.rest("PUT", "/repositories/lake/settings/branch_protection", [{"pattern": "main"}])
        lists = ("branches", "tags", "refs/main/commits", "settings/branch_protection")
        before = [server.rest("GET", f"/repositories/lake/{what}") for what in lists]
        server.stop()
        shutil.rmtree(tmp_path / "lake" / "metadata")
        server.start()
        assert server.rest("GET", "/repositories/lake")[0] == 404
        new = {"name": "lake", "storage_namespace": "local://lake"}
        assert server.rest("POST", "/repositories", new)[0] == 400, "the namespace is in use"
        assert server.rest("POST", "/repositories", new, bare="true")[0] == 201
        from_bucket = {"source": "bucket", **dict.fromkeys(
            ("commits_meta_range_id", "tags_meta_range_id", "branches_meta_range_id"), "")}
        assert server.rest("POST", "/repositories/lake/restore", from_bucket | {"source": "tape"})[0] == 400
        status, task = server.rest("POST", "/repositories/lake/restore", from_bucket)
        assert status == 202
        done = until(server, "/repositories/lake/restore", "done", task_id=task["id"])
        assert "error" not in done, done
        assert [server.rest("GET", f"/repositories/lake/{what}") for what in lists] == before
        assert server.rest("GET", "/repositories/lake/refs/v1.0/objects", path="a")[1] == b"hello"
