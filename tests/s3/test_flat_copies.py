"""Checksums of copies, copies onto themselves, and what a request on a missing bucket hears first."""
import base64
import hashlib
import uuid
import zlib

import pytest

from plain_buckets import PART, refused

A, B = b"a" * PART, b"b"


def sha256(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def crc32(content):
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def kept(client, bucket, key):
    attributes = client.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=["Checksum"])
    return attributes.get("Checksum")


def in_parts(client, bucket, key, algorithm):
    """An object of two parts with a composite checksum; its ETag."""
    made = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, ChecksumType="COMPOSITE")
    upload = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}
    field, parts = f"Checksum{algorithm}", []
    for number, body in ((1, A), (2, B)):
        sent = client.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
    return client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["ETag"]


def test_a_copy_has_the_checksum_it_is_asked_for(client, bucket):
    client.put_object(Bucket=bucket, Key="s", Body=b"hello world", ChecksumAlgorithm="CRC32")
    source = {"Bucket": bucket, "Key": "s"}
    result = client.copy_object(Bucket=bucket, Key="d", CopySource=source, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    expected = {"ChecksumSHA256": sha256(b"hello world"), "ChecksumType": "FULL_OBJECT"}
    assert {name: value for name, value in result.items() if name.startswith("Checksum")} == expected
    assert kept(client, bucket, "d") == expected
    head = client.head_object(Bucket=bucket, Key="d", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == expected["ChecksumSHA256"] and "ChecksumCRC32" not in head
    client.copy_object(Bucket=bucket, Key="e", CopySource=source)
    assert kept(client, bucket, "e") == {"ChecksumCRC32": crc32(b"hello world"), "ChecksumType": "FULL_OBJECT"}
    assert refused(client.copy_object, Bucket=bucket, Key="d", CopySource=source, ChecksumAlgorithm="CRC7") == (400, "InvalidRequest")


def test_a_copy_of_another_repository_is_read_for_its_checksum(client, bucket):
    other = "b-" + uuid.uuid4().hex[:12]
    client.create_bucket(Bucket=other)
    client.put_object(Bucket=other, Key="s", Body=b"hello world")
    source = {"Bucket": other, "Key": "s"}
    client.copy_object(Bucket=bucket, Key="d", CopySource=source, ChecksumAlgorithm="SHA256")
    assert kept(client, bucket, "d") == {"ChecksumSHA256": sha256(b"hello world"), "ChecksumType": "FULL_OBJECT"}
    client.delete_object(Bucket=other, Key="s")
    client.delete_bucket(Bucket=other)


@pytest.mark.parametrize("algorithm, whole", [("CRC32", crc32), ("SHA256", sha256)])
def test_the_checksum_of_parts_becomes_one_of_the_whole(client, bucket, algorithm, whole):
    etag = in_parts(client, bucket, "m", algorithm)
    assert kept(client, bucket, "m")["ChecksumType"] == "COMPOSITE"
    client.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "m"})
    assert kept(client, bucket, "c") == {f"Checksum{algorithm}": whole(A + B), "ChecksumType": "FULL_OBJECT"}
    # The bytes are the same ones, and so is what names them.
    assert client.head_object(Bucket=bucket, Key="c")["ETag"] == etag
    assert client.get_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")["Body"].read() == A + B


