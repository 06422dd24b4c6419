"""A server, and several, over a DynamoDB table: the whole of what clients do, and what happens when somebody goes away."""
import json
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import boto3
import pytest

from dynamo_emulator import Emulator
from emulators import KEY as STORE_KEY, SECRET as STORE_SECRET, moto_apart
from lakebed_server import KEY, SECRET, Server, binary
from test_readiness import until_ready
from under_load import Load, three

BUCKET = "the-lake"
IMPORTED = 1050


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running:
        yield running


def s3_of(server):
    return boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET)


def ok(answer):
    status, said = answer
    assert status in (200, 201, 202, 204), answer
    return said


def until_done(server, at, **query):
    """What a task made."""
    deadline = time.monotonic() + 60
    while True:
        shown = ok(server.rest("GET", at, **query))
        if shown.get("done") or shown.get("completed"):
            assert not shown.get("error"), shown
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)


def listed(s3, bucket, prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def test_a_session_through_both_doors(emulator, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for n in range(IMPORTED):
        (source / f"{n:04}").write_text(str(n))
    local = {"path": str(tmp_path / "data"), "import_enabled": True, "allowed_external_prefixes": [str(source)]}
    server = Server(tmp_path / "lake", blockstore={"type": "local", "local": local}, database=emulator.section(table_name="session"))
    with server:
        at = "/repositories/lake"
        ok(server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"}))
        s3 = s3_of(server)
        s3.put_object(Bucket="lake", Key="main/a", Body=b"one", Metadata={"who": "me"})
        ok(server.rest("POST", f"{at}/branches/main/objects", b"two", path="b"))
        upload = s3.create_multipart_upload(Bucket="lake", Key="main/c")["UploadId"]
        tag = s3.upload_part(Bucket="lake", Key="main/c", UploadId=upload, PartNumber=1, Body=b"three")["ETag"]
        s3.complete_multipart_upload(Bucket="lake", Key="main/c", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
        # Its row is longer than what sorts as it is.
        long = "l" * 1024
        ok(server.rest("POST", f"{at}/branches/main/objects", b"long", path=long))
        assert listed(s3, "lake", "main/") == ["main/a", "main/b", "main/c", f"main/{long}"]
        first = ok(server.rest("POST", f"{at}/branches/main/commits", {"message": "first"}))
        ok(server.rest("POST", f"{at}/branches", {"name": "dev", "source": "main"}))
        s3.put_object(Bucket="lake", Key="dev/a", Body=b"changed")
        s3.delete_object(Bucket="lake", Key="dev/b")
        ok(server.rest("POST", f"{at}/branches/dev/commits", {"message": "on dev"}))
        seen = {(found["path"], found["type"]) for found in ok(server.rest("GET", f"{at}/refs/main/diff/dev"))["results"]}
        assert seen == {("a", "changed"), ("b", "removed")}
        merged = ok(server.rest("POST", f"{at}/refs/dev/merge/main", {}))["reference"]
        assert s3.get_object(Bucket="lake", Key="main/a")["Body"].read() == b"changed"
        assert s3.get_object(Bucket="lake", Key=f"{first['id']}/a")["Body"].read() == b"one"
        # Many at once: they come, and go again.
        body = {"paths": [{"type": "common_prefix", "path": f"local://{source}/", "destination": "in/"}], "commit": {"message": "imported"}}
        task = ok(server.rest("POST", f"{at}/branches/main/import", body))["id"]
        assert until_done(server, f"{at}/branches/main/import", id=task)["ingested_objects"] == IMPORTED
        keys = listed(s3, "lake", "main/in/")
        assert keys == [f"main/in/{n:04}" for n in range(IMPORTED)]
        for part in (keys[:1000], keys[1000:]):
            gone = s3.delete_objects(Bucket="lake", Delete={"Objects": [{"Key": key} for key in part]})
            assert len(gone["Deleted"]) == len(part) and "Errors" not in gone
        assert listed(s3, "lake", "main/in/") == []
        ok(server.rest("POST", f"{at}/branches/main/commits", {"message": "all gone"}))
        for n in range(8):
            ok(server.rest("POST", f"{at}/branches", {"name": f"b{n}", "source": "main"}))
            ok(server.rest("POST", f"{at}/tags", {"id": f"v{n}.0", "ref": merged}))
        task = ok(server.rest("POST", f"{at}/dump"))["id"]
        refs = until_done(server, f"{at}/dump", task_id=task)["refs"]
        ok(server.rest("POST", "/repositories", {"name": "copy", "storage_namespace": "local://lake"}, bare="true"))
        task = ok(server.rest("POST", "/repositories/copy/restore", refs))["id"]
        until_done(server, "/repositories/copy/restore", task_id=task)

        def everything(name):
            return [ok(server.rest("GET", f"/repositories/{name}/{what}")) for what in ("branches", "tags", "refs/main/commits", "refs/main/objects/ls")]

        assert everything("copy")[:3] == everything("lake")[:3]
        before = everything("lake")
        metrics = urllib.request.urlopen(server.endpoint + "/metrics", timeout=30).read().decode()
        for series in (
            'kv_request_duration_seconds_count{operation="transact",type="dynamodb"}',
            'dynamo_request_duration_seconds_count{operation="TransactWriteItems"}',
            'dynamo_failures_total{operation="Query"}',
        ):
            assert series in metrics, series
        consumed = [line for line in metrics.splitlines() if line.startswith('dynamo_consumed_capacity_total{operation="PutItem"}')]
        assert consumed and float(consumed[0].split()[-1]) > 0
        server.stop()
        server.start()
        assert everything("lake") == before
        ok(server.rest("DELETE", "/repositories/copy"))


def test_the_table_is_made_shown_and_refused_when_it_is_anothers(emulator, tmp_path):
    def migrate(server, *arguments):
        return subprocess.run([binary(), "migrate", *arguments, "--config", server.config], capture_output=True, text=True)

    server = Server(tmp_path / "one", database=emulator.section(table_name="made"))
    for command in ("version", "status", "finalize"):
        none = migrate(server, command)
        assert none.returncode == 1 and "No version information - KV not initialized." in none.stderr, none
    assert migrate(server, "up").stdout.strip() == "Database schema version: 1 (was 0)"
    assert migrate(server, "up").stdout.strip() == "No migrations to apply."
    assert migrate(server, "version").stdout.strip() == "Database schema version: 1"
    with server:
        status = migrate(server, "status").stdout
        assert "Data format: 1 " in status and "Server: lakebed " in status, status
        assert migrate(server, "finalize").stdout.strip() == "Nothing to finalize: the data has format 1."
    access = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}
    service = boto3.client("dynamodb", endpoint_url=emulator.endpoint, **access)
    made = service.describe_table(TableName="made")["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    service.create_table(
        TableName="another", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "PartitionKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PartitionKey", "AttributeType": "B"}],
    )  # fmt: skip
    another = Server(tmp_path / "two", database=emulator.section(table_name="another"))
    with pytest.raises(AssertionError, match="'another' is another program's.*database.dynamodb.table_name"):
        another.start()


def test_a_server_that_cannot_start_says_what_to_do(emulator, tmp_path):
    nobody = {"type": "dynamodb", "dynamodb": {"endpoint": "http://127.0.0.1:9", "aws_region": "us-east-1", "max_attempts": 2,
                                               "aws_access_key_id": "AKIAEMULATED", "aws_secret_access_key": "sesame-open"}}
    server = Server(tmp_path / "one", database=nobody)
    with pytest.raises(AssertionError, match="DynamoDB cannot be reached"):
        server.start()
    assert "sesame" not in server.tail()
    half = {"type": "dynamodb", "dynamodb": {"aws_access_key_id": "AKIAEMULATED"}}
    with pytest.raises(AssertionError, match="database.dynamodb.aws_secret_access_key"):
        Server(tmp_path / "two", database=half).start()


def test_readiness_follows_the_service(emulator, tmp_path):
    # Short of patience: a request is given up before the test is.
    section = emulator.section(table_name="readiness", max_attempts=2)
    with Server(tmp_path, database=section) as server:
        ok(server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"}))
        until_ready(server, 200, 5)
        for trouble in ("cut", "silence"):
            emulator.suffer(trouble)
            try:
                said = until_ready(server, 503, 10)[1]
                assert said["database"] == "the key-value engine does not answer", said
                if trouble == "cut":
                    status, said = server.rest("POST", "/repositories/lake/branches/main/objects", b"x", path="a")
                    assert status == 503, said
            finally:
                emulator.suffer(None)
            assert until_ready(server, 200, 30)[1]["database"] == "ok"
            ok(server.rest("POST", "/repositories/lake/branches/main/objects", b"x", path="a"))


def test_servers_die_and_the_service_fails_under_load(emulator, tmp_path):
    def fault(kind, count):
        body = json.dumps({"fault": kind, "count": count}).encode()
        urllib.request.urlopen(f"{emulator.endpoint}/faults", body, timeout=30).read()

    with moto_apart(BUCKET) as store:
        s3 = {"endpoint": store, "force_path_style": True, "region": "us-east-1", "credentials": {"access_key_id": STORE_KEY, "secret_access_key": STORE_SECRET}}
        section = emulator.section(table_name="several", max_attempts=4)
        # All make the table.
        servers = three(lambda n: Server(tmp_path / str(n), blockstore={"type": "s3", "s3": s3}, database=section))
        name = "repo-" + uuid.uuid4().hex[:12]
        ok(servers[0].rest("POST", "/repositories", {"name": name, "storage_namespace": f"s3://{BUCKET}/{name}"}))
        with Load(servers, name, writers=3) as load:
            load.until_more(12, 3)
            servers[0].kill()
            load.until_more(8, 2)
            servers[0].start()
            for kind in ("before", "after", "throttle", "conflict"):
                fault(kind, 3)
            load.until_more(12, 3)
            emulator.suffer("cut")
            emulator.until_suffered(20)
            emulator.suffer(None)
            load.until_more(12, 3)
            emulator.suffer("silence")
            emulator.until_suffered(4)
            servers[1].kill()
            emulator.suffer(None)
            servers[1].start()
            load.until_more(12, 3)
        emulator.settle()
        load.judge()
        for server in servers:
            server.stop()
