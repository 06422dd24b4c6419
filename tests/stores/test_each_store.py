"""The whole server over each store: both doors, commits, what a collector needs, a repository made again from its bucket,
import without copying, presigned URLs fetched for real."""
import contextlib
import hashlib
import os
import time
import uuid

import pytest
import requests

import places
from lakebed_server import KEY as OUR_KEY, SECRET as OUR_SECRET, Server


@pytest.fixture(scope="module", params=places.ALL)
def place(request):
    with places.ALL[request.param]() as place:
        yield place


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lake"), blockstore=place.blockstore) as running:
        yield running


@pytest.fixture
def repo(server, place):
    name = "repo-" + uuid.uuid4().hex[:12]
    status, made = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"{place.root}/{name}"})
    assert status == 201, made
    return name


def until(server, at, **query):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status, state = server.rest("GET", at, **query)
        assert status == 200, state
        if state.get("completed") or state.get("done"):
            return state
        time.sleep(0.05)
    raise AssertionError(state)


def commit(server, repo, message="c"):
    status, made = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": message})
    assert status == 201, made
    return made["id"]


def test_the_store_is_told(server, place):
    storage = server.rest("GET", "/config")[1]["storage_config"]
    assert storage["blockstore_type"] == place.kind and storage["import_support"] and storage["pre_sign_support"]
    assert storage["pre_sign_multipart_upload"] == (place.kind != "azure") and not storage["pre_sign_support_ui"]


def test_namespaces_of_other_stores_and_missing_buckets_are_refused(server, place):
    status, said = server.rest("POST", "/repositories", {"name": "elsewhere", "storage_namespace": "local://elsewhere"})
    assert status == 400, said
    missing = place.root.replace(places.BUCKET, "no-such-bucket-here")
    status, said = server.rest("POST", "/repositories", {"name": "elsewhere", "storage_namespace": f"{missing}/x"})
    assert status == 400 and "create the" in said["message"], said


@pytest.mark.parametrize("size", [0, 1000, 1 << 20, 9_000_001, 20_000_000])
def test_what_is_written_through_one_door_is_read_through_both(server, place, repo, objects, size):
    content = os.urandom(size)
    status, written = server.rest("POST", f"/repositories/{repo}/branches/main/objects", content, path="by/rest ü+%")
    assert status == 201 and written["size_bytes"] == size, written
    assert written["physical_address"].startswith(f"{place.root}/{repo}/data/")
    assert written["checksum"] == hashlib.md5(content).hexdigest()
    objects.put_object(Bucket=repo, Key="main/by/s3", Body=content)
    form = requests.post(
        f"{server.endpoint}/api/v1/repositories/{repo}/branches/main/objects", params={"path": "by/form"},
        files={"content": ("name", content, "application/x-thing")}, auth=(OUR_KEY, OUR_SECRET), timeout=60,
    )
    assert form.status_code == 201, form.text
    for path in ["by/rest ü+%", "by/s3", "by/form"]:
        assert objects.get_object(Bucket=repo, Key=f"main/{path}")["Body"].read() == content
        assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path)[1] == content
    if size > 1000:
        part = objects.get_object(Bucket=repo, Key="main/by/rest ü+%", Range="bytes=777-999")
        assert part["Body"].read() == content[777:1000]


