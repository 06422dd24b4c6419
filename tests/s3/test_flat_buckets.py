"""Making, finding, naming and deleting buckets, and what a bucket's name can stand for."""
import uuid

import botocore.exceptions
import pytest

from plain_buckets import boto, fill, refused
from doors import Door
from lakebed_server import Server


def fresh():
    return "b-" + uuid.uuid4().hex[:12]


def test_a_bucket_comes_and_goes(client, flat):
    name = fresh()
    made = client.create_bucket(Bucket=name)
    assert made["Location"] == f"/{name}"
    assert client.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    assert name in [found["Name"] for found in client.list_buckets()["Buckets"]]
    assert refused(client.create_bucket, Bucket=name) == (409, "BucketAlreadyOwnedByYou")
    fill(client, name, "a")
    assert refused(client.delete_bucket, Bucket=name) == (409, "BucketNotEmpty")
    client.delete_object(Bucket=name, Key="a")
    assert client.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.delete_bucket, Bucket=name) == (404, "NoSuchBucket")
    assert refused(client.head_bucket, Bucket=name) == (404, "404")
    # The name is free again, and the new bucket shares nothing with the old one.
    client.create_bucket(Bucket=name)
    assert client.list_objects(Bucket=name).get("Contents") is None
    fill(client, name, "b")
    client.delete_object(Bucket=name, Key="b")
    client.delete_bucket(Bucket=name)


def test_objects_of_any_branch_keep_a_bucket(client, flat):
    name = fresh()
    client.create_bucket(Bucket=name)
    fill(client, name, "a")
    assert flat.rest("POST", f"/repositories/{name}/branches", {"name": "dev", "source": "main"})[0] == 201
    assert flat.rest("POST", f"/repositories/{name}/branches/dev/objects", b"x", path="a")[0] == 201
    client.delete_object(Bucket=name, Key="a")
    assert client.list_objects(Bucket=name).get("Contents") is None
    assert refused(client.delete_bucket, Bucket=name) == (409, "BucketNotEmpty")
    assert flat.rest("DELETE", f"/repositories/{name}/branches/dev")[0] == 204
    client.delete_bucket(Bucket=name)


@pytest.mark.parametrize("name", ["ab", "a", "a" * 64, "a" * 256, "foo_bar", "Foo", "foo.bar", "-foo", "foo-", "192.168.5.123", "xn--foo"])
def test_a_name_that_none_can_have(raw, name):
    status, content, _ = raw.s3("PUT", name)
    assert (status, b"<Code>InvalidBucketName</Code>" in content) == (400, True), content


@pytest.mark.parametrize("name", ["abc", "a" * 60, "0-start", "foo--bar"])
def test_a_name_that_one_can_have(client, name):
    client.create_bucket(Bucket=name)
    assert client.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    client.delete_bucket(Bucket=name)


def test_what_is_said_at_the_making_of_a_bucket(raw, client):
    name = fresh()
    body = b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>'
    assert raw.s3("PUT", name, b"<CreateBucketConfiguration><Location")[0] == 400
    assert raw.s3("PUT", name, headers={"x-amz-acl": "everyone"})[0] == 400
    assert raw.s3("PUT", name, headers={"x-amz-bucket-object-lock-enabled": "true"})[0] == 501
    assert refused(client.head_bucket, Bucket=name)[0] == 404, "a refused bucket is not made"
    assert raw.s3("PUT", name, body, headers={"x-amz-acl": "private"})[0] == 200
    client.delete_bucket(Bucket=name)


def test_keys_of_a_flat_bucket_are_paths(client, flat, bucket):
    client.put_object(Bucket=bucket, Key="main/a", Body=b"x", Metadata={"m": "1"})
    status, found = flat.rest("GET", f"/repositories/{bucket}/refs/main/objects/stat", path="main/a")
    assert status == 200 and found["metadata"]
    assert client.get_object(Bucket=bucket, Key="main/a")["Body"].read() == b"x"
    assert refused(client.get_object, Bucket=bucket, Key="a") == (404, "NoSuchKey")
    client.copy_object(Bucket=bucket, Key="/b//", CopySource={"Bucket": bucket, "Key": "main/a"})
    assert [entry["Key"] for entry in client.list_objects(Bucket=bucket)["Contents"]] == ["/b//", "main/a"]
    upload = client.create_multipart_upload(Bucket=bucket, Key="u/v")
    assert (upload["Bucket"], upload["Key"]) == (bucket, "u/v")
    listed = client.list_multipart_uploads(Bucket=bucket, Prefix="u/")
    assert [found["Key"] for found in listed["Uploads"]] == ["u/v"] and listed["Prefix"] == "u/"
    parts = client.list_parts(Bucket=bucket, Key="u/v", UploadId=upload["UploadId"])
    assert (parts["Bucket"], parts["Key"]) == (bucket, "u/v")
    client.abort_multipart_upload(Bucket=bucket, Key="u/v", UploadId=upload["UploadId"])
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "/b//"}, {"Key": "none"}]})
    assert [deleted["Key"] for deleted in answer["Deleted"]] == ["/b//", "none"]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket=bucket, Key="none")
    assert caught.value.response["Error"]["Key"] == "none"


def test_a_bucket_can_be_one_ref(server, repo):
    """`<ref>.<repository>`: tools that insist on whole buckets use a branch, tag or commit."""
    one = boto(server)
    branch = f"main.{repo}"
    one.put_object(Bucket=branch, Key="dir/a", Body=b"1")
    status, commit = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})
    assert status == 201
    one.put_object(Bucket=branch, Key="dir/b", Body=b"2")
    assert [e["Key"] for e in one.list_objects_v2(Bucket=branch)["Contents"]] == ["dir/a", "dir/b"]
    assert [e["Key"] for e in one.list_objects_v2(Bucket=f"{commit['id']}.{repo}")["Contents"]] == ["dir/a"]
    assert one.get_object(Bucket=repo, Key="main/dir/b")["Body"].read() == b"2"
    one.copy_object(Bucket=branch, Key="c", CopySource={"Bucket": f"{commit['id']}.{repo}", "Key": "dir/a"})
    assert one.get_object(Bucket=branch, Key="c")["Body"].read() == b"1"
    assert refused(one.put_object, Bucket=f"{commit['id']}.{repo}", Key="x", Body=b"") == (403, "AccessDenied")
    one.head_bucket(Bucket=branch)
    for missing in (f"nosuch.{repo}", "main.there-is-none"):
        assert refused(one.head_bucket, Bucket=missing) == (404, "404")
        assert refused(one.list_objects_v2, Bucket=missing) == (404, "NoSuchBucket")
    assert refused(one.create_bucket, Bucket=branch) == (409, "BucketAlreadyOwnedByYou")
    assert refused(one.delete_bucket, Bucket=branch)[0] == 405
    assert branch not in [found["Name"] for found in one.list_buckets()["Buckets"]]


def test_regions_can_be_insisted_on(tmp_path):
    extra = "gateways: {s3: {region: eu-west-1, strict_region: true}}"
    with Server(tmp_path, extra=extra) as strict:
        door = Door(strict.port)
        status, content, _ = door.s3("GET", "")
        assert status == 400 and b"AuthorizationHeaderMalformed" in content and b"<Region>eu-west-1</Region>" in content
        door.close()
