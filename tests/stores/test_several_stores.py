"""One server over a local directory and two S3 services at once: each repository lives in the store that it names."""
import json
import os
import time
import urllib.error
import urllib.request
import uuid

import pytest
from botocore.exceptions import ClientError

import lakefs
from emulators import KEY, SECRET, moto, moto_apart, s3_client
from lakebed_server import KEY as OUR_KEY, SECRET as OUR_SECRET, Server
from lakefs.client import Client

BUCKET = "the-lake"


def s3_store(id, endpoint, **more):
    s3 = {"endpoint": endpoint, "force_path_style": True, "region": "us-east-1", "credentials": {"access_key_id": KEY, "secret_access_key": SECRET}}
    return {"id": id, "type": "s3", "s3": s3 | more}


def local_store(directory, **more):
    return {"id": "here", "type": "local", "description": "on this machine", "local": {"path": str(directory / "data")}} | more


def several(*stores):
    return {"signing": {"secret_key": "signs addresses of clients"}, "stores": list(stores)}


@pytest.fixture(scope="module")
def services():
    """Two services with a bucket of one name: a namespace alone does not say which is meant."""
    with moto(BUCKET) as one, moto_apart(BUCKET) as two:
        yield one, two


@pytest.fixture(scope="module")
def server(services, tmp_path_factory):
    directory = tmp_path_factory.mktemp("lake")
    stores = several(local_store(directory, backward_compatible=True), s3_store("one", services[0]), s3_store("two", services[1], pre_signed_expiry="1m"))
    with Server(directory, blockstores=stores) as running:
        yield running


def create(server, store, namespace=None, **more):
    name = "repo-" + uuid.uuid4().hex[:12]
    namespace = namespace or (f"s3://{BUCKET}/{name}" if store in ("one", "two") else f"local://{name}")
    asked = {"name": name, "storage_namespace": namespace} | ({} if store is None else {"storage_id": store}) | more
    status, said = server.rest("POST", "/repositories", asked)
    assert status == 201, said
    return name, said


def keys(endpoint, prefix=""):
    pages = s3_client(endpoint).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def put(server, repo, path, content, branch="main"):
    status, said = server.rest("POST", f"/repositories/{repo}/branches/{branch}/objects", content, path=path)
    assert status == 201, said
    return said


def read(server, repo, path, ref="main"):
    status, said = server.rest("GET", f"/repositories/{repo}/refs/{ref}/objects", path=path)
    assert status == 200, said
    return said


def commit(server, repo):
    status, said = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})
    assert status == 201, said
    return said["id"]


def test_clients_are_told_of_all_stores(server):
    status, config = server.rest("GET", "/config")
    shown = {store["blockstore_id"]: store for store in config["storage_config_list"]}
    assert status == 200 and list(shown) == ["here", "one", "two"]
    assert shown["here"]["blockstore_description"] == "on this machine"
    assert (shown["here"]["blockstore_type"], shown["here"]["pre_sign_support"]) == ("local", False)
    assert (shown["one"]["blockstore_type"], shown["one"]["pre_sign_support"]) == ("s3", True)
    assert config["storage_config"] == shown["here"], "what is not named is in the store that serves it"
    assert server.rest("GET", "/config/storage") == (200, shown["here"])


@pytest.mark.parametrize("store, shown", [(None, "here"), ("here", "here"), ("one", "one"), ("two", "two")])
def test_a_repository_says_its_store(server, store, shown):
    name, made = create(server, store)
    assert made["storage_id"] == shown
    assert server.rest("GET", f"/repositories/{name}")[1]["storage_id"] == shown
    listed = server.rest("GET", "/repositories", prefix=name)[1]["results"]
    assert [found["storage_id"] for found in listed] == [shown]


def test_a_store_that_is_not_there_is_refused(server):
    for store in ["three", "One", "a b", "one/two"]:
        status, said = server.rest("POST", "/repositories", {"name": "elsewhere", "storage_namespace": f"s3://{BUCKET}/x", "storage_id": store})
        assert status == 400 and "storage id" in said["message"] and "validation error" in said["message"], said
    status, said = server.rest("POST", "/repositories", {"name": "elsewhere", "storage_namespace": "local://x", "storage_id": "one"})
    assert status == 400 and "s3://" in said["message"], said


