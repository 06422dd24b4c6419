"""Repositories deleted with their data, as seen on the disk."""
import time

import pytest

from lakebed_server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("lake")
    blockstore = {"type": "local", "local": {"path": str(directory / "blocks")}}
    with Server(directory, blockstore=blockstore) as server:
        yield server


@pytest.fixture(scope="module")
def blocks(server, tmp_path_factory):
    return next(tmp_path_factory.getbasetemp().glob("lake*/blocks"))


def create(server, name, status=201, **more):
    made = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}", **more})
    assert made[0] == status, made
    return made[1]


def fill(server, name):
    at = f"/repositories/{name}/branches/main"
    for path, size in (("small", 10), ("large", 3 << 20)):
        assert server.rest("POST", f"{at}/objects", b"x" * size, path=path)[0] == 201
    assert server.rest("POST", f"{at}/commits", {"message": "m"})[0] == 201
    assert server.rest("POST", f"{at}/objects", b"staged", path="staged")[0] == 201


def until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_the_data_goes_with_the_repository(server, blocks):
    create(server, "goes")
    fill(server, "goes")
    theirs = blocks / "goes" / "raw.parquet"
    theirs.write_bytes(b"theirs")
    assert server.rest("DELETE", "/repositories/goes", delete_storage="true")[0] == 204
    assert server.rest("GET", "/repositories/goes")[0] == 404
    until(lambda: files(blocks / "goes") == ["_lakebed/repository", "raw.parquet"])
    assert "never given out twice" in create(server, "goes", 400, read_only=True)["message"]
    create(server, "goes", storage_namespace="local://elsewhere")


def test_the_data_stays_unless_asked(server, blocks):
    create(server, "stays")
    fill(server, "stays")
    before = len(files(blocks / "stays"))
    assert before > 3
    assert server.rest("DELETE", "/repositories/stays", delete_storage="false")[0] == 204
    create(server, "again", storage_namespace="local://stays", read_only=True)
    assert len(files(blocks / "stays")) >= before


def test_what_others_need_stays(server):
    create(server, "shared")
    fill(server, "shared")
    create(server, "reader", storage_namespace="local://shared", read_only=True)
    status, refused = server.rest("DELETE", "/repositories/shared", delete_storage="true")
    assert status == 409 and "'reader'" in refused["message"], refused
    assert server.rest("GET", "/repositories/shared/refs/main/objects", path="staged")[0] == 200
    assert server.rest("DELETE", "/repositories/shared", delete_storage="yes")[0] == 400