def test_parts_through_the_gateway(server, place, repo, objects):
    upload = objects.create_multipart_upload(Bucket=repo, Key="main/parts")["UploadId"]
    bodies = [os.urandom(5 << 20), os.urandom(5 << 20), b"the end"]
    tags = [objects.upload_part(Bucket=repo, Key="main/parts", UploadId=upload, PartNumber=n, Body=body)["ETag"] for n, body in enumerate(bodies, 1)]
    objects.put_object(Bucket=repo, Key="main/source", Body=bodies[0])
    copied = objects.upload_part_copy(Bucket=repo, Key="main/parts", UploadId=upload, PartNumber=2, CopySource=f"{repo}/main/source")
    tags[1] = copied["CopyPartResult"]["ETag"]
    parts = {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}
    for _ in range(2):
        objects.complete_multipart_upload(Bucket=repo, Key="main/parts", UploadId=upload, MultipartUpload=parts)
    assert objects.get_object(Bucket=repo, Key="main/parts")["Body"].read() == bodies[0] + bodies[0] + bodies[2]
    given_up = objects.create_multipart_upload(Bucket=repo, Key="main/never")["UploadId"]
    objects.upload_part(Bucket=repo, Key="main/never", UploadId=given_up, PartNumber=1, Body=b"part")
    objects.abort_multipart_upload(Bucket=repo, Key="main/never", UploadId=given_up)
    if place.uploads:
        assert [key for key in place.uploads() if key.startswith(f"{repo}/")] == []


def test_a_broken_upload_shows_nothing(server, repo, objects):
    for size in [1000, 3_000_000]:
        with pytest.raises(Exception, match="BadDigest"):
            objects.put_object(Bucket=repo, Key="main/x", Body=os.urandom(size), ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="x")[0] == 404


def test_commits_merges_and_what_a_collector_needs(server, repo, objects):
    objects.put_object(Bucket=repo, Key="main/a", Body=b"one")
    first = commit(server, repo)
    assert server.rest("POST", f"/repositories/{repo}/branches", {"name": "dev", "source": "main"})[0] == 201
    objects.copy_object(Bucket=repo, Key="dev/b", CopySource=f"{repo}/dev/a")
    objects.delete_object(Bucket=repo, Key="dev/a")
    assert server.rest("POST", f"/repositories/{repo}/branches/dev/commits", {"message": "second"})[0] == 201
    status, merged = server.rest("POST", f"/repositories/{repo}/refs/dev/merge/main", {})
    assert status == 200, merged
    assert [found["Key"] for found in objects.list_objects_v2(Bucket=repo, Prefix="main/")["Contents"]] == ["main/b"]
    assert objects.get_object(Bucket=repo, Key=f"{first}/a")["Body"].read() == b"one"
    objects.put_object(Bucket=repo, Key="main/staged", Body=b"staged")
    rules = {"default_retention_days": 1, "branches": [{"branch_id": "main", "retention_days": 7}]}
    server.rest("PUT", f"/repositories/{repo}/settings/gc_rules", rules)
    status, prepared = server.rest("POST", f"/repositories/{repo}/gc/prepare_commits")
    assert status == 201 and prepared["run_id"], prepared
    status, prepared = server.rest("POST", f"/repositories/{repo}/gc/prepare_uncommited", {})
    assert status == 201 and prepared["run_id"], prepared


def test_a_repository_is_made_again_from_its_bucket(server, place, tmp_path):
    name = "again-" + uuid.uuid4().hex[:8]
    with Server(tmp_path / "first", blockstore=place.blockstore) as first:
        assert first.rest("POST", "/repositories", {"name": name, "storage_namespace": f"{place.root}/{name}"})[0] == 201
        for n in range(20):
            assert first.rest("POST", f"/repositories/{name}/branches/main/objects", b"%d" % n, path=f"dir/{n:02}")[0] == 201
        head = commit(first, name)
    with Server(tmp_path / "second", blockstore=place.blockstore) as second:
        status, made = second.rest("POST", "/repositories", {"name": name, "storage_namespace": f"{place.root}/{name}"}, bare="true")
        assert status == 201, made
        from_bucket = {"source": "bucket", **dict.fromkeys(("commits_meta_range_id", "tags_meta_range_id", "branches_meta_range_id"), "")}
        status, task = second.rest("POST", f"/repositories/{name}/restore", from_bucket)
        assert status == 202, task
        done = until(second, f"/repositories/{name}/restore", task_id=task["id"])
        assert not done.get("error"), done
        assert second.rest("GET", f"/repositories/{name}/branches/main")[1]["commit_id"] == head
        assert second.rest("GET", f"/repositories/{name}/refs/main/objects", path="dir/07")[1] == b"7"