def test_one_namespace_in_two_stores_is_two_places(server, services):
    namespace = f"s3://{BUCKET}/same-{uuid.uuid4().hex[:8]}"
    repos = {store: create(server, store, namespace)[0] for store in ["one", "two"]}
    for store, repo in repos.items():
        put(server, repo, "a", f"in {store}".encode())
        commit(server, repo)
    prefix = namespace.removeprefix(f"s3://{BUCKET}/") + "/data/"
    assert len(keys(services[0], prefix)) == len(keys(services[1], prefix)) == 1
    for store, repo in repos.items():
        assert read(server, repo, "a") == f"in {store}".encode()
    status, said = server.rest("POST", "/repositories", {"name": "again", "storage_namespace": namespace, "storage_id": "two"})
    assert status == 400 and "in use" in said["message"], said


def test_both_names_of_the_store_that_serves_the_nameless_are_one(server):
    name, made = create(server, None)
    status, said = server.rest("POST", "/repositories", {"name": name + "-2", "storage_namespace": made["storage_namespace"], "storage_id": "here"})
    assert status == 400 and "in use" in said["message"], said


@pytest.mark.parametrize("store", ["here", "one", "two"])
@pytest.mark.parametrize("size", [1000, 9_000_001])
def test_both_doors_write_and_read_in_every_store(server, objects, store, size):
    repo, _ = create(server, store)
    content = os.urandom(size)
    put(server, repo, "by/rest", content)
    objects.put_object(Bucket=repo, Key="main/by/s3", Body=content)
    upload = objects.create_multipart_upload(Bucket=repo, Key="main/by/parts")["UploadId"]
    part = objects.upload_part(Bucket=repo, Key="main/by/parts", UploadId=upload, PartNumber=1, Body=content)
    objects.complete_multipart_upload(Bucket=repo, Key="main/by/parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    head = commit(server, repo)
    for path in ["by/rest", "by/s3", "by/parts"]:
        assert objects.get_object(Bucket=repo, Key=f"{head}/{path}")["Body"].read() == content
        assert read(server, repo, path) == content
    # A merge: its nodes and its commit are written to the store of the repository.
    assert server.rest("POST", f"/repositories/{repo}/branches", {"name": "side", "source": "main"})[0] == 201
    put(server, repo, "more", b"x", "side")
    assert server.rest("POST", f"/repositories/{repo}/branches/side/commits", {"message": "m"})[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/refs/side/merge/main", {})[0] == 200
    assert read(server, repo, "more") == b"x"


def test_presigned_urls_are_of_the_repositorys_store(server, services):
    for store, endpoint, life in [("one", services[0], "900"), ("two", services[1], "60")]:
        repo, _ = create(server, store)
        put(server, repo, "a", store.encode())
        status, shown = server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="a", presign="true")
        url = shown["physical_address"]
        assert status == 200 and url.startswith(endpoint + "/") and f"X-Amz-Expires={life}" in url, shown
        assert urllib.request.urlopen(url).read() == store.encode()
    repo, _ = create(server, "here")
    put(server, repo, "a", b"here")
    status, said = server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="a", presign="true")
    assert status == 400 and "presign" in said["message"], said


def test_an_address_issued_in_one_store_counts_in_no_other(server):
    namespace = f"s3://{BUCKET}/issued-{uuid.uuid4().hex[:8]}"
    one, two = create(server, "one", namespace)[0], create(server, "two", namespace)[0]
    _, issued = server.rest("GET", f"/repositories/{one}/branches/main/staging/backing", path="a")
    link = {"staging": issued, "checksum": "x", "size_bytes": 0}
    status, said = server.rest("PUT", f"/repositories/{two}/branches/main/staging/backing", link, path="a")
    assert status == 400 and "signature" in said["message"], said
    assert server.rest("PUT", f"/repositories/{one}/branches/main/staging/backing", link, path="a")[0] == 200


