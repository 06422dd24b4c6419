"""The boto3 page, call by call, with today's default settings and with checksums only where required."""
import concurrent.futures
import hashlib
import os
import urllib.error
import urllib.request

import boto3
import botocore.client
import botocore.exceptions
import pytest
from boto3.s3.transfer import TransferConfig

from lakebed_server import KEY, SECRET


def client(server, key=KEY, secret=SECRET, **config):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=botocore.client.Config(retries={"max_attempts": 1}, **config),
    )


@pytest.fixture(params=["default", "when_required"])
def s3(request, server):
    settings = {} if request.param == "default" else {"request_checksum_calculation": "when_required"}
    return client(server, **settings)


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_put_get_head(s3, repo):
    put = s3.put_object(Bucket=repo, Key="main/a.txt", Body=b"hello world", Metadata={"colour": "blue"}, ContentType="text/plain")
    assert put["ETag"] == '"5eb63bbbe01eeed093cb22bb8f5acdc3"'
    got = s3.get_object(Bucket=repo, Key="main/a.txt")
    assert got["Body"].read() == b"hello world"
    assert got["Metadata"] == {"colour": "blue"} and got["ContentType"] == "text/plain"
    head = s3.head_object(Bucket=repo, Key="main/a.txt")
    assert head["ContentLength"] == 11 and head["ETag"] == put["ETag"] and head["Metadata"] == {"colour": "blue"}
    part = s3.get_object(Bucket=repo, Key="main/a.txt", Range="bytes=6-")
    assert part["Body"].read() == b"world" and part["ContentRange"] == "bytes 6-10/11"


def test_lists(s3, repo, server):
    for n in range(25):
        s3.put_object(Bucket=repo, Key=f"main/data/{n:02}", Body=b"x")
    s3.put_object(Bucket=repo, Key="main/top", Body=b"x")
    commit = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})[1]["id"]
    v2 = s3.list_objects_v2(Bucket=repo, Prefix="main/", Delimiter="/")
    assert [p["Prefix"] for p in v2["CommonPrefixes"]] == ["main/data/"]
    assert [c["Key"] for c in v2["Contents"]] == ["main/top"]
    v1 = s3.list_objects(Bucket=repo, Prefix="main/data/", MaxKeys=10)
    assert len(v1["Contents"]) == 10 and v1["IsTruncated"]
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=repo, Prefix="main/data/", PaginationConfig={"PageSize": 7}))
    assert [len(p["Contents"]) for p in pages] == [7, 7, 7, 4]
    assert [p["Prefix"] for p in s3.list_objects_v2(Bucket=repo, Delimiter="/")["CommonPrefixes"]] == ["main/"]
    short = commit[:10]
    assert s3.list_objects_v2(Bucket=repo, Prefix=f"{short}/data/")["KeyCount"] == 25
    assert s3.get_object(Bucket=repo, Key=f"{short}/top")["Body"].read() == b"x"
    assert repo in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=repo)


@pytest.mark.parametrize("size", [5 << 20, (5 << 20) + 1, 18 << 20])
def test_upload_and_download_files(s3, repo, tmp_path, size):
    source, target = tmp_path / "source", tmp_path / "target"
    content = os.urandom(size)
    source.write_bytes(content)
    config = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    s3.upload_file(str(source), repo, "main/big.bin", Config=config)
    s3.download_file(repo, "main/big.bin", str(target), Config=config)
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert s3.head_object(Bucket=repo, Key="main/big.bin")["ContentLength"] == size