@pytest.mark.parametrize(
    "change",
    [
        {"ServerSideEncryption": "AES256"},
        {"MetadataDirective": "REPLACE"},
        {"TaggingDirective": "REPLACE"},
        {"StorageClass": "STANDARD_IA"},
        {"WebsiteRedirectLocation": "/there"},
        {"ChecksumAlgorithm": "SHA256"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_copy_onto_itself_must_change_something(client, bucket, change):
    client.put_object(Bucket=bucket, Key="s", Body=b"foo")
    copy = {"Bucket": bucket, "Key": "s", "CopySource": {"Bucket": bucket, "Key": "s"}}
    assert refused(client.copy_object, **copy) == (400, "InvalidRequest")
    assert client.copy_object(**copy, **change)["CopyObjectResult"]["ETag"]
    assert client.get_object(Bucket=bucket, Key="s")["Body"].read() == b"foo"


@pytest.mark.parametrize("location", ["there", "ftp://host/", "/" + "x" * 2048, " "])
def test_a_redirect_that_no_page_can_have(client, raw, bucket, location):
    client.put_object(Bucket=bucket, Key="s", Body=b"foo")
    redirect = {"x-amz-website-redirect-location": location}
    for method, at, query, more in (
        ("PUT", f"{bucket}/k", None, {}),
        ("POST", f"{bucket}/k", {"uploads": ""}, {}),
        ("PUT", f"{bucket}/k", None, {"x-amz-copy-source": f"/{bucket}/s"}),
    ):
        status, content, _ = raw.s3(method, at, query=query, headers=redirect | more)
        assert status == 400 and b"<Code>InvalidRedirectLocation</Code>" in content, (method, query, more)
    for good in ("/there", "http://host/", "https://host/a", "/" + "x" * 2047):
        client.put_object(Bucket=bucket, Key="k", Body=b"", WebsiteRedirectLocation=good)
        assert client.head_object(Bucket=bucket, Key="k")["WebsiteRedirectLocation"] == good


@pytest.mark.parametrize(
    "method, key, query, headers",
    [
        ("GET", "k", {"attributes": ""}, {}),
        ("GET", "k", {"attributes": ""}, {"x-amz-object-attributes": "Nonsense"}),
        ("GET", "k", {"partNumber": "0"}, {}),
        ("PUT", "k", {"partNumber": "0", "uploadId": "x"}, {"x-amz-copy-source": "/b/k"}),
        ("PUT", "k", {"partNumber": "1", "uploadId": "x"}, {"x-amz-copy-source": "/b/k", "x-amz-copy-source-range": "x"}),
        ("PUT", "k", {"partNumber": "1", "uploadId": "x"}, {"x-amz-copy-source": "nothing"}),
        ("PUT", "k", None, {"x-amz-copy-source": "nothing"}),
        ("PUT", "k", None, {"x-amz-storage-class": "NONSENSE"}),
        ("GET", "", {"max-keys": "-1"}, {}),
    ],
)
def test_a_missing_bucket_is_said_before_bad_arguments(raw, method, key, query, headers):
    status, content, _ = raw.s3(method, f"there-is-none/{key}", query=query, headers=headers)
    assert status == 404 and b"<Code>NoSuchBucket</Code>" in content, content


def test_a_page_of_uploads_cut_at_a_prefix_says_where_to_go_on(client, bucket):
    for key in ("a/1", "a/2", "b/1", "c"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    seen, more = [], {}
    while True:
        page = client.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1, **more)
        seen += [prefix["Prefix"] for prefix in page.get("CommonPrefixes", [])]
        seen += [upload["Key"] for upload in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        assert page["NextKeyMarker"] == seen[-1] and page["NextUploadIdMarker"]
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert seen == ["a/", "b/", "c"]
    for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]:
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


@pytest.mark.parametrize("rest", [b"", b"x-amz-checksum", b"x-amz-checksum-crc32:", b"x-amz-checksum-crc32:NhCmhg", b"x-amz-checksum-crc32:NhCmhg==\r\n"])
def test_a_body_cut_in_its_trailers_is_not_whole(raw, client, bucket, rest):
    headers = {"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32", "content-encoding": "aws-chunked"}
    body = b"5\r\nhello\r\n0\r\n" + rest
    status, content, _ = raw.s3("PUT", f"{bucket}/k", body, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert status == 400 and b"<Code>IncompleteBody</Code>" in content, content
    assert refused(client.head_object, Bucket=bucket, Key="k")[0] == 404
