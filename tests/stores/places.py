"""The object services of the tests, each with a bucket: how the server is configured for it, and how a client of the
service itself writes, reads and lists there."""
import contextlib
import dataclasses
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import azurite
from emulators import KEY, SECRET, moto, s3_client
from gcs import gcs

BUCKET = "the-lake"


@dataclasses.dataclass
class Place:
    kind: str
    endpoint: str
    # The section `blockstore` of the configuration.
    blockstore: dict
    # What addresses begin with.
    root: str
    put: Callable
    keys: Callable
    # Of uploads in parts that wait: keys. None where the service has no such list.
    uploads: Callable | None
    # What a presigned PUT must say besides.
    headers: dict


@contextlib.contextmanager
def s3(bucket=BUCKET):
    with moto(bucket) as endpoint:
        client = s3_client(endpoint)

        def keys(prefix=""):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [found["Key"] for page in pages for found in page.get("Contents", [])]

        yield Place(
            "s3", endpoint,
            {"type": "s3", "s3": {"endpoint": endpoint, "force_path_style": True, "region": "us-east-1", "credentials": {"access_key_id": KEY, "secret_access_key": SECRET}}},
            f"s3://{bucket}",
            lambda key, body: client.put_object(Bucket=bucket, Key=key, Body=body),
            keys,
            lambda: [found["Key"] for found in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])],
            {},
        )


@contextlib.contextmanager
def gs(bucket=BUCKET):
    with gcs(bucket) as (endpoint, credentials, service):
        host = "http://%s:%s" % service["upstream"]

        def put(key, body):
            url = f"{host}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={urllib.parse.quote(key, safe='')}"
            urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "text/plain"}), timeout=10).close()

        def keys(prefix=""):
            import json

            with urllib.request.urlopen(f"{host}/storage/v1/b/{bucket}/o?prefix={urllib.parse.quote(prefix, safe='')}", timeout=10) as answer:
                return [found["name"] for found in json.load(answer).get("items", [])]

        yield Place(
            "gs", endpoint, {"type": "gs", "gs": {"endpoint": endpoint, "credentials_json": credentials}}, f"gs://{bucket}", put, keys,
            lambda: [urllib.parse.unquote(path).lstrip("/").partition("/")[2] for path, _, _ in service["uploads"].values()], {},
        )


@contextlib.contextmanager
def azure(bucket=BUCKET):
    with azurite.azurite(bucket) as endpoint:
        def put(key, body):
            azurite.request(endpoint, "PUT", f"/{bucket}/{urllib.parse.quote(key)}", (), body, **{"x-ms-blob-type": "BlockBlob"}).close()

        def keys(prefix=""):
            asked = [("restype", "container"), ("comp", "list"), ("prefix", prefix)]
            with azurite.request(endpoint, "GET", f"/{bucket}", asked) as answer:
                return [blob.findtext("Name") for blob in ElementTree.fromstring(answer.read()).iter("Blob")]

        yield Place(
            "azure", endpoint,
            {"type": "azure", "azure": {"endpoint": endpoint, "storage_account": azurite.ACCOUNT, "storage_access_key": azurite.KEY}},
            f"https://{azurite.ACCOUNT}.{azurite.DOMAIN}/{bucket}", put, keys, None, {"x-ms-blob-type": "BlockBlob"},
        )


ALL = {"s3": s3, "gs": gs, "azure": azure}
