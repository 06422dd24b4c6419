"""Objects of a bucket: reading, ranges, conditions, metadata, tags, overwriting."""
import datetime
import hashlib
import threading

import pytest

from plain_buckets import fill, refused

ETAG = '"37b51d194a7513e45b56f6524f2d51f2"'  # of "bar"
OLD, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Sat, 29 Oct 2094 19:43:31 GMT"


@pytest.fixture
def bar(client, bucket):
    client.put_object(Bucket=bucket, Key="foo", Body=b"bar")
    return {"Bucket": bucket, "Key": "foo"}


@pytest.mark.parametrize(
    "asked, status",
    [
        ({"IfMatch": ETAG}, 200),
        ({"IfMatch": '"ABCORZ"'}, 412),
        ({"IfNoneMatch": ETAG}, 304),
        ({"IfNoneMatch": "ABCORZ"}, 200),
        ({"IfModifiedSince": OLD}, 200),
        ({"IfUnmodifiedSince": OLD}, 412),
        ({"IfUnmodifiedSince": FUTURE}, 200),
        ({"IfMatch": ETAG, "IfUnmodifiedSince": OLD}, 200),
        ({"IfNoneMatch": ETAG, "IfModifiedSince": OLD}, 304),
    ],
)
def test_conditions_of_reads(client, bar, asked, status):
    for call in (client.get_object, client.head_object):
        if status == 200:
            assert call(**bar, **asked)["ETag"] == ETAG
        else:
            assert refused(call, **bar, **asked)[0] == status
    assert refused(client.get_object, Bucket=bar["Bucket"], Key="none", **asked) == (404, "NoSuchKey")


def test_not_modified_since_its_own_time(client, bar):
    modified = client.head_object(**bar)["LastModified"]
    later = modified + datetime.timedelta(seconds=1)
    assert refused(client.get_object, **bar, IfModifiedSince=modified)[0] == 304
    # A time that is not yet is no time.
    assert client.get_object(**bar, IfModifiedSince=later + datetime.timedelta(days=1))["Body"].read() == b"bar"


@pytest.mark.parametrize(
    "asked, status, shown, content",
    [
        ("bytes=4-7", 206, "bytes 4-7/11", b"cont"),
        ("bytes=4-", 206, "bytes 4-10/11", b"content"),
        ("bytes=-7", 206, "bytes 4-10/11", b"content"),
        ("bytes=-100", 206, "bytes 0-10/11", b"testcontent"),
        ("bytes=0-100", 206, "bytes 0-10/11", b"testcontent"),
        ("bytes=0-0", 206, "bytes 0-0/11", b"t"),
        ("bytes=40-50", 416, "bytes */11", None),
        ("bytes=11-", 416, "bytes */11", None),
        ("bytes=-0", 416, "bytes */11", None),
        ("bytes=5-2", 200, None, b"testcontent"),
        ("bytes=0-1,3-4", 200, None, b"testcontent"),
        ("lines=0-1", 200, None, b"testcontent"),
        ("bytes=x-y", 200, None, b"testcontent"),
    ],
)
def test_ranges(client, raw, bucket, asked, status, shown, content):
    client.put_object(Bucket=bucket, Key="o", Body=b"testcontent")
    got, body, headers = raw.s3("GET", f"{bucket}/o", headers={"Range": asked})
    assert (got, headers["Content-Range"]) == (status, shown)
    assert headers["Accept-Ranges"] == "bytes" or status == 416
    if content is None:
        assert b"<Code>InvalidRange</Code>" in body and b"<ActualObjectSize>11<" in body
    else:
        assert body == content and headers["Content-Length"] == str(len(content))
    got, body, headers = raw.s3("HEAD", f"{bucket}/o", headers={"Range": asked})
    assert (got, headers["Content-Range"], body) == (status, shown, b"")


def test_an_empty_object_has_no_range(client, raw, bucket):
    client.put_object(Bucket=bucket, Key="o", Body=b"")
    for asked in ("bytes=40-50", "bytes=0-0", "bytes=0-", "bytes=-1"):
        assert raw.s3("GET", f"{bucket}/o", headers={"Range": asked})[0] == 416
    assert raw.s3("GET", f"{bucket}/o")[1] == b""


def test_metadata_comes_back(client, bucket):
    def put(**metadata):
        client.put_object(Bucket=bucket, Key="m", Body=b"bar", Metadata=metadata)
        return client.get_object(Bucket=bucket, Key="m")["Metadata"]

    assert put(meta1="mymeta") == {"meta1": "mymeta"}
    assert put(Meta1="x", meta2="y") == {"meta1": "x", "meta2": "y"}
    assert put(meta1="") == {"meta1": ""}
    assert put() == {}, "an overwritten object keeps nothing"
    assert put(meta1="  spaces  ") == {"meta1": "spaces"}


