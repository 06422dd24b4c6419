"""The Rust clients in their Python wheels: object_store (obstore), which tables and engines stand on, and OpenDAL."""
import concurrent.futures
import os

import obstore
import opendal
import pytest
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import S3Store

from lakebed_server import KEY, SECRET


@pytest.fixture
def store(server, repo):
    return S3Store(
        repo,
        endpoint=server.endpoint,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        virtual_hosted_style_request=False,
        conditional_put="etag",
        copy_if_not_exists="multipart",
        client_options={"allow_http": True},
    )


def read(store, path):
    return bytes(obstore.get(store, path).bytes())


def test_object_store_puts_ranges_and_lists(store, server, repo):
    content = os.urandom(23 << 20)
    obstore.put(store, "main/large é+ %", content, chunk_size=5 << 20, use_multipart=True, attributes={"Content-Type": "text/x", "colour": "blue"})
    assert read(store, "main/large é+ %") == content
    assert bytes(obstore.get_range(store, "main/large é+ %", start=1000, end=6_000_000)) == content[1000:6_000_000]
    ranges = obstore.get_ranges(store, "main/large é+ %", starts=[0, 10 << 20, len(content) - 9], ends=[7, (10 << 20) + 5, len(content)])
    assert [bytes(part) for part in ranges] == [content[:7], content[10 << 20 : (10 << 20) + 5], content[-9:]]
    assert bytes(obstore.get(store, "main/large é+ %", options={"range": {"suffix": 100}}).bytes()) == content[-100:]
    head = obstore.head(store, "main/large é+ %")
    assert head["size"] == len(content) and head["e_tag"].endswith('-5"')
    names = [f"main/many/{n // 50:02}/{n:04}" for n in range(1200)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: obstore.put(store, name, name.encode()), names))
    assert [entry["path"] for page in obstore.list(store, "main/many") for entry in page] == names
    assert [entry["path"] for page in obstore.list(store, "main/many", offset=names[1100]) for entry in page] == names[1101:]
    level = obstore.list_with_delimiter(store, "main/many")
    assert len(level["common_prefixes"]) == 24 and level["objects"] == []
    ref = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})[1]["id"]
    # More than one bulk delete takes; what is not there is no error.
    obstore.delete(store, [*names, "main/many/none"])
    assert [entry for page in obstore.list(store, "main/many") for entry in page] == []
    assert read(store, f"{ref}/many/03/0199") == b"main/many/03/0199"
    with pytest.raises(FileNotFoundError):
        obstore.get(store, names[0])


def test_object_store_conditions(store):
    first = obstore.put(store, "main/once", b"1", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "main/once", b"2", mode="create")
    second = obstore.put(store, "main/once", b"2", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "main/once", b"3", mode={"e_tag": first["e_tag"]})
    assert read(store, "main/once") == b"2" and second["e_tag"] != first["e_tag"]

    def create(n):
        try:
            obstore.put(store, "main/race", str(n).encode(), mode="create")
        except AlreadyExistsError:
            return None
        return n

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        (winner,) = [n for n in pool.map(create, range(32)) if n is not None]
    assert read(store, "main/race") == str(winner).encode()
    # Copies onto nothing, by a multipart upload that completes on a condition.
    obstore.copy(store, "main/once", "main/copy b+", overwrite=False)
    with pytest.raises(AlreadyExistsError):
        obstore.copy(store, "main/race", "main/copy b+", overwrite=False)
    assert read(store, "main/copy b+") == b"2"
    obstore.rename(store, "main/copy b+", "main/moved")
    assert read(store, "main/moved") == b"2"
    with pytest.raises((NotFoundError, FileNotFoundError)):
        obstore.head(store, "main/copy b+")


def test_opendal(server, repo):
    at = {"bucket": repo, "endpoint": server.endpoint, "access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}
    lake = opendal.Operator("s3", root="/main/data", **at)
    content = os.urandom(12 << 20)
    lake.create_dir("d/")
    lake.write("d/large é+", content, chunk=5 << 20, content_type="text/x")
    lake.write("d/empty", b"")
    assert lake.read("d/large é+") == content
    with lake.open("d/large é+", "rb") as file:
        file.seek(5_000_000)
        assert file.read(100) == content[5_000_000:5_000_100]
    stat = lake.stat("d/large é+")
    assert stat.content_length == len(content) and stat.content_type == "text/x"
    assert sorted(entry.path for entry in lake.list("d/") if entry.path != "d/") == ["d/empty", "d/large é+"]
    lake.copy("d/large é+", "d/copy")
    assert lake.read("d/copy") == content
    status, made = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})
    assert status == 201
    lake.remove_all("d/")
    assert not lake.exists("d/copy")
    assert opendal.Operator("s3", root=f"/{made['id']}/data", **at).read("d/copy") == content
