"""A server whose buckets are buckets and nothing more (`gateways.s3.flat_mode`): what S3 documents is tested there."""
import uuid

import boto3
import botocore.config
import botocore.exceptions
import pytest

from doors import Door
from lakebed_server import KEY, SECRET, Server

PART = 5 << 20  # the least size of a part that is not the last


@pytest.fixture(scope="session")
def flat(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("flat"), extra="gateways: {s3: {flat_mode: true}}") as running:
        yield running


def boto(server, **config):
    settings = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}} | config
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=botocore.config.Config(**settings),
    )


@pytest.fixture(scope="session")
def client(flat):
    return boto(flat)


@pytest.fixture
def bucket(client):
    """A fresh bucket, emptied and deleted as clients do it."""
    name = "b-" + uuid.uuid4().hex[:12]
    client.create_bucket(Bucket=name)
    yield name
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        objects = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in page.get("Versions", [])]
        if objects:
            assert not client.delete_objects(Bucket=name, Delete={"Objects": objects}).get("Errors")
    client.delete_bucket(Bucket=name)


@pytest.fixture
def raw(flat):
    door = Door(flat.port)
    yield door
    door.close()


def refused(call, *args, **kwargs):
    """(status, code) of a call that must fail."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*args, **kwargs)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def fill(client, bucket, *keys):
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
