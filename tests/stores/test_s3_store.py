"""A server whose data lies in an S3 service: both doors over it, and clients that write to the service themselves."""
import os
import uuid

import lakefs
import pytest
import requests
from lakefs.client import Client

from emulators import KEY, SECRET, moto, s3_client
from lakebed_server import KEY as OUR_KEY, SECRET as OUR_SECRET, Server

BUCKET = "the-lake"


@pytest.fixture(scope="module")
def store():
    with moto(BUCKET) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    s3 = {"endpoint": store, "force_path_style": True, "region": "us-east-1", "credentials": {"access_key_id": KEY, "secret_access_key": SECRET}}
    with Server(tmp_path_factory.mktemp("lake"), blockstore={"type": "s3", "s3": s3}) as running:
        yield running


@pytest.fixture
def repo(server):
    name = "repo-" + uuid.uuid4().hex[:12]
    status, made = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"s3://{BUCKET}/{name}"})
    assert status == 201, made
    return name


def test_the_configuration_tells_clients_what_the_store_can(server):
    status, config = server.rest("GET", "/config")
    storage = config["storage_config"]
    assert status == 200 and storage["blockstore_type"] == "s3"
    assert storage["pre_sign_support"] and storage["pre_sign_multipart_upload"] and storage["import_support"]
    assert not storage["pre_sign_support_ui"], "off unless asked for"


def test_namespaces_of_other_stores_are_refused(server):
    status, said = server.rest("POST", "/repositories", {"name": "elsewhere", "storage_namespace": "local://elsewhere"})
    assert status == 400 and "s3" in said["message"], said
    status, said = server.rest("POST", "/repositories", {"name": "elsewhere", "storage_namespace": "s3://no-such-bucket-here/x"})
    assert status == 400 and "bucket" in said["message"], said


@pytest.mark.parametrize("size", [0, 1000, 1 << 20, 9_000_001, 20_000_000])
def test_what_is_written_through_one_door_is_read_through_both(server, repo, objects, size):
    content = os.urandom(size)
    status, written = server.rest("POST", f"/repositories/{repo}/branches/main/objects", content, path="by/rest")
    assert status == 201 and written["size_bytes"] == size, written
    assert written["physical_address"].startswith(f"s3://{BUCKET}/{repo}/data/")
    objects.put_object(Bucket=repo, Key="main/by/s3", Body=content)
    for path in ["by/rest", "by/s3"]:
        assert objects.get_object(Bucket=repo, Key=f"main/{path}")["Body"].read() == content
        assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path)[1] == content
    if size > 1000:
        part = objects.get_object(Bucket=repo, Key="main/by/rest", Range="bytes=777-999")
        assert part["Body"].read() == content[777:1000]


def test_a_form_of_unknown_length_goes_in_parts(server, repo):
    content = os.urandom(18_000_000)
    answer = requests.post(
        f"{server.endpoint}/api/v1/repositories/{repo}/branches/main/objects", params={"path": "form"},
        files={"content": ("name", content, "application/x-thing")}, auth=(OUR_KEY, OUR_SECRET), timeout=60,
    )
    assert answer.status_code == 201, answer.text
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="form")[1] == content


