"""minio-py: signed chunks of its own over plain HTTP, parts in parallel, composition on the server, forms, streams."""
import io
import os
import urllib.request
from datetime import datetime, timedelta, timezone

import minio
import minio.commonconfig
import minio.deleteobjects
import pytest

from lakebed_server import KEY, SECRET


@pytest.fixture
def client(server):
    return minio.Minio(server.endpoint.removeprefix("http://"), access_key=KEY, secret_key=SECRET, secure=False)


def read(client, repo, key, **more):
    answer = client.get_object(bucket_name=repo, object_name=key, **more)
    try:
        return answer.read()
    finally:
        answer.release_conn()


def test_objects_of_every_size(client, server, repo):
    assert client.bucket_exists(bucket_name=repo) and not client.bucket_exists(bucket_name="no-such-repository")
    assert repo in [bucket.name for bucket in client.list_buckets()]
    for size in (0, 1, 5 << 20, (5 << 20) + 1, 17 << 20):
        content = os.urandom(size)
        put = client.put_object(
            bucket_name=repo, object_name=f"main/of {size}+é", data=io.BytesIO(content), length=size, metadata={"colour": "blue"}, content_type="text/x"
        )
        assert read(client, repo, f"main/of {size}+é") == content
        stat = client.stat_object(bucket_name=repo, object_name=f"main/of {size}+é")
        assert (stat.size, stat.etag, stat.content_type, stat.metadata["x-amz-meta-colour"]) == (size, put.etag, "text/x", "blue")
    # A stream whose length nobody knows.
    content = os.urandom(11 << 20)
    client.put_object(bucket_name=repo, object_name="main/stream", data=io.BytesIO(content), length=-1, part_size=5 << 20)
    assert read(client, repo, "main/stream") == content
    assert read(client, repo, "main/stream", offset=1000, length=5000) == content[1000:6000]
    ref = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})[1]["id"]
    assert read(client, repo, f"{ref}/stream", offset=(11 << 20) - 5) == content[-5:]
    with pytest.raises(minio.error.S3Error, match="NoSuchKey"):
        client.stat_object(bucket_name=repo, object_name="main/none")


def test_copies_and_compositions(client, repo):
    parts = [os.urandom(5 << 20), os.urandom(6 << 20), b"the end"]
    for n, part in enumerate(parts):
        client.put_object(bucket_name=repo, object_name=f"main/part {n}", data=io.BytesIO(part), length=len(part))
    sources = [minio.commonconfig.ComposeSource(bucket_name=repo, object_name=f"main/part {n}") for n in range(3)]
    client.compose_object(bucket_name=repo, object_name="main/whole", sources=sources)
    assert read(client, repo, "main/whole") == b"".join(parts)
    source = minio.commonconfig.CopySource(bucket_name=repo, object_name="main/part 2")
    client.copy_object(bucket_name=repo, object_name="main/copied", source=source)
    assert read(client, repo, "main/copied") == b"the end"


def test_lists_tags_and_removals(client, repo):
    for n in range(30):
        client.put_object(bucket_name=repo, object_name=f"main/d{n % 3}/{n:02}", data=io.BytesIO(b"x"), length=1)
    assert [entry.object_name for entry in client.list_objects(bucket_name=repo, prefix="main/")] == ["main/d0/", "main/d1/", "main/d2/"]
    listed = [entry.object_name for entry in client.list_objects(bucket_name=repo, prefix="main/", recursive=True)]
    assert len(listed) == 30 and listed == sorted(listed)
    assert [entry.object_name for entry in client.list_objects(bucket_name=repo, prefix="main/d1/", start_after="main/d1/22")] == ["main/d1/25", "main/d1/28"]
    tags = minio.commonconfig.Tags.new_object_tags()
    tags["project"] = "lake"
    client.set_object_tags(bucket_name=repo, object_name="main/d0/00", tags=tags)
    assert dict(client.get_object_tags(bucket_name=repo, object_name="main/d0/00")) == {"project": "lake"}
    gone = [minio.deleteobjects.DeleteObject(name) for name in listed[1:]]
    assert list(client.remove_objects(bucket_name=repo, delete_object_list=gone)) == []
    client.remove_object(bucket_name=repo, object_name=listed[0])
    assert list(client.list_objects(bucket_name=repo, prefix="main/", recursive=True)) == []


def test_presigned_and_a_form(client, server, repo):
    url = client.presigned_put_object(bucket_name=repo, object_name="main/by url", expires=timedelta(minutes=5))
    with urllib.request.urlopen(urllib.request.Request(url, data=b"put", method="PUT")) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(client.presigned_get_object(bucket_name=repo, object_name="main/by url")) as answer:
        assert answer.read() == b"put"
    policy = minio.datatypes.PostPolicy(repo, datetime.now(timezone.utc) + timedelta(minutes=5))
    policy.add_starts_with_condition("key", "main/forms/")
    policy.add_content_length_range_condition(1, 1000)
    fields = client.presigned_post_policy(policy=policy) | {"key": "main/forms/a"}
    line = "--------a-boundary"
    form = "".join(f'--{line}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    form += f'--{line}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nby form\r\n--{line}--\r\n'
    sent = urllib.request.Request(f"{server.endpoint}/{repo}", data=form.encode(), headers={"Content-Type": f"multipart/form-data; boundary={line}"})
    with urllib.request.urlopen(sent) as answer:
        assert answer.status == 204
    assert read(client, repo, "main/forms/a") == b"by form"
