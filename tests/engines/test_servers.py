"""Several servers over one database and one object store: one truth, whoever is asked, whoever dies."""
import concurrent.futures
import subprocess
import time
import uuid

import boto3
import pytest

from database import Postgres
from emulators import KEY as STORE_KEY, SECRET as STORE_SECRET, moto
from lakebed_server import KEY, SECRET, Server, binary
from under_load import Load, three

BUCKET = "the-lake"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as running:
        yield running


@pytest.fixture(scope="module")
def servers(postgres, tmp_path_factory):
    """Three, started at the same moment on an empty database."""
    with moto(BUCKET) as store:
        s3 = {"endpoint": store, "force_path_style": True, "region": "us-east-1", "credentials": {"access_key_id": STORE_KEY, "secret_access_key": STORE_SECRET}}
        root = tmp_path_factory.mktemp("servers")
        all_of_them = three(lambda n: Server(root / str(n), blockstore={"type": "s3", "s3": s3}, database=postgres.section()))
        yield all_of_them
        for server in all_of_them:
            server.stop()


@pytest.fixture
def repo(servers):
    name = "repo-" + uuid.uuid4().hex[:12]
    status, made = servers[0].rest("POST", "/repositories", {"name": name, "storage_namespace": f"s3://{BUCKET}/{name}"})
    assert status == 201, made
    return name


def test_what_one_writes_the_others_show_at_once(servers, repo):
    one, two, three = servers
    at = f"/repositories/{repo}/branches/main/objects"
    for n in range(20):
        writer, reader = servers[n % 3], servers[(n + 1) % 3]
        content = f"content {n}".encode()
        assert writer.rest("POST", at, content, path=f"p/{n:02}")[0] == 201
        assert reader.rest("GET", f"/repositories/{repo}/refs/main/objects", path=f"p/{n:02}") == (200, content)
    status, commit = two.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "from the second"})
    assert status == 201, commit
    for server in servers:
        assert server.rest("GET", f"/repositories/{repo}/branches/main")[1]["commit_id"] == commit["id"]
        page = server.rest("GET", f"/repositories/{repo}/refs/main/objects/ls", prefix="p/")[1]
        assert [entry["path"] for entry in page["results"]] == [f"p/{n:02}" for n in range(20)]
        assert server.rest("GET", f"/repositories/{repo}/refs/main/diff/{commit['id']}")[1]["results"] == []
    assert three.rest("DELETE", at, path="p/00")[0] == 204
    assert one.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="p/00")[0] == 404


def test_a_multipart_upload_goes_over_all_servers(servers, repo):
    doors = [
        boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET)
        for server in servers
    ]
    upload = doors[0].create_multipart_upload(Bucket=repo, Key="main/large")["UploadId"]
    bodies = [b"a" * (5 << 20), b"b" * (5 << 20), b"c"]
    parts = []
    for number, body in enumerate(bodies, 1):
        tag = doors[number % 3].upload_part(Bucket=repo, Key="main/large", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})

    def complete(door):
        return door.complete_multipart_upload(Bucket=repo, Key="main/large", UploadId=upload, MultipartUpload={"Parts": parts})["ETag"]

    # Two at once, through different servers: both are told the same.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        tags = list(pool.map(complete, doors))
    assert len(set(tags)) == 1
    for door in doors:
        assert door.get_object(Bucket=repo, Key="main/large")["Body"].read() == b"".join(bodies)


def test_a_starting_server_leaves_the_tasks_of_the_others_alone(servers, postgres, repo, tmp_path):
    one, two, _ = servers
    for n in range(3):
        one.rest("POST", f"/repositories/{repo}/branches/main/objects", b"x", path=f"t{n}")
    ids = []
    for n in range(3):
        one.rest("POST", f"/repositories/{repo}/branches", {"name": f"b{n}", "source": "main"})
        one.rest("POST", f"/repositories/{repo}/branches/b{n}/objects", b"x", path=f"t{n}")
        status, task = one.rest("POST", f"/repositories/{repo}/branches/b{n}/commits/async", {"message": "in the background"})
        assert status == 202, task
        ids.append(task["id"])
    two.kill()
    two.start()
    deadline = time.monotonic() + 60
    for n, task in enumerate(ids):
        while True:
            status, seen = two.rest("GET", f"/repositories/{repo}/branches/b{n}/commits/async/{task}/status")
            assert status == 200, seen
            if seen["completed"] or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        assert seen["completed"] and not seen.get("error"), seen


def test_servers_die_and_the_database_restarts_under_load(servers, postgres, repo):
    with Load(servers, repo) as load:
        load.until_more(60, 15)
        servers[0].kill()
        load.until_more(30, 8)
        servers[0].start()
        load.until_more(30, 8)
        postgres.crash()
        postgres.start()
        load.until_more(60, 15)
        servers[1].kill()
        postgres.crash()
        postgres.start()
        servers[1].start()
        load.until_more(60, 15)
    load.judge()


def migrate(server, *arguments):
    return subprocess.run([binary(), "migrate", *arguments, "--config", server.config], capture_output=True, text=True)


def test_the_schema_is_shown_raised_and_refused(tmp_path):
    with Postgres() as postgres:
        server = Server(tmp_path, database=postgres.section())
        none = migrate(server, "version")
        assert none.returncode == 1 and "No version information - KV not initialized." in none.stderr
        made = migrate(server, "up")
        assert made.returncode == 0 and "Database schema version: 1" in made.stdout, made
        assert migrate(server, "up").stdout.strip() == "No migrations to apply."
        assert migrate(server, "version").stdout.strip() == "Database schema version: 1"
        with server:
            pass
        postgres.query("UPDATE lakebed_schema SET version = 2")
        for command in ("up", "version"):
            said = migrate(server, command)
            assert (said.returncode == 1 and "later one" in said.stderr) if command == "up" else "2" in said.stdout, said
        with pytest.raises(AssertionError, match="schema version 2"):
            server.start()
        assert postgres.query("SELECT version FROM lakebed_schema") == "2"


def test_a_password_is_never_logged(tmp_path):
    section = {"type": "postgres", "postgres": {"connection_string": "postgres://lakebed:sesame-open@127.0.0.1:9/postgres?sslmode=disable"}}
    server = Server(tmp_path, database=section)
    with pytest.raises(AssertionError, match="refused"):
        server.start()
    assert "sesame" not in server.tail()
