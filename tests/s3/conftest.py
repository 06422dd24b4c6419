"""Doors to a module's server, and to one whose buckets are buckets and nothing more (`gateways.s3.flat_mode`): what S3
documents is tested there."""
import uuid

import pytest

from doors import Door
from lakebed_server import Server
from plain_buckets import boto


@pytest.fixture
def door(server):
    """The S3 door of whichever server a module has."""
    door = Door(server.port)
    yield door
    door.close()


@pytest.fixture(scope="session")
def flat(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("flat"), extra="gateways: {s3: {flat_mode: true}}") as running:
        yield running


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