def test_presigned_reads(server, place, repo):
    server.rest("POST", f"/repositories/{repo}/branches/main/objects", b"content", path="dir/a b.txt")
    at = f"/repositories/{repo}/refs/main/objects"
    status, stat = server.rest("GET", f"{at}/stat", path="dir/a b.txt", presign="true")
    assert status == 200 and stat["physical_address"].startswith(place.endpoint), stat
    assert stat["physical_address_expiry"] > stat["mtime"]
    got = requests.get(stat["physical_address"], timeout=10)
    assert got.content == b"content" and "a b.txt" in got.headers["Content-Disposition"], got.text
    page = server.rest("GET", f"{at}/ls", presign="true")[1]
    assert requests.get(page["results"][0]["physical_address"], timeout=10).content == b"content"
    redirect = requests.get(f"{server.endpoint}/api/v1{at}", params={"path": "dir/a b.txt", "presign": "true"}, auth=(OUR_KEY, OUR_SECRET), allow_redirects=False, timeout=10)
    assert redirect.status_code == 302 and redirect.content == b""
    assert requests.get(redirect.headers["Location"], timeout=10).content == b"content"
    # For this object alone, and for reading alone. (moto lets anybody in.)
    if place.kind != "s3":
        other = stat["physical_address"].replace("?", "x?", 1)
        assert requests.get(other, timeout=10).status_code == 403
        assert requests.put(stat["physical_address"], data=b"x", headers=place.headers, timeout=10).status_code == 403


def test_a_client_writes_to_the_store_itself(server, place, repo):
    on = f"/repositories/{repo}/branches/main/staging/backing"
    status, target = server.rest("GET", on, path="mine", presign="true")
    assert status == 200 and target["presigned_url_expiry"] > 0, target
    put = requests.put(target["presigned_url"], data=b"by myself", headers=place.headers, timeout=10)
    assert put.status_code in (200, 201), put.text
    staging = {"staging": target, "checksum": hashlib.md5(b"by myself").hexdigest(), "size_bytes": 9}
    status, linked = server.rest("PUT", on, staging, path="mine")
    assert status == 200, linked
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="mine")[1] == b"by myself"


def test_presigned_parts(server, place, repo, objects):
    if place.kind == "azure":
        assert server.rest("POST", f"/repositories/{repo}/branches/main/staging/pmpu", path="large", parts=2)[0] == 501
        return
    on = f"/repositories/{repo}/branches/main/staging/pmpu"
    status, begun = server.rest("POST", on, path="large", parts=2)
    assert status == 201, begun
    bodies = [os.urandom(5 << 20), b"last"]
    tags = [requests.put(url, data=body, timeout=30).headers["ETag"] for url, body in zip(begun["presigned_urls"], bodies)]
    end = {"physical_address": begun["physical_address"], "parts": [{"part_number": n, "etag": tag} for n, tag in enumerate(tags, 1)]}
    status, done = server.rest("PUT", f"{on}/{begun['upload_id']}", end, path="large")
    assert status == 200 and done["size_bytes"] == (5 << 20) + 4, done
    assert objects.get_object(Bucket=repo, Key="main/large")["Body"].read() == b"".join(bodies)
    _, begun = server.rest("POST", on, path="x", parts=1)
    assert requests.put(begun["presigned_urls"][0], data=b"part", timeout=10).status_code == 200
    assert server.rest("DELETE", f"{on}/{begun['upload_id']}", {"physical_address": begun["physical_address"]}, path="x")[0] == 204
    assert [key for key in place.uploads() if key.startswith(f"{repo}/")] == []