def test_headers_kept_with_an_object(client, bucket):
    kept = {
        "CacheControl": "public, max-age=14400",
        "ContentDisposition": 'attachment; filename="a.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-DE",
        "ContentType": "audio/ogg",
        "WebsiteRedirectLocation": "/elsewhere",
        "StorageClass": "REDUCED_REDUNDANCY",
    }
    client.put_object(Bucket=bucket, Key="h", Body=b"x", Expires=datetime.datetime(2030, 1, 2, 3, 4, 5), **kept)
    head = client.head_object(Bucket=bucket, Key="h")
    assert {name: head[name] for name in kept} == kept
    assert head["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    answer = client.get_object(
        Bucket=bucket, Key="h", ResponseCacheControl="no-cache", ResponseContentDisposition="bla",
        ResponseContentEncoding="aaa", ResponseContentLanguage="esperanto", ResponseContentType="foo/bar",
        ResponseExpires="123",
    )
    assert (answer["CacheControl"], answer["ContentDisposition"], answer["ContentEncoding"]) == ("no-cache", "bla", "aaa")
    assert (answer["ContentLanguage"], answer["ContentType"]) == ("esperanto", "foo/bar")
    assert answer["ExpiresString"] == "Thu, 01 Jan 1970 00:02:03 GMT"
    listed = client.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert listed["StorageClass"] == "REDUCED_REDUNDANCY"


@pytest.mark.parametrize(
    "given, kept",
    [("gzip, aws-chunked", "gzip"), ("aws-chunked, gzip", "gzip"), ("aws-chunked", None), ("aws-chunked,aws-chunked", None), ("deflate, gzip", "deflate, gzip")],
)
def test_what_only_the_transfer_is_is_not_kept(client, raw, bucket, given, kept):
    assert raw.s3("PUT", f"{bucket}/e", b"x", headers={"Content-Encoding": given})[0] == 200
    assert client.head_object(Bucket=bucket, Key="e").get("ContentEncoding") == kept


def test_a_body_without_a_length_is_taken(raw, bucket):
    signed = raw.signer.headers("PUT", raw.host, f"/{bucket}/c", payload="UNSIGNED-PAYLOAD")
    assert raw.send("PUT", f"/{bucket}/c", (piece for piece in (b"a" * 1000, b"b")), signed)[0] == 200
    assert raw.s3("GET", f"{bucket}/c")[1] == b"a" * 1000 + b"b"


def test_limits_of_keys_metadata_and_headers(client, raw, bucket):
    client.put_object(Bucket=bucket, Key="k" * 1024, Body=b"")
    assert refused(client.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == (400, "KeyTooLongError")
    client.put_object(Bucket=bucket, Key="m", Body=b"", Metadata={"a": "x" * 2047})
    assert refused(client.put_object, Bucket=bucket, Key="m", Body=b"", Metadata={"a": "x" * 2048}) == (400, "MetadataTooLarge")
    status, content, _ = raw.s3("PUT", f"{bucket}/x", b"", headers={"x-amz-storage-class": "NONSENSE"})
    assert status == 400 and b"InvalidStorageClass" in content
    many = {"Objects": [{"Key": f"{n}"} for n in range(1001)]}
    assert refused(client.delete_objects, Bucket=bucket, Delete=many) == (400, "MalformedXML")


@pytest.mark.parametrize(
    "headers, status, code",
    [
        ({"x-amz-server-side-encryption": "AES256"}, 200, None),
        ({"x-amz-server-side-encryption": "aws:kms"}, 200, None),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, 200, None),
        ({"x-amz-server-side-encryption": "ROT13"}, 400, "InvalidArgument"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, 501, "NotImplemented"),
        ({"x-amz-server-side-encryption-customer-key": "x"}, 501, "NotImplemented"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, 400, "InvalidRequest"),
        ({"x-amz-object-lock-legal-hold": "ON"}, 400, "InvalidRequest"),
        ({"x-amz-write-offset-bytes": "0"}, 501, "NotImplemented"),
        ({"x-amz-acl": "private"}, 200, None),
        ({"x-amz-acl": "everyone"}, 400, "InvalidArgument"),
        ({"x-amz-tagging": "a=1&a=2"}, 400, "InvalidArgument"),
        ({"Content-MD5": ""}, 400, "InvalidDigest"),
        ({"Content-MD5": "YWJyYWNhZGFicmE="}, 400, "InvalidDigest"),
        ({"Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A=="}, 400, "BadDigest"),
    ],
)
def test_what_a_put_may_ask(raw, bucket, headers, status, code):
    got, content, _ = raw.s3("PUT", f"{bucket}/o", b"x", headers=headers)
    assert (got, f"<Code>{code}</Code>".encode() in content) == (status, code is not None), content
    assert raw.s3("HEAD", f"{bucket}/o")[0] == (200 if status == 200 else 404)
    if "customer" in next(iter(headers)):
        raw.s3("PUT", f"{bucket}/o", b"x")
        for method in ("GET", "HEAD"):
            assert raw.s3(method, f"{bucket}/o", headers=headers)[0] == 501, "its key would not be used"


