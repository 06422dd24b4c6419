"""Multipart uploads, copies and checksums of a bucket's objects."""
import base64
import hashlib
import zlib

import pytest

from plain_buckets import PART, boto, fill, refused

SMALL = b"last part"


def begin(client, bucket, key, **more):
    return {"Bucket": bucket, "Key": key, "UploadId": client.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]}


def send(client, upload, parts, **more):
    return [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=body, **more)["ETag"]}
        for number, body in parts
    ]


def complete(client, upload, parts, **more):
    return client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **more)


def digest(*parts):
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{whole}-{len(parts)}"'


A, B = b"a" * PART, b"b"


def test_parts_become_an_object(client, bucket):
    upload = begin(client, bucket, "m", ContentType="text/bla", Metadata={"foo": "bar"}, Tagging="t=1")
    parts = send(client, upload, [(1, A), (2, B)])
    answer = complete(client, upload, parts)
    assert answer["ETag"] == digest(A, B) == '"e5a8c5272b26fc10581a21089559b006-2"'
    assert (answer["Bucket"], answer["Key"]) == (bucket, "m") and answer["Location"].endswith(f"/{bucket}/m")
    got = client.get_object(Bucket=bucket, Key="m")
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (answer["ETag"], "text/bla", {"foo": "bar"})
    assert got["Body"].read() == A + B
    assert client.get_object_tagging(Bucket=bucket, Key="m")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert client.get_object(Bucket=bucket, Key="m", Range=f"bytes={PART - 1}-{PART}")["Body"].read() == b"ab"
    # Completing again gives the same answer.
    assert complete(client, upload, parts)["ETag"] == answer["ETag"]
    for number, size in ((1, PART), (2, 1)):
        part = client.get_object(Bucket=bucket, Key="m", PartNumber=number)
        assert (part["ContentLength"], part["PartsCount"], part["ResponseMetadata"]["HTTPStatusCode"]) == (size, 2, 206)
        assert client.head_object(Bucket=bucket, Key="m", PartNumber=number)["ContentLength"] == size
    assert refused(client.get_object, Bucket=bucket, Key="m", PartNumber=3) == (416, "InvalidPartNumber")


def test_parts_come_in_any_order_and_again(client, bucket):
    upload = begin(client, bucket, "m")
    last = send(client, upload, [(9, b"old")])
    first = send(client, upload, [(3, A)])
    again = send(client, upload, [(9, B)])
    assert refused(complete, client, upload, first + last)[1] == "InvalidPart", "it was sent again"
    assert refused(complete, client, upload, again + first) == (400, "InvalidPartOrder")
    assert refused(complete, client, upload, first + first) == (400, "InvalidPartOrder")
    assert complete(client, upload, first + again)["ETag"] == digest(A, B)
    attributes = client.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["ObjectParts", "ObjectSize", "ETag", "StorageClass"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 2 and attributes["ObjectSize"] == PART + 1
    assert attributes["ETag"] == digest(A, B).strip('"') and attributes["StorageClass"] == "STANDARD"


def test_what_a_completion_must_be(client, raw, bucket):
    upload = begin(client, bucket, "m")
    parts = send(client, upload, [(1, b"small"), (2, b"small")])
    assert refused(complete, client, upload, parts) == (400, "EntityTooSmall")
    assert refused(complete, client, upload, [{"PartNumber": 3, "ETag": parts[0]["ETag"]}]) == (400, "InvalidPart")
    assert refused(complete, client, upload, [{"PartNumber": 1, "ETag": "ffffffffffffffffffffffffffffffff"}]) == (400, "InvalidPart")
    assert refused(complete, client, upload, []) == (400, "MalformedXML")
    assert refused(client.complete_multipart_upload, **upload) == (400, "MalformedXML")
    assert refused(complete, client, upload | {"UploadId": "nonsense"}, parts) == (404, "NoSuchUpload")
    assert refused(complete, client, upload | {"Key": "other"}, parts) == (404, "NoSuchUpload")
    for number in (0, 10001):
        assert refused(client.upload_part, **upload, PartNumber=number, Body=b"") == (400, "InvalidArgument")
    assert refused(client.head_object, Bucket=bucket, Key="m")[0] == 404
    # Unquoted ETags are good, and parts that are not named are dropped.
    assert complete(client, upload, [parts[1] | {"ETag": parts[1]["ETag"].strip('"')}])["ETag"] == digest(b"small")
    assert client.get_object(Bucket=bucket, Key="m")["Body"].read() == b"small"


def test_an_aborted_upload_is_gone(client, bucket):
    upload = begin(client, bucket, "m")
    send(client, upload, [(1, b"x")])
    assert client.abort_multipart_upload(**upload)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.abort_multipart_upload, **upload) == (404, "NoSuchUpload")
    assert refused(client.upload_part, **upload, PartNumber=1, Body=b"x") == (404, "NoSuchUpload")
    assert refused(client.list_parts, **upload) == (404, "NoSuchUpload")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_an_object_of_one_empty_part(client, bucket):
    upload = begin(client, bucket, "m")
    assert complete(client, upload, send(client, upload, [(1, b"")]))["ETag"] == digest(b"")
    assert client.head_object(Bucket=bucket, Key="m")["ContentLength"] == 0


