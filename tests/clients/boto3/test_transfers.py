"""What programs with boto3 do, run by boto3 from before checksums by default (1.28) and by today's: transfers of file
objects in parts, pages, waiters, presigned forms, resources, signatures of both versions."""
import io
import os
import threading
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import pytest
from boto3.s3.transfer import TransferConfig

from lakebed_server import KEY, SECRET


def made(kind, server, **config):
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    return kind("s3", endpoint_url=server.endpoint, config=botocore.config.Config(retries={"max_attempts": 0}, **config), **keys)


@pytest.fixture(params=["s3v4", "s3"])
def s3(request, server):
    return made(boto3.client, server, signature_version=request.param)


PARTS = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)


@pytest.mark.parametrize("size", [0, 1, (5 << 20) - 1, 5 << 20, (5 << 20) + 1, 16 << 20])
def test_file_objects(s3, repo, size):
    content, seen, lock = os.urandom(size), [], threading.Lock()

    def progress(count):
        with lock:
            seen.append(count)

    extra = {"Metadata": {"colour": "blue"}, "ContentType": "text/x", "CacheControl": "no-store"}
    s3.upload_fileobj(io.BytesIO(content), repo, "main/a b+c%/é", ExtraArgs=extra, Config=PARTS, Callback=progress)
    assert sum(seen) == size
    back = io.BytesIO()
    s3.download_fileobj(repo, "main/a b+c%/é", back, Config=PARTS)
    assert back.getvalue() == content
    head = s3.head_object(Bucket=repo, Key="main/a b+c%/é")
    assert (head["ContentLength"], head["Metadata"], head["ContentType"], head["CacheControl"]) == (size, {"colour": "blue"}, "text/x", "no-store")
    assert ("-" in head["ETag"]) == (size >= 5 << 20)
    # A managed copy: in parts above the threshold, and then old releases leave the metadata behind.
    s3.copy({"Bucket": repo, "Key": "main/a b+c%/é"}, repo, "main/copy+", Config=PARTS)
    copied = s3.get_object(Bucket=repo, Key="main/copy+")
    assert copied["Body"].read() == content
    assert copied["Metadata"] == {"colour": "blue"} or size >= 5 << 20


def test_an_empty_object_does_not_spoil_what_comes_after_it(s3, repo):
    """On one connection: what is asked for its body (`Expect`), what has none, and again."""
    contents = {f"main/{n}-{size}": b"x" * size for n in range(5) for size in (3 << 20, 0, 1)}
    for key, content in contents.items():
        assert s3.put_object(Bucket=repo, Key=key, Body=io.BytesIO(content))["ETag"]
        if key.startswith("main/3"):
            with pytest.raises(botocore.exceptions.ClientError, match="NoSuchBucket"):
                s3.put_object(Bucket=repo, Key="nowhere/x", Body=io.BytesIO(b"z" * (1 << 20)))
    for key, content in contents.items():
        assert s3.get_object(Bucket=repo, Key=key)["Body"].read() == content


def test_pages_waiters_and_resources(s3, server, repo):
    keys = [f"main/p/{n:04}" for n in range(60)]
    for key in keys:
        s3.put_object(Bucket=repo, Key=key, Body=b"x")
    for operation in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(operation).paginate(Bucket=repo, Prefix="main/p/", PaginationConfig={"PageSize": 25}))
        assert [len(page["Contents"]) for page in pages] == [25, 25, 10]
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
    versions = s3.get_paginator("list_object_versions").paginate(Bucket=repo, Prefix="main/p/", PaginationConfig={"PageSize": 25})
    assert sum(len(page["Versions"]) for page in versions) == 60
    s3.get_waiter("object_exists").wait(Bucket=repo, Key=keys[0])
    s3.get_waiter("bucket_exists").wait(Bucket=repo)
    bucket = made(boto3.resource, server).Bucket(repo)
    assert [entry.key for entry in bucket.objects.filter(Prefix="main/p/000")] == keys[:10]
    assert bucket.Object(keys[3]).get()["Body"].read() == b"x"
    bucket.objects.filter(Prefix="main/p/").delete()
    s3.get_waiter("object_not_exists").wait(Bucket=repo, Key=keys[0])
    assert list(bucket.objects.filter(Prefix="main/p/")) == []


def test_presigned_urls_and_forms(s3, repo):
    def send(method, operation, body=None, **parameters):
        url = s3.generate_presigned_url(operation, Params={"Bucket": repo, "Key": "main/signed é+", **parameters}, ExpiresIn=60)
        # Signatures of version 2 cover the content type: urllib must not make one up.
        return urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers={"Content-Type": ""}))

    with send("PUT", "put_object", b"by url") as answer:
        assert answer.status == 200
    with send("GET", "get_object", ResponseContentType="text/y", ResponseContentDisposition='attachment; filename="a b"') as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"by url", "text/y")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="a b"'
    form = s3.generate_presigned_post(repo, "main/forms/${filename}", Fields={"acl": "private"}, Conditions=[{"acl": "private"}], ExpiresIn=60)
    line = "a-boundary"
    body = "".join(f'--{line}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items())
    body += f'--{line}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\nby form\r\n--{line}--\r\n'
    sent = urllib.request.Request(form["url"], data=body.encode(), headers={"Content-Type": f"multipart/form-data; boundary={line}"})
    with urllib.request.urlopen(sent) as answer:
        assert answer.status == 204
    assert s3.get_object(Bucket=repo, Key="main/forms/f.txt")["Body"].read() == b"by form"
    with send("DELETE", "delete_object") as answer:
        assert answer.status == 204