def test_multipart_by_hand(s3, repo):
    upload = s3.create_multipart_upload(Bucket=repo, Key="main/mpu", Metadata={"k": "v"})["UploadId"]
    parts = []
    for number, body in [(1, b"a" * (5 << 20)), (2, b"b")]:
        answer = s3.upload_part(Bucket=repo, Key="main/mpu", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    assert [p["Size"] for p in s3.list_parts(Bucket=repo, Key="main/mpu", UploadId=upload)["Parts"]] == [5 << 20, 1]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=repo)["Uploads"]] == [upload]
    done = s3.complete_multipart_upload(Bucket=repo, Key="main/mpu", UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"] == '"e5a8c5272b26fc10581a21089559b006-2"'
    head = s3.head_object(Bucket=repo, Key="main/mpu")
    assert head["ETag"] == done["ETag"] and head["Metadata"] == {"k": "v"}
    dropped = s3.create_multipart_upload(Bucket=repo, Key="main/dropped")["UploadId"]
    s3.upload_part(Bucket=repo, Key="main/dropped", UploadId=dropped, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=repo, Key="main/dropped", UploadId=dropped)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.upload_part(Bucket=repo, Key="main/dropped", UploadId=dropped, PartNumber=1, Body=b"x")
    assert code(error) == ("NoSuchUpload", 404)


def test_copy_and_delete(s3, repo):
    s3.put_object(Bucket=repo, Key="main/a", Body=b"content", Metadata={"m": "1"})
    s3.copy_object(Bucket=repo, Key="main/b", CopySource={"Bucket": repo, "Key": "main/a"})
    assert s3.head_object(Bucket=repo, Key="main/b")["Metadata"] == {"m": "1"}
    s3.delete_object(Bucket=repo, Key="main/a")
    assert s3.get_object(Bucket=repo, Key="main/b")["Body"].read() == b"content"
    keys = [f"main/many/{n}" for n in range(20)]
    for key in keys:
        s3.put_object(Bucket=repo, Key=key, Body=b"x")
    answer = s3.delete_objects(Bucket=repo, Delete={"Objects": [{"Key": k} for k in keys + ["main/none"]]})
    assert len(answer["Deleted"]) == 21 and "Errors" not in answer
    assert s3.list_objects_v2(Bucket=repo, Prefix="main/many/")["KeyCount"] == 0


def test_conditions(s3, repo):
    s3.put_object(Bucket=repo, Key="main/once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.put_object(Bucket=repo, Key="main/once", Body=b"2", IfNoneMatch="*")
    assert code(error) == ("PreconditionFailed", 412)
    etag = s3.head_object(Bucket=repo, Key="main/once")["ETag"]
    s3.put_object(Bucket=repo, Key="main/once", Body=b"3", IfMatch=etag)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.put_object(Bucket=repo, Key="main/once", Body=b"4", IfMatch=etag)
    assert code(error) == ("PreconditionFailed", 412)


@pytest.mark.parametrize("version, signature", [("s3v4", "X-Amz-Signature="), ("s3", "Signature=")])
def test_presigned(server, repo, version, signature):
    s3 = client(server, signature_version=version)

    def call(operation, method, body=None):
        url = s3.generate_presigned_url(operation, Params={"Bucket": repo, "Key": "main/signed"}, ExpiresIn=300)
        assert signature in url
        # Version 2 signs the content type: urllib must not make one up.
        return urllib.request.Request(url, data=body, method=method, headers={"Content-Type": ""})

    with urllib.request.urlopen(call("put_object", "PUT", b"by url")) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(call("get_object", "GET")) as answer:
        assert answer.read() == b"by url"
    with urllib.request.urlopen(call("head_object", "HEAD")) as answer:
        assert answer.headers["Content-Length"] == "6"
    forged = call("get_object", "GET")
    forged.full_url = forged.full_url.replace(signature, signature + "0")
    for wrong in (forged, call("head_object", "DELETE")):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(wrong)
        assert error.value.code == 403


def test_error_codes(s3, repo, server):
    def refused(call, **arguments):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            call(**arguments)
        return code(error)

    assert refused(s3.get_object, Bucket=repo, Key="main/none") == ("NoSuchKey", 404)
    assert refused(s3.get_object, Bucket=repo, Key="nobranch/x") == ("NoSuchKey", 404)
    assert refused(s3.get_object, Bucket="no-such-repository", Key="main/x") == ("NoSuchBucket", 404)
    assert refused(s3.put_object, Bucket=repo, Key="nobranch/x", Body=b"") == ("NoSuchBucket", 404)
    wrong = client(server, secret="x" * 40)
    assert refused(wrong.list_buckets) == ("SignatureDoesNotMatch", 403)
    unknown = client(server, key="AKIANOBODY")
    assert refused(unknown.list_buckets) == ("InvalidAccessKeyId", 403)


def test_a_branch_per_experiment(s3, repo, server):
    s3.put_object(Bucket=repo, Key="main/model", Body=b"base")
    server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "base"})
    for n in range(3):
        assert server.rest("POST", f"/repositories/{repo}/branches", {"name": f"exp-{n}", "source": "main"})[0] == 201
        s3.put_object(Bucket=repo, Key=f"exp-{n}/model", Body=f"model {n}".encode())
        assert server.rest("POST", f"/repositories/{repo}/branches/exp-{n}/commits", {"message": f"{n}"})[0] == 201
    assert s3.get_object(Bucket=repo, Key="main/model")["Body"].read() == b"base"
    assert server.rest("POST", f"/repositories/{repo}/refs/exp-2/merge/main")[0] == 200
    assert s3.get_object(Bucket=repo, Key="main/model")["Body"].read() == b"model 2"
    assert s3.get_object(Bucket=repo, Key="main~1/model")["Body"].read() == b"base"


def test_parallel_uploads(s3, repo):
    def put(n):
        s3.put_object(Bucket=repo, Key=f"main/p/{n:03}", Body=str(n).encode() * 1000)
        return s3.get_object(Bucket=repo, Key=f"main/p/{n:03}")["Body"].read() == str(n).encode() * 1000

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(put, range(200)))
    keys = [c["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=repo, Prefix="main/p/") for c in p["Contents"]]
    assert keys == [f"main/p/{n:03}" for n in range(200)]


def test_boto_s3_router(server, repo):
    import boto_s3_router
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        other = boto3.client("s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")
        other.create_bucket(Bucket="elsewhere")
        lake = client(server)
        profiles = {"lake": {"source_bucket_pattern": "migrated", "mapped_bucket_name": repo, "mapped_prefix": "main/"}}
        router = boto_s3_router.client({"lake": lake, "default": other}, profiles)
        router.put_object(Bucket="migrated", Key="routed", Body=b"to the lake")
        router.put_object(Bucket="elsewhere", Key="x", Body=b"to the other")
        assert lake.get_object(Bucket=repo, Key="main/routed")["Body"].read() == b"to the lake"
        assert other.get_object(Bucket="elsewhere", Key="x")["Body"].read() == b"to the other"
        assert router.get_object(Bucket="migrated", Key="routed")["Body"].read() == b"to the lake"
    finally:
        moto.stop()
