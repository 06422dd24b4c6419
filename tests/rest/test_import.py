"""Importing files without copying them, on a server that may."""
import concurrent.futures
import time

import pytest

from lakebed_server import Server


def importing(directory, *sources):
    """A server that may import from these directories."""
    local = {"path": str(directory / "data"), "import_enabled": True,
             "allowed_external_prefixes": [str(source) for source in sources]}
    return Server(directory, blockstore={"type": "local", "local": local})


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("source")
    for path in ("in/a", "in/b/c", "in/.hidden", "in2"):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(path)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory, source):
    with importing(tmp_path_factory.mktemp("lake"), source) as server:
        yield server


def start(server, repo, *paths, branch="main", **more):
    body = {"paths": [dict(zip(("type", "path", "destination"), path)) for path in paths],
            "commit": {"message": "imported"}, **more}
    return server.rest("POST", f"/repositories/{repo}/branches/{branch}/import", body)


def until(server, repo, task):
    deadline = time.monotonic() + 120
    while True:
        status, shown = server.rest("GET", f"/repositories/{repo}/branches/main/import", id=task)
        assert status == 200, shown
        if shown["completed"]:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)


def imported(server, repo, *paths, **more):
    status, task = start(server, repo, *paths, **more)
    assert status == 202 and list(task) == ["id"], task
    return until(server, repo, task["id"])


def paths(server, repo, ref="main"):
    listed = server.rest("GET", f"/repositories/{repo}/refs/{ref}/objects/ls", amount=1000)[1]
    return {found["path"]: found for found in listed["results"]}


def get(server, repo, path, **query):
    return server.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path, **query)


def test_clients_are_told(server):
    assert server.rest("GET", "/config/storage")[1]["import_support"] is True


def test_files_become_objects(server, repo, source):
    done = imported(server, repo, ("common_prefix", f"local://{source}/in/", "d/"),
                    ("object", f"local://{source}/in2", "single"))
    assert "error" not in done, done
    head = server.rest("GET", f"/repositories/{repo}/commits/main")[1]
    assert done["commit"] == head and done["metarange_id"] == head["meta_range_id"]
    assert (head["message"], done["ingested_objects"]) == ("imported", 3)
    found = paths(server, repo)
    assert list(found) == ["d/a", "d/b/c", "single"], "nothing hidden"
    assert found["d/a"]["physical_address"] == f"local://{source}/in/a"
    assert found["d/a"]["size_bytes"] == 4
    assert get(server, repo, "d/b/c") == (200, b"in/b/c")
    assert server.rest("GET", f"/repositories/{repo}/branches/main/diff")[1]["results"] == []


def test_what_changed_since_is_noticed(server, repo, tmp_path_factory, source):
    file = source / "changing"
    file.write_text("as it was")
    imported(server, repo, ("object", f"local://{file}", "x"))
    file.unlink(), file.write_text("of other ")
    assert get(server, repo, "x") == (200, b"of other ")
    status, error = get(server, repo, "x", verify="true")
    assert status == 412 and "changed since import" in error["message"]
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="x", verify="true")[0] == 412
    file.write_text("short")
    assert get(server, repo, "x")[0] == 412, "never less than was said"
    file.unlink()
    assert get(server, repo, "x")[0] == 410


def test_what_cannot_be_imported(server, repo, source):
    assert start(server, repo, ("object", f"local://{source}/in/a", "x"), branch="none")[0] == 404
    assert start(server, repo, ("object", f"local://{source}/in/a", ""))[0] == 400
    assert start(server, repo, ("common_prefix", f"local://{repo}/", "x/"))[0] == 400
    assert start(server, repo, ("folder", f"local://{repo}/", "x/"))[0] == 400
    for path, word in ((f"local://{source}/none/", "not found"), (f"local://{source}/none", None),
                       ("local:///etc/", "refused"), (f"local://{source}/../", "refused"), ("s3://b/", "another store")):
        done = imported(server, repo, ("common_prefix", path, "x/"))
        assert word is None and "error" not in done or word in done["error"]["message"], (path, done)
    done = imported(server, repo, ("object", "local:///etc/passwd", "x"))
    assert "refused" in done["error"]["message"] and "commit" not in done
    server.rest("POST", f"/repositories/{repo}/branches/main/objects", b"x", path="staged")
    assert "dirty" in imported(server, repo, ("object", f"local://{source}/in/a", "x"))["error"]["message"]


def test_an_import_that_ended_cannot_be_cancelled(server, repo, source):
    task = start(server, repo, ("object", f"local://{source}/in/a", "x"))[1]["id"]
    until(server, repo, task)
    at = f"/repositories/{repo}/branches/main/import"
    assert server.rest("DELETE", at, id=task)[0] == 409
    assert server.rest("DELETE", at, id="none")[0] == 404
    failed = start(server, repo, ("object", f"local://{source}/none", "x"))[1]["id"]
    until(server, repo, failed)
    assert server.rest("DELETE", at, id=failed)[0] == 204


def test_cancelling_races_publishing(server, repo, source):
    """Whatever the moment: cancelled means no commit, done means one."""
    def one(n):
        task = start(server, repo, ("object", f"local://{source}/in/a", f"race/{n}"))[1]["id"]
        time.sleep(n % 10 / 2000)
        status = server.rest("DELETE", f"/repositories/{repo}/branches/main/import", id=task)[0]
        return n, status, until(server, repo, task)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(one, range(40)))
    found = paths(server, repo)
    for n, status, shown in ended:
        assert status in (204, 409) and ("commit" in shown) == (status == 409) == (f"race/{n}" in found), (n, status, shown)


def test_a_killed_server_says_that_its_import_failed(tmp_path, source):
    many = tmp_path / "many"
    many.mkdir()
    for n in range(20_000):
        (many / str(n)).touch()
    with importing(tmp_path / "lake", many) as server:
        server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})
        task = start(server, "lake", ("common_prefix", f"local://{many}/", ""))[1]["id"]
        server.kill()
        server.start()
        shown = until(server, "lake", task)
        assert "error" in shown and "commit" not in shown, shown
        assert paths(server, "lake") == {}
        assert imported(server, "lake", ("common_prefix", f"local://{many}/", ""))["ingested_objects"] == 20_000


def test_a_server_that_was_not_told_to_refuses(tmp_path):
    with Server(tmp_path / "lake") as server:
        server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})
        assert server.rest("GET", "/config/storage")[1]["import_support"] is False
        assert start(server, "lake", ("object", "local:///etc/passwd", "x"))[0] == 403
        link = {"staging": {"physical_address": "local:///etc/passwd"}, "checksum": "x", "size_bytes": 5}
        assert server.rest("PUT", "/repositories/lake/branches/main/staging/backing", link, path="x")[0] == 200
        assert get(server, "lake", "x")[0] == 403, "an address that is linked is not thereby readable"