@pytest.fixture(scope="module")
def source(place):
    """1,250 objects outside every namespace: more than one page of any store."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: place.put(f"elsewhere/in/{n:04}", b"%d" % n), range(1250)))
    place.put("elsewhere/in/odd name+ü%", b"odd")
    place.put("elsewhere/index", b"not below")
    place.put("elsewhere/single", b"single")
    return f"{place.root}/elsewhere"


def test_import_copies_nothing(server, place, repo, source):
    paths = [
        {"type": "common_prefix", "path": f"{source}/in/", "destination": "got/"},
        {"type": "object", "path": f"{source}/single", "destination": "one"},
    ]
    before = len(place.keys(f"{repo}/data/"))
    status, begun = server.rest("POST", f"/repositories/{repo}/branches/main/import", {"paths": paths, "commit": {"message": "import"}})
    assert status == 202, begun
    done = until(server, f"/repositories/{repo}/branches/main/import", id=begun["id"])
    assert done["completed"] and not done.get("error") and done["ingested_objects"] == 1252, done
    found, after = [], ""
    while after is not None:
        _, page = server.rest("GET", f"/repositories/{repo}/refs/main/objects/ls", prefix="got/", after=after, amount=1000)
        found += page["results"]
        after = page["pagination"]["next_offset"] if page["pagination"]["has_more"] else None
    assert [stat["path"] for stat in found] == sorted([f"got/{n:04}" for n in range(1250)] + ["got/odd name+ü%"], key=str.encode)
    assert found[7]["physical_address"] == f"{source}/in/0007" and found[7]["checksum"] == hashlib.md5(b"7").hexdigest()
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="got/1249")[1] == b"1249"
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="got/odd name+ü%")[1] == b"odd"
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="one")[1] == b"single"
    assert len(place.keys(f"{repo}/data/")) == before
    stat = server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="got/0007", presign="true")[1]
    assert requests.get(stat["physical_address"], timeout=10).content == b"7"


def test_what_is_imported_is_looked_at(server, place, repo, source):
    def task(paths, **more):
        status, begun = server.rest("POST", f"/repositories/{repo}/branches/main/import", {"paths": paths, "commit": {"message": "m"}} | more)
        return until(server, f"/repositories/{repo}/branches/main/import", id=begun["id"]) if status == 202 else begun

    failed = task([{"type": "object", "path": f"{source}/none", "destination": "x"}])
    assert "none" in str(failed), failed
    failed = task([{"type": "common_prefix", "path": f"{place.root}/{repo}/data/", "destination": "x/"}])
    assert "namespace" in str(failed), failed
    failed = task([{"type": "common_prefix", "path": "local://elsewhere/", "destination": "x/"}])
    assert "other store" in str(failed) or "another store" in str(failed), failed
    missing = place.root.replace(places.BUCKET, "no-such-bucket-here")
    failed = task([{"type": "common_prefix", "path": f"{missing}/x/", "destination": "x/"}])
    assert "no-such-bucket-here" in str(failed) and not failed.get("ingested_objects"), failed


@contextlib.contextmanager
def refused(server_directory, blockstore):
    server = Server(server_directory, blockstore=blockstore)
    server.launch()
    code = server.process.wait(timeout=30)
    server.process = None
    assert code == 1
    yield server.tail()


@pytest.mark.parametrize("blockstore, says", [
    ({"type": "ftp"}, "local, s3, gs, azure, mem"),
    ({"type": "s3", "s3": {"skip_verify_certificate_test_only": True}}, "certificate authority"),
    ({"type": "s3", "s3": {"credentials": {"access_key_id": "a"}}}, "blockstore.s3.credentials.secret_access_key"),
    ({"type": "s3", "s3": {"endpoint": "localhost:9000"}}, "http:// or https://"),
    ({"type": "gs", "gs": {"credentials_file": "/nowhere/key.json"}}, "/nowhere/key.json"),
    ({"type": "gs", "gs": {"credentials_json": "{\"type\": \"service_account\"}"}}, "service_account"),
    ({"type": "azure", "azure": {"storage_access_key": "c2VjcmV0"}}, "blockstore.azure.storage_account"),
    ({"type": "azure", "azure": {"storage_account": "lake", "storage_access_key": "not base64!"}}, "base64"),
])
def test_a_store_that_cannot_be_configured_so_is_refused_at_the_start(tmp_path, blockstore, says):
    with refused(tmp_path, blockstore) as log:
        assert says in log, log