def test_parts_through_the_gateway(server, repo, objects):
    upload = objects.create_multipart_upload(Bucket=repo, Key="main/parts")["UploadId"]
    bodies = [os.urandom(5 << 20), os.urandom(5 << 20), b"the end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        tag = objects.upload_part(Bucket=repo, Key="main/parts", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    objects.put_object(Bucket=repo, Key="main/source", Body=bodies[0])
    copied = objects.upload_part_copy(Bucket=repo, Key="main/parts", UploadId=upload, PartNumber=2, CopySource=f"{repo}/main/source")
    parts[1]["ETag"] = copied["CopyPartResult"]["ETag"]
    objects.complete_multipart_upload(Bucket=repo, Key="main/parts", UploadId=upload, MultipartUpload={"Parts": parts})
    assert objects.get_object(Bucket=repo, Key="main/parts")["Body"].read() == bodies[0] + bodies[0] + bodies[2]


def test_a_day_of_branches(server, repo, objects):
    client = Client(host=server.endpoint, username=OUR_KEY, password=OUR_SECRET)
    on = lakefs.Repository(repo, client=client)
    main = on.branch("main")
    main.object("a").upload(b"one")
    main.commit("first")
    dev = on.branch("dev").create("main")
    dev.object("a").upload(b"two")
    dev.commit("second")
    objects.copy_object(Bucket=repo, Key="dev/b", CopySource=f"{repo}/dev/a")
    objects.delete_object(Bucket=repo, Key="dev/a")
    dev.commit("third")
    dev.merge_into(main)
    assert [o["Key"] for o in objects.list_objects_v2(Bucket=repo, Prefix="main/")["Contents"]] == ["main/b"]
    assert main.object("b").reader().read() in (b"two", "two")
    before = objects.get_object(Bucket=repo, Key="main~1/a")["Body"].read()
    assert before == b"one"


def test_presigned_reads(server, store, repo):
    server.rest("POST", f"/repositories/{repo}/branches/main/objects", b"content", path="dir/a b.txt")
    at = f"/repositories/{repo}/refs/main/objects"
    status, stat = server.rest("GET", f"{at}/stat", path="dir/a b.txt", presign="true")
    assert status == 200 and stat["physical_address"].startswith(store), stat
    assert stat["physical_address_expiry"] > stat["mtime"]
    got = requests.get(stat["physical_address"], timeout=10)
    assert got.content == b"content" and "a b.txt" in got.headers["Content-Disposition"]
    page = server.rest("GET", f"{at}/ls", presign="true")[1]
    assert requests.get(page["results"][0]["physical_address"], timeout=10).content == b"content"
    redirect = requests.get(f"{server.endpoint}/api/v1{at}", params={"path": "dir/a b.txt", "presign": "true"}, auth=(OUR_KEY, OUR_SECRET), allow_redirects=False, timeout=10)
    assert redirect.status_code == 302 and redirect.content == b""
    assert requests.get(redirect.headers["Location"], timeout=10).content == b"content"
    assert server.rest("GET", at, path="none", presign="true")[0] == 404


def test_a_client_writes_to_the_store_itself(server, repo):
    on = f"/repositories/{repo}/branches/main/staging/backing"
    status, place = server.rest("GET", on, path="mine", presign="true")
    assert status == 200 and place["presigned_url_expiry"] > 0, place
    put = requests.put(place["presigned_url"], data=b"by myself", timeout=10)
    assert put.status_code == 200, put.text
    staging = {"staging": place, "checksum": put.headers["ETag"], "size_bytes": 9}
    status, linked = server.rest("PUT", on, staging, path="mine")
    assert status == 200, linked
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="mine")[1] == b"by myself"


def test_the_high_level_client_presigns_by_itself(server, repo):
    client = Client(host=server.endpoint, username=OUR_KEY, password=OUR_SECRET)
    thing = lakefs.Repository(repo, client=client).branch("main").object("thing")
    thing.upload(b"presigned", pre_sign=True, content_type="text/x-thing", metadata={"k": "v"})
    stat = thing.stat(pre_sign=False)
    assert (stat.size_bytes, stat.content_type, stat.metadata) == (9, "text/x-thing", {"k": "v"})
    assert thing.reader(mode="rb", pre_sign=True).read() == b"presigned"