def test_uploads_and_parts_are_paged(client, bucket):
    ids = [begin(client, bucket, key)["UploadId"] for key in ("a", "a", "b/1", "b/2", "c")]
    seen, more = [], {}
    while True:
        page = client.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **more)
        assert page["MaxUploads"] == 2
        seen += [(found["Key"], found["UploadId"]) for found in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert sorted(seen) == sorted(zip(("a", "a", "b/1", "b/2", "c"), ids))
    folded = client.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in folded["CommonPrefixes"]] == ["b/"]
    assert [u["Key"] for u in folded["Uploads"]] == ["a", "a", "c"]
    owner = folded["Uploads"][0]
    assert owner["Owner"]["ID"] == owner["Initiator"]["ID"] and owner["StorageClass"] == "STANDARD"
    upload = {"Bucket": bucket, "Key": "c", "UploadId": ids[-1]}
    send(client, upload, [(number, b"x") for number in (1, 2, 5)])
    first = client.list_parts(**upload, MaxParts=2)
    assert (first["IsTruncated"], first["NextPartNumberMarker"], len(first["Parts"])) == (True, 2, 2)
    rest = client.list_parts(**upload, MaxParts=2, PartNumberMarker=2)
    assert not rest["IsTruncated"] and [part["PartNumber"] for part in rest["Parts"]] == [5]
    for key, upload_id in seen:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def test_copies_of_parts(client, bucket):
    client.put_object(Bucket=bucket, Key="src 1%", Body=A + SMALL)
    upload = begin(client, bucket, "m")

    def copy(number, **more):
        source = {"Bucket": bucket, "Key": "src 1%"}
        return client.upload_part_copy(**upload, PartNumber=number, CopySource=source, **more)["CopyPartResult"]

    first = copy(1, CopySourceRange=f"bytes=0-{PART - 1}")
    last = copy(2, CopySourceRange=f"bytes={PART}-{PART + len(SMALL) - 1}")
    assert first["ETag"] == f'"{hashlib.md5(A).hexdigest()}"' and first["LastModified"]
    for bad in ("0-2", "bytes=0", "bytes=hello-world", "bytes=0-2,3-5", "bytes=5-2"):
        assert refused(copy, 3, CopySourceRange=bad) == (400, "InvalidArgument")
    assert refused(copy, 3, CopySourceRange=f"bytes=0-{2 * PART}") == (416, "InvalidRange")
    assert refused(copy, 3, CopySourceIfMatch='"x"') == (412, "PreconditionFailed")
    missing = {"Bucket": bucket, "Key": "none"}
    assert refused(client.upload_part_copy, **upload, PartNumber=3, CopySource=missing) == (404, "NoSuchKey")
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": last["ETag"]}]
    complete(client, upload, parts)
    assert client.get_object(Bucket=bucket, Key="m")["Body"].read() == A + SMALL
    # The part table goes with a copy.
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "m"})
    copied = client.get_object_attributes(Bucket=bucket, Key="copy", ObjectAttributes=["ObjectParts", "Checksum"])
    assert copied["ObjectParts"]["TotalPartsCount"] == 2


