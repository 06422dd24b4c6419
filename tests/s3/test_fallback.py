"""Buckets that are no repositories, served by another S3 server behind this one (`gateways.s3.fallback_url`)."""
import os

import boto3
import botocore.client
import pytest

from doors import Door
from lakebed_server import KEY, SECRET, Server
from test_reading import code


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("behind"), extra="gateways: {s3: {flat_mode: true, region: eu-west-3}}") as running:
        door = Door(running.port)
        assert door.s3("PUT", "elsewhere")[0] == 200
        door.close()
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory, behind):
    extra = f"gateways: {{s3: {{fallback_url: '{behind.endpoint}'}}}}"
    with Server(tmp_path_factory.mktemp("front"), extra=extra) as running:
        yield running


def test_a_client_sees_both(server, behind, repo, tmp_path):
    s3 = boto3.client(
        "s3", endpoint_url=server.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1",
        config=botocore.client.Config(retries={"max_attempts": 1}),
    )
    content, source, target = os.urandom(20 << 20), tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    for bucket, prefix in ((repo, "main/"), ("elsewhere", "")):
        s3.put_object(Bucket=bucket, Key=f"{prefix}a b+c/ü", Body=b"hello world", Metadata={"m": "1"})
        assert s3.get_object(Bucket=bucket, Key=f"{prefix}a b+c/ü", Range="bytes=6-")["Body"].read() == b"world"
        assert s3.head_object(Bucket=bucket, Key=f"{prefix}a b+c/ü")["Metadata"] == {"m": "1"}
        s3.upload_file(str(source), bucket, f"{prefix}large")
        s3.download_file(bucket, f"{prefix}large", str(target))
        assert target.read_bytes() == content
        s3.copy_object(Bucket=bucket, Key=f"{prefix}copy", CopySource={"Bucket": bucket, "Key": f"{prefix}large"})
        listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
        assert listed == [f"{prefix}{name}" for name in ("a b+c/ü", "copy", "large")]
        deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"{prefix}copy"}]})
        assert len(deleted["Deleted"]) == 1
        s3.delete_object(Bucket=bucket, Key=f"{prefix}large")
    assert Door(behind.port).s3("GET", "elsewhere/a b+c/ü")[1] == b"hello world"
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [repo], "the list is of repositories"


def test_the_other_servers_answer_comes_back_as_it_is(door):
    status, _, headers = door.s3("HEAD", "elsewhere")
    assert (status, headers["x-amz-bucket-region"]) == (200, "eu-west-3")
    assert code(door.s3("GET", "elsewhere/none")) == (404, "NoSuchKey")
    assert code(door.s3("GET", "nowhere/none")) == (404, "NoSuchBucket")
    assert door.s3("PUT", "made-there")[0] == 200
    assert code(door.s3("PUT", "made-there")) == (409, "BucketAlreadyOwnedByYou")
    assert door.s3("DELETE", "made-there")[0] == 204
    assert door.s3("PUT", "elsewhere/conditional", b"x", headers={"If-None-Match": "*"})[0] == 200
    assert code(door.s3("PUT", "elsewhere/conditional", b"x", headers={"If-None-Match": "*"})) == (412, "PreconditionFailed")


def test_who_is_not_known_here_reaches_nothing(server, door):
    assert door.send("GET", "/elsewhere/a", None, {"host": "s3.local.lakefs.io"})[0] == 403
    signed = door.signer.headers("GET", door.host, "/elsewhere/a")
    forged = signed | {"authorization": signed["authorization"][:-4] + "0000"}
    assert code(door.send("GET", "/elsewhere/a", None, forged)) == (403, "SignatureDoesNotMatch")


def test_names_that_may_mean_another_bucket_are_not_handed_on(server, door):
    assert door.s3("PUT", "elsewhere/secret", b"x")[0] == 200
    for at in ("other/../elsewhere/secret", "other/x/../../elsewhere/secret", "other/..;x/elsewhere/secret"):
        assert code(door.s3("GET", at)) == (400, "InvalidURI"), at
    # The other server would take the path's beginning for the bucket.
    signed = door.signer.headers("GET", "other.s3.local.lakefs.io", "/elsewhere/secret")
    assert code(door.send("GET", "/elsewhere/secret", None, signed)) == (404, "NoSuchBucket")
    copy = {"x-amz-copy-source": "other/../elsewhere/secret"}
    assert code(door.s3("PUT", "elsewhere/copy", headers=copy)) == (400, "InvalidURI")
    assert code(door.s3("PUT", "elsewhere", b"<x/>", query={"policy": ""})) == (405, "ERRLakeFSNotSupported")


def test_servers_that_name_one_another_come_to_an_end(tmp_path):
    with Server(tmp_path / "itself") as itself:
        pass
    itself.config.write_text(itself.config.read_text() + f"\ngateways: {{s3: {{fallback_url: '{itself.endpoint}'}}}}\n")
    with itself:
        assert code(Door(itself.port).s3("GET", "nowhere/x")) == (404, "NoSuchBucket")


def test_a_server_that_does_not_answer_is_said_so(tmp_path):
    with Server(tmp_path / "gone") as gone:
        endpoint = gone.endpoint
    with Server(tmp_path / "front", extra=f"gateways: {{s3: {{fallback_url: '{endpoint}'}}}}") as front:
        status, content, headers = Door(front.port).s3("GET", "nowhere/x")
        assert (status, headers["Retry-After"]) == (503, "1") and b"<Code>SlowDown<" in content


@pytest.mark.parametrize("url", ["s3proxy:8080", "ftp://s3proxy", "http://s3proxy/path", "http://user:secret@s3proxy"])
def test_an_address_that_is_none_is_refused_at_the_start(tmp_path, url):
    server = Server(tmp_path, extra=f"gateways: {{s3: {{fallback_url: '{url}'}}}}")
    with pytest.raises(AssertionError, match="gateways.s3.fallback_url"):
        server.start()