def test_copies_between_stores_carry_the_bytes(server, objects, services):
    content = os.urandom(6_000_000)
    source, target = create(server, "here")[0], create(server, "two")[0]
    put(server, source, "a", content)
    objects.copy_object(Bucket=target, Key="main/copied", CopySource=f"{source}/main/a")
    upload = objects.create_multipart_upload(Bucket=target, Key="main/parts")["UploadId"]
    part = objects.upload_part_copy(Bucket=target, Key="main/parts", UploadId=upload, PartNumber=1, CopySource=f"{source}/main/a", CopySourceRange="bytes=10-5999999")
    objects.complete_multipart_upload(Bucket=target, Key="main/parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
    assert read(server, target, "copied") == content and read(server, target, "parts") == content[10:]
    assert len(keys(services[1], f"{target}/data/")) == 2
    objects.put_object(Bucket=source, Key="main/empty", Body=b"")
    objects.copy_object(Bucket=target, Key="main/empty", CopySource=f"{source}/main/empty")
    assert read(server, target, "empty") == b""


def test_imports_are_from_the_repositorys_own_store(server, services):
    s3_client(services[1]).put_object(Bucket=BUCKET, Key="source/x", Body=b"in two")
    paths = [{"type": "object", "path": f"s3://{BUCKET}/source/x", "destination": "x"}]

    def imported(repo, paths):
        status, said = server.rest("POST", f"/repositories/{repo}/branches/main/import", {"paths": paths, "commit": {"message": "m"}})
        if status != 202:
            return status, said
        while True:
            _, shown = server.rest("GET", f"/repositories/{repo}/branches/main/import", id=said["id"])
            if shown["completed"]:
                return status, shown

    repo, _ = create(server, "two")
    assert "error" not in imported(repo, paths)[1]
    assert read(server, repo, "x") == b"in two"
    repo, _ = create(server, "one")
    assert "error" in imported(repo, paths)[1], "the store of this repository has no such object"
    shown = imported(repo, [{"type": "object", "path": "local://a/b", "destination": "x"}])[1]
    assert "another store" in shown["error"]["message"], shown
    repo, _ = create(server, "here")
    status, said = imported(repo, paths)
    assert status == 403 and "import is not supported" in said["message"], said


def test_data_deleted_with_its_repository_is_deleted_in_its_store(server, services):
    namespace = f"s3://{BUCKET}/freed-{uuid.uuid4().hex[:8]}"
    prefix = namespace.removeprefix(f"s3://{BUCKET}/") + "/"
    one, two = create(server, "one", namespace)[0], create(server, "two", namespace)[0]
    for repo in [one, two]:
        put(server, repo, "a", b"x")
        commit(server, repo)
    assert server.rest("DELETE", f"/repositories/{one}", delete_storage="true")[0] == 204
    deadline = time.monotonic() + 60
    while keys(services[0], prefix) != [prefix + "_lakebed/repository"]:
        assert time.monotonic() < deadline, keys(services[0], prefix)
    assert len(keys(services[1], prefix + "data/")) == 1 and read(server, two, "a") == b"x"


def test_sample_data_goes_to_the_named_store(server, services):
    repo, _ = create(server, "two", sample_data=True)
    assert keys(services[1], f"{repo}/data/") and not keys(services[0], f"{repo}/")


def test_the_high_level_client_finds_its_store(server, services):
    client = Client(host=server.endpoint, username=OUR_KEY, password=OUR_SECRET)
    for store in ["one", None]:
        name = "repo-" + uuid.uuid4().hex[:12]
        namespace = f"s3://{BUCKET}/{name}" if store else f"local://{name}"
        repo = lakefs.Repository(name, client=client).create(storage_namespace=namespace, **({"storage_id": store} if store else {}))
        written = repo.branch("main").object("a").upload(data=b"hello")
        assert written.reader(mode="rb").read() == b"hello"


def test_metrics_tell_the_kinds_of_stores_apart(server):
    shown = urllib.request.urlopen(server.endpoint + "/metrics").read().decode()
    for kind in ["local", "s3"]:
        assert f'{kind}_operation_duration_seconds_count{{error="false",operation="put"}}' in shown
        assert f'blockstore_type="{kind}"' in shown


def refusal(server):
    """What a server says that does not start."""
    server.launch()
    assert server.process.wait(timeout=60) == 1
    server.process = None
    return server.tail().splitlines()[-1]


def test_repositories_without_their_store_keep_a_server_from_starting(services, tmp_path):
    here = local_store(tmp_path, backward_compatible=True)
    with Server(tmp_path, blockstores=several(here, s3_store("one", services[0]))) as server:
        in_one, nameless = create(server, "one")[0], create(server, None)[0]
    said = refusal(Server(tmp_path, blockstores=several(here, s3_store("two", services[1]))))
    assert in_one in said and "'one'" in said and nameless not in said, said
    said = refusal(Server(tmp_path, blockstores=several(local_store(tmp_path), s3_store("one", services[0]))))
    assert nameless in said and "backward_compatible" in said and in_one not in said, said
    said = refusal(Server(tmp_path))
    assert in_one in said and "single 'blockstore'" in said, said
    # As it was, everything is there.
    with Server(tmp_path, blockstores=several(here, s3_store("one", services[0]))) as server:
        assert server.rest("GET", f"/repositories/{in_one}")[0] == 200


def test_a_server_of_one_store_goes_on_as_one_of_several(services, tmp_path):
    with Server(tmp_path) as server:
        old, made = create(server, None)
        assert made["storage_id"] == ""
        put(server, old, "a", b"old")
        commit(server, old)
    said = refusal(Server(tmp_path, blockstores=several(s3_store("one", services[0]))))
    assert old in said and "backward_compatible" in said, said
    with Server(tmp_path, blockstores=several(local_store(tmp_path, backward_compatible=True), s3_store("one", services[0]))) as server:
        assert read(server, old, "a") == b"old"
        assert server.rest("GET", f"/repositories/{old}")[1]["storage_id"] == "here"


def test_without_a_store_for_them_nameless_repositories_are_refused(services, tmp_path, objects):
    with Server(tmp_path, blockstores=several(local_store(tmp_path), s3_store("one", services[0]))) as server:
        status, said = server.rest("POST", "/repositories", {"name": "nameless", "storage_namespace": "local://nameless"})
        assert status == 400 and "storage id" in said["message"], said
        create(server, "one")


def test_create_bucket_uses_the_store_it_is_told(services, tmp_path):
    gateway = "gateways: {s3: {create_repository: {enabled: true, storage_id: one, storage_namespace_template: 's3://the-lake/made/{name}'}}}"
    with Server(tmp_path, blockstores=several(local_store(tmp_path, backward_compatible=True), s3_store("one", services[0])), extra=gateway) as server:
        import boto3

        client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=OUR_KEY, aws_secret_access_key=OUR_SECRET)
        client.create_bucket(Bucket="made")
        assert server.rest("GET", "/repositories/made")[1]["storage_id"] == "one"
        with pytest.raises(ClientError):
            client.create_bucket(Bucket="made")
    said = refusal(Server(tmp_path, blockstores=several(local_store(tmp_path)), extra=gateway))
    assert "storage_id" in said and "'one'" in said, said