@pytest.mark.parametrize(
    "conditions, there, absent",
    [
        ({"IfNoneMatch": "*"}, 412, 200),
        ({"IfNoneMatch": ETAG}, 412, 200),
        ({"IfNoneMatch": '"other"'}, 200, 200),
        ({"IfMatch": ETAG}, 200, 404),
        ({"IfMatch": '"other"'}, 412, 404),
        ({"IfMatch": "*"}, 200, 404),
    ],
)
def test_conditions_of_puts(client, bar, conditions, there, absent):
    def answered(call, **asked):
        try:
            return call(**asked)["ResponseMetadata"]["HTTPStatusCode"]
        except client.exceptions.ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    bucket = bar["Bucket"]
    assert answered(client.put_object, **bar, Body=b"bar", **conditions) == there
    assert answered(client.put_object, Bucket=bucket, Key="none", Body=b"bar", **conditions) == absent
    client.delete_object(Bucket=bucket, Key="none")
    for key, expected in (("foo", there), ("none", absent)):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        part = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"bar")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        got = answered(client.complete_multipart_upload, Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts, **conditions)
        assert got == expected


def test_conditions_of_deletes(client, bar):
    assert refused(client.delete_object, **bar, IfMatch='"x"') == (412, "PreconditionFailed")
    bucket = bar["Bucket"]
    answer = client.delete_objects(
        Bucket=bucket,
        Delete={"Objects": [{"Key": "foo", "ETag": '"x"'}, {"Key": "none", "ETag": '"x"'}, {"Key": "foo", "Size": 4}]},
    )
    assert [error["Code"] for error in answer["Errors"]] == ["PreconditionFailed"] * 2
    assert [deleted["Key"] for deleted in answer["Deleted"]] == ["none"]
    client.delete_object(Bucket=bucket, Key="none", IfMatch='"x"')
    client.delete_object(**bar, IfMatch=ETAG)
    assert refused(client.head_object, **bar)[0] == 404
    client.delete_object(**bar)


def test_many_are_deleted_quietly_or_not(client, bucket):
    fill(client, bucket, "a", "b", "c")
    asked = {"Objects": [{"Key": k} for k in ("a", "b", "c", "none")]}
    assert [d["Key"] for d in client.delete_objects(Bucket=bucket, Delete=asked)["Deleted"]] == ["a", "b", "c", "none"]
    fill(client, bucket, "a")
    quiet = client.delete_objects(Bucket=bucket, Delete=asked | {"Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet


def test_tags(client, bucket):
    client.put_object(Bucket=bucket, Key="t", Body=b"x", Tagging="foo=bar&bar")
    tags = client.get_object_tagging(Bucket=bucket, Key="t")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("bar", ""), ("foo", "bar")]
    assert client.head_object(Bucket=bucket, Key="t")["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"] == "2"

    def put(tags):
        return client.put_object_tagging(Bucket=bucket, Key="t", Tagging={"TagSet": tags})

    ten = [{"Key": f"k{n}", "Value": "v" * 256} for n in range(10)]
    put(ten)
    assert client.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == ten
    for bad in (
        ten + [{"Key": "k10", "Value": ""}],
        [{"Key": "k" * 129, "Value": ""}],
        [{"Key": "k", "Value": "v" * 257}],
        [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}],
    ):
        assert refused(put, bad) == (400, "InvalidTag")
    assert client.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == ten, "what is refused changes nothing"
    put([{"Key": "k" * 128, "Value": "v" * 256}])
    client.delete_object_tagging(Bucket=bucket, Key="t")
    assert client.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == []
    assert refused(client.get_object_tagging, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert refused(client.put_object, Bucket=bucket, Key="t", Body=b"", Tagging="&".join(f"k{n}=v" for n in range(11))) == (400, "InvalidTag")


def test_a_reader_sees_one_object_whatever_is_written_meanwhile(client, bucket):
    """Atomic reads and writes: while an object is overwritten, reads see all of the old or all of the new."""
    size, stop, wrong = 1 << 20, threading.Event(), []
    contents = [bytes([letter]) * size for letter in b"AB"]
    digests = {hashlib.md5(content).hexdigest() for content in contents}
    client.put_object(Bucket=bucket, Key="o", Body=contents[0])

    def read():
        while not stop.is_set():
            answer = client.get_object(Bucket=bucket, Key="o")
            digest = hashlib.md5(answer["Body"].read()).hexdigest()
            if digest not in digests or answer["ETag"] != f'"{digest}"':
                wrong.append(digest)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(12):
        client.put_object(Bucket=bucket, Key="o", Body=contents[turn % 2])
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_sub_resources_of_a_bucket_without_them(client, bucket):
    for call, code in (
        (client.get_bucket_policy, "NoSuchBucketPolicy"),
        (client.get_bucket_cors, "NoSuchCORSConfiguration"),
        (client.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (client.get_bucket_tagging, "NoSuchTagSet"),
        (client.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
        (client.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (client.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
        (client.get_public_access_block, "NoSuchPublicAccessBlockConfiguration"),
    ):
        assert refused(call, Bucket=bucket) == (404, code)
    assert "Status" not in client.get_bucket_versioning(Bucket=bucket)
    assert client.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
