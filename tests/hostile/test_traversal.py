"""Nothing outside the local store's directory is read, written, listed or deleted: whatever names and addresses clients
send through either door, and whatever links another process puts into the directory."""
import os
import pathlib
import uuid

import pytest

from doors import Door
from lakebed_server import Server

SECRET = b"nobody may read this"
CONTENT = b"what is stored stays"


def seen(directory):
    """All of a directory: names, kinds, contents, times."""
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        stat = path.lstat()
        found[str(path)] = (stat.st_mode, stat.st_mtime_ns, path.read_bytes() if path.is_file() else None)
    return found


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A server that may import from one directory, and a directory that it must not touch. Both are beside its own."""
    top = tmp_path_factory.mktemp("traversal")
    (top / "outside" / "data").mkdir(parents=True)
    for name in ["secret", "data/secret", "metadata.json"]:
        (top / "outside" / name).write_bytes(SECRET)
    (top / "sources").mkdir()
    (top / "sources" / "good").write_bytes(b"may be imported")
    store = {"type": "local", "local": {"path": str(top / "data"), "import_enabled": True, "allowed_external_prefixes": [str(top / "sources")]}}
    with Server(top, blockstore=store) as server:
        yield server


@pytest.fixture
def door(lake):
    """A client; afterwards what is outside is as it was, and its secret was never in an answer."""
    before = seen(lake.directory / "outside")
    door = Door(lake.port)
    yield door
    door.close()
    assert seen(lake.directory / "outside") == before
    top = {path.name for path in lake.directory.iterdir()}
    assert top == {"config.yaml", "data", "metadata", "outside", "server.log", "sources"}, "nothing was made beside it"
    assert "panicked" not in lake.log.read_text(errors="replace")


@pytest.fixture
def repo(door):
    name = "repo-" + uuid.uuid4().hex[:12]
    assert door.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})[0] == 201
    assert door.rest("POST", f"/repositories/{name}/branches/main/objects", CONTENT, path="there")[0] == 201
    # Imports are only made into a branch without uncommitted changes.
    assert door.rest("POST", f"/repositories/{name}/branches/main/commits", {"message": "m"})[0] == 201
    return name


def leads_out(lake):
    """Addresses that would be outside, one way or another."""
    outside = lake.directory / "outside"
    return [
        "local://../outside/secret", "local://x/../../outside/secret", "local:///../outside/secret", "local://./../outside/secret",
        f"local://{outside}/secret", f"local://{lake.directory}/sources/../outside/secret", f"local:////{outside}/secret",
        f"local://{lake.directory}/data/../outside/secret", "local://..%2foutside%2fsecret", "local://%2e%2e/outside/secret",
        "local://..\\outside\\secret", "local://../outside/secret\0", "local://\0", "local://.lakebed/log", "local://.", "local://..", "local:///",
        "local:///etc/passwd", "local:///proc/self/environ", "file:///etc/passwd", "s3://../outside/secret", "../outside/secret", "/etc/passwd",
    ]


def unharmed(answer):
    """Not a fault, and not the secret."""
    status, body = answer[0], answer[1]
    assert status < 500, answer
    assert SECRET not in (body if isinstance(body, bytes) else repr(body).encode()), answer
    return status


def test_namespaces(lake, door):
    for number, namespace in enumerate(leads_out(lake)):
        status, said = door.rest("POST", "/repositories", {"name": f"ns-{number}-{uuid.uuid4().hex[:6]}", "storage_namespace": namespace})
        if status != 201:
            assert status == 400, (namespace, said)
            continue
        # What is no way out for a file system is a strange name inside.
        assert ".." not in namespace.split("/") and namespace.startswith("local://"), namespace
        assert (lake.directory / "data" / namespace.removeprefix("local://") / "_lakebed" / "repository").exists(), namespace


@pytest.mark.parametrize("how", ["link", "stage"])
def test_addresses_of_clients(lake, door, repo, how):
    at = f"/repositories/{repo}/branches/main"
    for number, address in enumerate([*leads_out(lake), f"local://{repo}/../../outside/secret", f"local://{repo}/data/../../../outside/secret"]):
        path = f"{how}/{number}"
        said = {"checksum": "x", "size_bytes": len(SECRET)}
        if how == "link":
            answer = door.rest("PUT", f"{at}/staging/backing", said | {"staging": {"physical_address": address}}, path=path)
        else:
            answer = door.rest("PUT", f"{at}/objects", said | {"physical_address": address}, path=path)
        if unharmed(answer) >= 400:
            continue
        # An address may be registered without being looked at: what lies there is not shown.
        for asked in [
            door.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path),
            door.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path, verify="true"),
            door.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path=path, verify="true"),
            door.rest("GET", f"/repositories/{repo}/refs/main/objects/underlyingProperties", path=path),
            door.s3("GET", f"{repo}/main/{path}"),
            door.rest("POST", f"{at}/objects/copy", {"src_path": path, "src_ref": "main"}, dest_path=f"copy/{path}"),
        ]:
            if asked[0] != 200 or SECRET in repr(asked).encode():
                assert asked[0] < 500, (address, asked)
            assert SECRET not in (asked[1] if isinstance(asked[1], bytes) else repr(asked[1]).encode()), (address, asked)
        assert door.s3("GET", f"{repo}/main/{path}")[0] >= 400, address
        assert door.rest("DELETE", f"{at}/objects", path=path)[0] == 204


def imported(door, repo, source):
    status, said = door.rest("POST", f"/repositories/{repo}/branches/main/import", {"paths": [source], "commit": {"message": "m"}})
    if status != 202:
        assert status == 400, said
        return said["message"]
    while True:
        status, shown = door.rest("GET", f"/repositories/{repo}/branches/main/import", id=said["id"])
        assert status == 200, shown
        if shown["completed"]:
            message = shown.get("error", {}).get("message")
            assert "dirty" not in (message or ""), message
            return message


@pytest.mark.parametrize("kind", ["object", "common_prefix"])
def test_sources_of_imports(lake, door, repo, kind):
    for address in leads_out(lake):
        source = address.removesuffix("secret") if kind == "common_prefix" else address
        refused = imported(door, repo, {"type": kind, "path": source, "destination": "in/"})
        # A prefix may also be one that nothing begins with.
        assert refused or kind == "common_prefix", f"{address} was imported"
    status, listed = door.rest("GET", f"/repositories/{repo}/refs/main/objects/ls", prefix="in/")
    assert status == 200 and listed["results"] == []


def test_links_in_a_directory_that_may_be_imported(lake, door, repo):
    sources = lake.directory / "sources" / repo
    sources.mkdir()
    (sources / "plain").write_bytes(b"may be imported")
    (sources / "file").symlink_to(lake.directory / "outside" / "secret")
    (sources / "directory").symlink_to(lake.directory / "outside")
    (sources / "relative").symlink_to("../../outside")
    os.mkfifo(sources / "pipe")
    for name in ["file", "directory/secret", "relative/secret", "pipe", "directory/../../outside/secret"]:
        assert imported(door, repo, {"type": "object", "path": f"local://{sources}/{name}", "destination": "in/x"}), name
    for name in ["directory/", "relative/", "directory/data/"]:
        # Nothing is found there, or the directory is refused: both are fine.
        imported(door, repo, {"type": "common_prefix", "path": f"local://{sources}/{name}", "destination": "in/"})
    assert imported(door, repo, {"type": "common_prefix", "path": f"local://{sources}/", "destination": "in/"}) is None
    status, listed = door.rest("GET", f"/repositories/{repo}/refs/main/objects/ls", prefix="in/")
    assert [found["path"] for found in listed["results"]] == ["in/plain"]
    # A file that was imported and is a link now is not followed.
    (sources / "plain").unlink()
    (sources / "plain").symlink_to(lake.directory / "outside" / "secret")
    assert unharmed(door.rest("GET", f"/repositories/{repo}/refs/main/objects", path="in/plain")) >= 400
    assert unharmed(door.s3("GET", f"{repo}/main/in/plain")) >= 400


def test_keys_are_names_and_no_paths(lake, door, repo):
    keys = ["../../outside/secret", "..", "../x", "a/../../b", "/etc/passwd", "./x", "a\\..\\b", "C:\\x", "a//b", "_lakebed/repository", "_lakebed/../../x", ".lakebed/log"]
    for number, key in enumerate(keys):
        content = f"{number}".encode()
        stored = door.rest("POST", f"/repositories/{repo}/branches/main/objects", content, path=key)
        if unharmed(stored) == 201:
            assert door.rest("GET", f"/repositories/{repo}/refs/main/objects", path=key) == (200, content)
            address = stored[1]["physical_address"]
            assert address.startswith(f"local://{repo}/data/") and ".." not in address
    for location in ["../../outside/", "..", "/", "../../../outside", "a/../../../../outside/"]:
        unharmed(door.rest("POST", f"/repositories/{repo}/refs/main/symlink", location=location))


def test_an_objects_file_that_became_a_link(lake, door, repo):
    # Small objects are answered from the log until they are written to their files: a large one is a file at once.
    large = os.urandom(2_000_000)
    status, stored = door.rest("POST", f"/repositories/{repo}/branches/main/objects", large, path="large")
    assert status == 201
    file = lake.directory / "data" / stored["physical_address"].removeprefix("local://")
    file.unlink()
    file.symlink_to(lake.directory / "outside" / "secret")
    answers = [door.rest("GET", f"/repositories/{repo}/refs/main/objects", path="large"), door.s3("GET", f"{repo}/main/large")]
    for status, body, *_ in answers:
        assert status >= 400 and SECRET not in (body if isinstance(body, bytes) else repr(body).encode()), (status, body)
    status, body = door.rest("POST", f"/repositories/{repo}/branches/main/objects/copy", {"src_path": "large", "src_ref": "main"}, dest_path="copy", shallow="false")[:2]
    if status == 201:
        assert door.rest("GET", f"/repositories/{repo}/refs/main/objects", path="copy")[0] >= 400


@pytest.mark.parametrize("replaced", ["data", "_lakebed", ""])
def test_a_directory_that_became_a_link(lake, door, repo, replaced):
    """Before the server used it, or after: it goes on with the directory it knows, or fails; never through the link."""
    home = lake.directory / "data" / repo
    directory = home / replaced if replaced else home
    kept = lake.directory / "data" / f"kept-{uuid.uuid4().hex[:8]}"
    os.rename(directory, kept)
    directory.symlink_to(lake.directory / "outside")
    try:
        for content in [b"small", os.urandom(2_000_000)]:
            assert door.rest("POST", f"/repositories/{repo}/branches/main/objects", content, path="through")[0] in (201, 500)
        door.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})
        for asked in [door.rest("GET", f"/repositories/{repo}/refs/main/objects", path="secret"), door.s3("GET", f"{repo}/main/secret")]:
            assert asked[0] >= 400
        door.rest("POST", f"/repositories/{repo}/refs/main/symlink", location="")
        # The namespace is given up: what is deleted is never behind the link.
        assert door.rest("DELETE", f"/repositories/{repo}", delete_storage="true")[0] in (204, 403, 409, 500)
    finally:
        directory.unlink()
        os.rename(kept, directory)


def test_a_namespace_that_is_a_link_before_its_repository(lake, door):
    name = "linked-" + uuid.uuid4().hex[:8]
    (lake.directory / "data" / name).symlink_to(lake.directory / "outside")
    for namespace in [f"local://{name}", f"local://{name}/below"]:
        status, said = door.rest("POST", "/repositories", {"name": name, "storage_namespace": namespace})
        assert status == 400, said