@pytest.mark.parametrize("blockstores, named", [
    ({"stores": [{"id": "a", "type": "mem"}]}, "blockstores.signing.secret_key"),
    (several(), "blockstores.stores"),
    (several({"id": "a", "type": "mem"}, {"id": "a", "type": "mem"}), "the id 'a'"),
])
def test_a_wrong_configuration_says_what_is_wrong(tmp_path, blockstores, named):
    said = refusal(Server(tmp_path, blockstores=blockstores))
    assert named in said, said


def test_one_store_and_several_exclude_each_other(tmp_path):
    said = refusal(Server(tmp_path, blockstores=several({"id": "a", "type": "mem"}), extra="blockstore: {type: mem}"))
    assert "exclude each other" in said, said


def test_readiness_asks_the_store_that_a_repository_names(tmp_path):
    with moto_apart(BUCKET) as service:
        stores = several(local_store(tmp_path, backward_compatible=True), s3_store("away", service))
        running = Server(tmp_path, blockstores=stores)
        running.start()
        status, said = running.rest("POST", "/repositories", {"name": "repo", "storage_namespace": f"s3://{BUCKET}/repo", "storage_id": "away"})
        assert status == 201, said
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(running.endpoint + "/_health/ready", timeout=30)
        assert refused.value.code == 503
        assert json.load(refused.value)["blockstore"] == "the object store does not answer"
    finally:
        # Stopping would wait for the store.
        running.kill()
