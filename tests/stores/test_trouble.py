"""Stores in trouble: nothing acknowledged is lost, nothing half is seen, nobody hangs, and clients are told what is wrong."""
import copy
import os
import time
import uuid

import boto3
import botocore.config
import botocore.exceptions
import pytest

import faults as fault_proxy
import places
from lakebed_server import KEY as OUR_KEY, SECRET as OUR_SECRET, Server

LIMIT = 1


@pytest.fixture(scope="module", params=places.ALL)
def place(request):
    with places.ALL[request.param]() as place:
        yield place


@pytest.fixture(scope="module")
def lake(place, tmp_path_factory):
    endpoint, faults = fault_proxy.before(place.endpoint)
    blockstore = copy.deepcopy(place.blockstore) | {"timeout": f"{LIMIT}s"}
    blockstore[place.kind] |= {"endpoint": endpoint, "max_retries": 2}
    with Server(tmp_path_factory.mktemp("lake"), blockstore=blockstore) as server:
        yield server, faults
        faults.over.set()
        faults.never()


@pytest.fixture
def repo(lake, place):
    server, faults = lake
    faults.never()
    name = "repo-" + uuid.uuid4().hex[:12]
    status, made = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"{place.root}/{name}"})
    assert status == 201, made
    yield name
    faults.never()


@pytest.fixture
def objects(lake):
    once = botocore.config.Config(retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=lake[0].endpoint, region_name="us-east-1", aws_access_key_id=OUR_KEY, aws_secret_access_key=OUR_SECRET, config=once)


def put(server, repo, path, content):
    return server.rest("POST", f"/repositories/{repo}/branches/main/objects", content, path=path)


def get(server, repo, path):
    return server.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path)


def is_write(method, path):
    return method in ("PUT", "POST") and "/token" not in path


@pytest.mark.parametrize("fault", ["slow down", "lost answer", "reset while sending"])
def test_what_passes_is_tried_again(lake, repo, fault):
    server, faults = lake
    faults.first(2, fault, is_write)
    status, said = put(server, repo, "a", b"x" * 100_000)
    assert status == 201 and len(faults.happened) == 2, (said, faults.happened)
    faults.never()
    assert get(server, repo, "a") == (200, b"x" * 100_000)


@pytest.mark.parametrize("fault", ["slow down", "lost answer", "reset while sending", "silence"])
@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_what_does_not_pass_is_told_and_shows_nothing(lake, repo, objects, fault, size):
    server, faults = lake
    assert put(server, repo, "kept", b"kept")[0] == 201
    faults.first(1000, fault, is_write)
    began = time.monotonic()
    status, said = put(server, repo, "a", b"y" * size)
    assert status == 503 and "object store" in said["message"], said
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        objects.put_object(Bucket=repo, Key="main/b", Body=b"z" * size)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert "object store" in refused.value.response["Error"]["Message"], refused.value
    assert time.monotonic() - began < 2 * (3 * (LIMIT + 5) + 10)
    faults.never()
    for path in ["a", "b"]:
        assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path=path)[0] == 404
    assert get(server, repo, "kept") == (200, b"kept")


def test_a_read_that_breaks_off_goes_on(lake, repo, objects):
    server, faults = lake
    content = os.urandom(5_000_000)
    assert put(server, repo, "a", content)[0] == 201
    faults.first(2, "reset while reading", lambda method, path: method == "GET" and "/data/" in path.replace("%2F", "/"))
    assert objects.get_object(Bucket=repo, Key="main/a")["Body"].read() == content
    assert len(faults.happened) == 2


def test_refused_credentials_say_what_to_do(lake, place, repo, objects):
    server, faults = lake
    faults.first(1000, "refused", is_write)
    status, said = put(server, repo, "a", b"x")
    assert status == 500, said
    helps = {"s3": "policy", "gs": "Storage Object User", "azure": "Storage Blob Data Contributor"}[place.kind]
    assert helps in said["message"], said
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        objects.put_object(Bucket=repo, Key="main/b", Body=b"z")
    assert helps in refused.value.response["Error"]["Message"], refused.value


def is_marker(method, path):
    return is_write(method, path) and "_lakebed/repository" in path.replace("%2F", "/")


def test_a_conditional_write_whose_answer_is_lost_is_known_as_our_own(lake, place):
    """Repeated, the store says that there is something: it is what was written before."""
    server, faults = lake
    name = "repo-" + uuid.uuid4().hex[:12]
    faults.first(1, "lost answer", is_marker)
    status, made = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"{place.root}/{name}"})
    assert status == 201 and len(faults.happened) == 1, (made, faults.happened)
    faults.never()
    assert put(server, name, "a", b"a")[0] == 201 and get(server, name, "a") == (200, b"a")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_conditional_write_finds_what_others_wrote(lake, place, lost):
    server, faults = lake
    name = "repo-" + uuid.uuid4().hex[:12]
    place.put(f"{name}/_lakebed/repository", b"another's")
    faults.first(lost, "lost answer", is_marker)
    status, said = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"{place.root}/{name}"})
    assert status == 400 and "in use" in said["message"] and len(faults.happened) == lost, (said, faults.happened)
    faults.never()


def test_a_completion_whose_answer_is_lost_happened_once(lake, place, repo, objects):
    server, faults = lake
    upload = objects.create_multipart_upload(Bucket=repo, Key="main/parts")["UploadId"]
    bodies = [os.urandom(5 << 20), b"the end"]
    tags = [objects.upload_part(Bucket=repo, Key="main/parts", UploadId=upload, PartNumber=n, Body=body)["ETag"] for n, body in enumerate(bodies, 1)]

    def completes(method, path):
        return "comp=blocklist" in path and method == "PUT" if place.kind == "azure" else method == "POST" and "uploadId=" in path

    faults.first(1, "lost answer", completes)
    parts = {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}
    objects.complete_multipart_upload(Bucket=repo, Key="main/parts", UploadId=upload, MultipartUpload=parts)
    assert len(faults.happened) == 1
    assert objects.get_object(Bucket=repo, Key="main/parts")["Body"].read() == b"".join(bodies)
    if place.uploads:
        assert [key for key in place.uploads() if key.startswith(f"{repo}/")] == []