def test_presigned_parts(server, repo, objects):
    on = f"/repositories/{repo}/branches/main/staging/pmpu"
    status, begun = server.rest("POST", on, path="large", parts=2)
    assert status == 201 and len(begun["presigned_urls"]) == 2, begun
    bodies = [os.urandom(5 << 20), os.urandom(5 << 20), b"last"]
    tags = [requests.put(url, data=body, timeout=30).headers["ETag"] for url, body in zip(begun["presigned_urls"], bodies)]
    address = begun["physical_address"]
    one = f"{on}/{begun['upload_id']}"
    status, more = server.rest("PUT", f"{one}/parts/3", {"physical_address": address}, path="large")
    assert status == 200, more
    tags.append(requests.put(more["presigned_url"], data=bodies[2], timeout=30).headers["ETag"])
    # The second part is replaced by a copy of another object's bytes.
    objects.put_object(Bucket=repo, Key="main/source", Body=b"x" * (6 << 20))
    copy = requests.put(
        f"{server.endpoint}/api/v1{one}/parts/2/copy", params={"path": "large"}, auth=(OUR_KEY, OUR_SECRET), timeout=30,
        json={"physical_address": address, "copy_source": {"repository": repo, "ref": "main", "path": "source", "range": f"bytes=0-{(5 << 20) - 1}"}},
    )
    assert copy.status_code == 204, copy.text
    tags[1] = copy.headers["ETag"]
    parts = [{"part_number": number, "etag": tag} for number, tag in enumerate(tags, 1)]
    end = {"physical_address": address, "parts": parts, "user_metadata": {"k": "v"}, "content_type": "text/x-large"}
    status, said = server.rest("PUT", one, end | {"physical_address": address[:-1] + ("A" if address[-1] != "A" else "B")}, path="large")
    assert status == 400, said
    status, done = server.rest("PUT", one, end, path="large")
    assert status == 200 and done["size_bytes"] == (10 << 20) + 4, done
    assert done["content_type"] == "text/x-large" and done["metadata"] == {"k": "v"}
    got = objects.get_object(Bucket=repo, Key="main/large")["Body"].read()
    assert got == bodies[0] + b"x" * (5 << 20) + bodies[2]


@pytest.mark.parametrize("parts", [-1, 10_001])
def test_a_senseless_number_of_parts(server, repo, parts):
    status, said = server.rest("POST", f"/repositories/{repo}/branches/main/staging/pmpu", path="x", parts=parts)
    assert status == 400 and "10000" in said["message"], said


def test_an_aborted_upload_leaves_nothing(server, store, repo):
    on = f"/repositories/{repo}/branches/main/staging/pmpu"
    _, begun = server.rest("POST", on, path="x", parts=1)
    requests.put(begun["presigned_urls"][0], data=b"part", timeout=10)
    status, said = server.rest("DELETE", f"{on}/{begun['upload_id']}", {"physical_address": begun["physical_address"]}, path="x")
    assert status == 204, said
    assert "Uploads" not in s3_client(store).list_multipart_uploads(Bucket=BUCKET)
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="x")[0] == 404


def test_a_broken_upload_shows_nothing(server, repo, objects):
    for size in [1000, 3_000_000]:
        with pytest.raises(Exception, match="BadDigest"):
            objects.put_object(Bucket=repo, Key="main/x", Body=os.urandom(size), ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="x")[0] == 404


def test_a_store_that_is_down_is_said_so_and_nothing_is_lost(tmp_path):
    with moto(BUCKET) as endpoint:
        s3 = {"endpoint": endpoint, "force_path_style": True, "max_retries": 0, "region": "us-east-1", "credentials": {"access_key_id": KEY, "secret_access_key": SECRET}}
        with Server(tmp_path / "lake", blockstore={"type": "s3", "s3": s3}) as server:
            assert server.rest("POST", "/repositories", {"name": "alone", "storage_namespace": f"s3://{BUCKET}/alone"})[0] == 201
            at = "/repositories/alone/branches/main/objects"
            assert server.rest("POST", at, b"kept", path="a")[0] == 201
        with Server(tmp_path / "lake", blockstore={"type": "s3", "s3": s3 | {"endpoint": "http://127.0.0.1:9"}}) as server:
            status, said = server.rest("POST", at, b"lost", path="b")
            assert status in (500, 503) and said["message"], said
            assert server.rest("GET", "/repositories/alone/refs/main/objects/stat", path="a")[0] == 200
            assert server.rest("GET", "/repositories/alone/refs/main/objects/stat", path="b")[0] == 404
        with Server(tmp_path / "lake", blockstore={"type": "s3", "s3": s3}) as server:
            assert server.rest("GET", "/repositories/alone/refs/main/objects", path="a")[1] == b"kept"