def test_parts_of_attributes_are_paged(client, bucket):
    upload = begin(client, bucket, "m", ChecksumAlgorithm="SHA256")
    sent = [client.upload_part(**upload, PartNumber=n, Body=body, ChecksumAlgorithm="SHA256") for n, body in ((1, A), (2, A), (3, B))]
    parts = [{"PartNumber": n, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]} for n, part in enumerate(sent, 1)]
    done = complete(client, upload, parts)
    composite = hashlib.sha256(b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in sent)).digest()
    assert done["ChecksumSHA256"] == base64.b64encode(composite).decode() + "-3" and done["ChecksumType"] == "COMPOSITE"

    def page(**more):
        return client.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["ObjectParts", "Checksum"], **more)

    first = page(MaxParts=2)["ObjectParts"]
    assert (first["IsTruncated"], first["NextPartNumberMarker"], first["MaxParts"], first["PartNumberMarker"]) == (True, 2, 2, 0)
    assert [part["ChecksumSHA256"] for part in first["Parts"]] == [part["ChecksumSHA256"] for part in sent[:2]]
    last = page(MaxParts=2, PartNumberMarker=2)
    assert [part["Size"] for part in last["ObjectParts"]["Parts"]] == [1] and not last["ObjectParts"]["IsTruncated"]
    assert last["Checksum"] == {"ChecksumSHA256": done["ChecksumSHA256"], "ChecksumType": "COMPOSITE"}
    fill(client, bucket, "plain")
    plain = client.get_object_attributes(Bucket=bucket, Key="plain", ObjectAttributes=["ObjectParts", "ObjectSize"])
    assert "ObjectParts" not in plain and plain["ObjectSize"] == 5


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_every_checksum_of_one_put(client, bucket, algorithm):
    field = f"Checksum{algorithm}"
    known = {
        "CRC32": "DUoRhQ==", "CRC32C": "yZRlqg==", "CRC64NVME": "jSnVw/bqjr4=",
        "SHA1": "Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "SHA256": "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    }[algorithm]
    made = client.put_object(Bucket=bucket, Key="c", Body=b"hello world", **{field: known})
    assert (made[field], made["ChecksumType"]) == (known, "FULL_OBJECT")
    head = client.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert head[field] == known
    assert field not in client.head_object(Bucket=bucket, Key="c")
    assert field not in client.get_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED", Range="bytes=0-1")
    attributes = client.get_object_attributes(Bucket=bucket, Key="c", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"] == {field: known, "ChecksumType": "FULL_OBJECT"}
    wrong = base64.b64encode(bytes(len(base64.b64decode(known)))).decode()
    assert refused(client.put_object, Bucket=bucket, Key="c", Body=b"hello world", **{field: wrong}) == (400, "BadDigest")
    assert refused(client.put_object, Bucket=bucket, Key="c", Body=b"hello world", **{field: "bad"}) == (400, "BadDigest")


@pytest.mark.parametrize("algorithm, kind", [("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA1", "COMPOSITE")])
def test_every_checksum_of_parts(flat, bucket, algorithm, kind):
    # The server computes what was agreed on for parts that bring nothing.
    client = boto(flat, request_checksum_calculation="when_required")
    field = f"Checksum{algorithm}"
    upload = begin(client, bucket, "m", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    sent = [client.upload_part(**upload, PartNumber=n, Body=body) for n, body in ((1, A), (2, B))]
    parts = [{"PartNumber": n, "ETag": part["ETag"], field: part[field]} for n, part in enumerate(sent, 1)]
    assert refused(client.upload_part, **upload, PartNumber=3, Body=B, ChecksumAlgorithm="SHA256") == (400, "InvalidRequest")
    wrong = [parts[0] | {field: parts[1][field]}, parts[1]]
    assert refused(complete, client, upload, wrong)[0] == 400
    assert refused(complete, client, upload, parts, MpuObjectSize=1) == (400, "InvalidRequest")
    done = complete(client, upload, parts, MpuObjectSize=PART + 1)
    assert done["ChecksumType"] == kind and done[field].endswith("-2") == (kind == "COMPOSITE")
    if (algorithm, kind) == ("CRC32", "FULL_OBJECT"):
        assert done[field] == base64.b64encode(zlib.crc32(A + B).to_bytes(4, "big")).decode()
    head = client.head_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (done[field], kind)
    part = client.get_object(Bucket=bucket, Key="m", PartNumber=2, ChecksumMode="ENABLED")
    assert part[field] == sent[1][field] and part["Body"].read() == B


@pytest.mark.parametrize("algorithm, kind", [("CRC64NVME", "COMPOSITE"), ("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT")])
def test_a_checksum_that_cannot_be(client, bucket, algorithm, kind):
    assert refused(client.create_multipart_upload, Bucket=bucket, Key="m", ChecksumAlgorithm=algorithm, ChecksumType=kind) == (400, "InvalidRequest")


# Copies


def test_copies_keep_or_replace(client, bucket):
    client.put_object(Bucket=bucket, Key="s", Body=b"foo", Metadata={"a": "b"}, ContentType="audio/ogg", Tagging="t=1")
    source = {"Bucket": bucket, "Key": "s"}

    def copy(key, **more):
        return client.copy_object(Bucket=bucket, Key=key, CopySource=source, **more)

    made = copy("d")["CopyObjectResult"]
    head = client.head_object(Bucket=bucket, Key="d")
    assert made["ETag"] == head["ETag"] and (head["Metadata"], head["ContentType"]) == ({"a": "b"}, "audio/ogg")
    assert client.get_object_tagging(Bucket=bucket, Key="d")["TagSet"] == [{"Key": "t", "Value": "1"}]
    copy("d", MetadataDirective="REPLACE", Metadata={"c": "d"}, ContentType="text/plain", TaggingDirective="REPLACE", Tagging="u=2")
    head = client.head_object(Bucket=bucket, Key="d")
    assert (head["Metadata"], head["ContentType"]) == ({"c": "d"}, "text/plain")
    assert client.get_object_tagging(Bucket=bucket, Key="d")["TagSet"] == [{"Key": "u", "Value": "2"}]
    assert refused(copy, "s") == (400, "InvalidRequest"), "onto itself, and nothing changes"
    copy("s", MetadataDirective="REPLACE", Metadata={"new": "1"})
    assert client.head_object(Bucket=bucket, Key="s")["Metadata"] == {"new": "1"}
    copy("s", StorageClass="STANDARD_IA")
    assert client.head_object(Bucket=bucket, Key="s")["StorageClass"] == "STANDARD_IA"
    assert client.get_object(Bucket=bucket, Key="s")["Body"].read() == b"foo"


@pytest.mark.parametrize(
    "conditions, status",
    [
        ({"CopySourceIfMatch": "ETAG"}, 200),
        ({"CopySourceIfMatch": '"x"'}, 412),
        ({"CopySourceIfNoneMatch": '"x"'}, 200),
        ({"CopySourceIfNoneMatch": "ETAG"}, 412),
        ({"CopySourceIfModifiedSince": "Sat, 29 Oct 1994 19:43:31 GMT"}, 200),
        ({"CopySourceIfUnmodifiedSince": "Sat, 29 Oct 1994 19:43:31 GMT"}, 412),
        ({"CopySourceIfMatch": "ETAG", "CopySourceIfUnmodifiedSince": "Sat, 29 Oct 1994 19:43:31 GMT"}, 200),
        ({"CopySourceIfNoneMatch": "ETAG", "CopySourceIfModifiedSince": "Sat, 29 Oct 1994 19:43:31 GMT"}, 412),
    ],
)
def test_conditions_of_copies(client, bucket, conditions, status):
    etag = client.put_object(Bucket=bucket, Key="s", Body=b"foo")["ETag"]
    asked = {name: etag if value == "ETAG" else value for name, value in conditions.items()}
    asked |= {"Bucket": bucket, "Key": "d", "CopySource": {"Bucket": bucket, "Key": "s"}}
    if status == 200:
        assert client.copy_object(**asked)["CopyObjectResult"]["ETag"] == etag
    else:
        assert refused(client.copy_object, **asked) == (412, "PreconditionFailed")


def test_what_cannot_be_copied(client, raw, bucket):
    fill(client, bucket, "s")
    for source, code in ((f"{bucket}/none", (404, "NoSuchKey")), ("there-is-none/s", (404, "NoSuchBucket")), (bucket, (400, "InvalidArgument")), (f"{bucket}/", (400, "InvalidArgument"))):
        status, content, _ = raw.s3("PUT", f"{bucket}/d", headers={"x-amz-copy-source": source})
        assert status == code[0] and f"<Code>{code[1]}</Code>".encode() in content, source
    status, content, _ = raw.s3("PUT", f"{bucket}/d", headers={"x-amz-copy-source": f"/{bucket}/s", "x-amz-metadata-directive": "NONSENSE"})
    assert status == 400 and b"InvalidArgument" in content
