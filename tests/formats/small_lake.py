"""A small lake with something of everything that is stored, and the look at it afterwards.

`fill` was run once by the binary that wrote a format; `look` is run by each one that reads it, and must see the same.
"""
import hashlib

import boto3
from botocore.config import Config

from lakebed_server import KEY, SECRET

LARGE = b"".join(hashlib.sha256(b"block of the large object").digest() * 8 for _ in range(5000))
PART = b"p" * (5 << 20)


def s3_of(server):
    return boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                        config=Config(retries={"max_attempts": 1}))


def ask(server, method, at, body=None, expect=(200, 201, 202, 204), **query):
    status, said = server.rest(method, at, body, **query)
    assert status in expect, (method, at, status, said)
    return said


def fill(server):
    """Makes the lake; answers what cannot be seen from outside."""
    s3 = s3_of(server)
    at = "/repositories/lake"
    ask(server, "POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake", "default_branch": "main"})
    ask(server, "POST", "/repositories", {"name": "empty", "storage_namespace": "local://empty-one", "read_only": True})
    ask(server, "POST", f"{at}/metadata", {"metadata": {"owner": "the fixture"}})

    def put(branch, path, content):
        ask(server, "POST", f"{at}/branches/{branch}/objects", content, path=path)

    def commit(branch, message, **more):
        return ask(server, "POST", f"{at}/branches/{branch}/commits", {"message": message} | more)["id"]

    # More entries than one leaf holds, so that the tree has levels.
    for n in range(700):
        put("main", f"table/part={n % 7}/file-{n:04}.parquet", f"row {n}".encode())
    commit("main", "many files", metadata={"rows": "700", "ümlaut": "ja"})
    put("main", "large", LARGE)
    s3.put_object(Bucket="lake", Key="main/with metadata", Body=b"m", ContentType="text/x-own", Metadata={"colour": "blue"})
    first = commit("main", "a large one", date=1_700_000_000)
    ask(server, "POST", f"{at}/tags", {"id": "v1", "ref": first})
    ask(server, "POST", f"{at}/branches", {"name": "side", "source": "main"})
    put("side", "only/on/side", b"side")
    ask(server, "DELETE", f"{at}/branches/side/objects", path="table/part=0/file-0000.parquet")
    commit("side", "on the side")
    put("main", "only/on/main", b"main")
    commit("main", "on main")
    ask(server, "POST", f"{at}/refs/side/merge/main", {"message": "together"})
    pull = ask(server, "POST", f"{at}/pulls", {"title": "still open", "description": "d", "source_branch": "side", "destination_branch": "main"})
    ask(server, "POST", f"{at}/branches", {"name": "hidden", "source": "v1", "hidden": True})

    # Staged and not committed: rows in several layers, tombstones, a mask over a prefix and over a path.
    ask(server, "POST", f"{at}/branches", {"name": "work", "source": "main"})
    put("work", "staged/one", b"one")
    put("work", "staged/gone/a", b"dropped by the mask")
    ask(server, "DELETE", f"{at}/branches/work/objects", path="large")
    ask(server, "PUT", f"{at}/branches/work", {"type": "common_prefix", "path": "staged/gone/"})
    put("work", "staged/two", b"two")
    put("work", "table/part=1/file-0001.parquet", b"changed")
    put("work", "staged/reset", b"dropped by the reset of a path")
    ask(server, "PUT", f"{at}/branches/work", {"type": "object", "path": "staged/reset"})
    put("work", "staged/three", b"three")

    upload = s3.create_multipart_upload(Bucket="lake", Key="work/in parts", ContentType="text/parts", Metadata={"a": "b"})["UploadId"]
    s3.upload_part(Bucket="lake", Key="work/in parts", UploadId=upload, PartNumber=1, Body=PART)
    done = s3.create_multipart_upload(Bucket="lake", Key="work/was in parts")["UploadId"]
    tag = s3.upload_part(Bucket="lake", Key="work/was in parts", UploadId=done, PartNumber=1, Body=b"whole")["ETag"]
    s3.complete_multipart_upload(Bucket="lake", Key="work/was in parts", UploadId=done, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})

    ask(server, "POST", f"{at}/branches", {"name": "tasks", "source": "main"})
    put("tasks", "by a task", b"t")
    task = ask(server, "POST", f"{at}/branches/tasks/commits/async", {"message": "in the background"})["id"]
    while not ask(server, "GET", f"{at}/branches/tasks/commits/async/{task}/status")["completed"]:
        pass
    ask(server, "PUT", f"{at}/settings/branch_protection", [{"pattern": "release-*"}])
    ask(server, "PUT", f"{at}/settings/gc_rules", {"default_retention_days": 21, "branches": [{"branch_id": "main", "retention_days": 30}]})
    return {"upload": upload, "task": task, "pull": pull["id"]}


def look(server, known):
    """What a client sees, as a document that can be compared."""
    s3 = s3_of(server)
    at = "/repositories/lake"

    def listing(ref, prefix=""):
        found, after = {}, ""
        while True:
            page = ask(server, "GET", f"{at}/refs/{ref}/objects/ls", amount=1000, after=after, prefix=prefix)
            for entry in page["results"]:
                found[entry["path"]] = [entry[name] for name in ("checksum", "size_bytes", "mtime", "content_type", "physical_address")] + [entry.get("metadata")]
            if not page["pagination"]["has_more"]:
                return found
            after = page["pagination"]["next_offset"]

    def digest(ref, path):
        return hashlib.sha256(ask(server, "GET", f"{at}/refs/{ref}/objects", path=path)).hexdigest()

    refs = {ref: listing(ref) for ref in ("main", "side", "v1", "hidden", "work", "tasks")}
    parts = s3.list_parts(Bucket="lake", Key="work/in parts", UploadId=known["upload"])
    return {
        "repositories": ask(server, "GET", "/repositories")["results"],
        "metadata": ask(server, "GET", f"{at}/metadata"),
        "branches": ask(server, "GET", f"{at}/branches")["results"] + [ask(server, "GET", f"{at}/branches/hidden")],
        "tags": ask(server, "GET", f"{at}/tags")["results"],
        "logs": {ref: ask(server, "GET", f"{at}/refs/{ref}/commits", amount=100)["results"] for ref in ("main", "side", "tasks")},
        "by path": ask(server, "GET", f"{at}/refs/main/commits", objects="only/on/side")["results"],
        "objects": refs,
        "contents": {path: digest("work", path) for path in refs["work"] if not path.startswith("table/part=2")},
        "large": digest("v1", "large"),
        "uncommitted": ask(server, "GET", f"{at}/branches/work/diff", amount=100)["results"],
        "diff": ask(server, "GET", f"{at}/refs/v1/diff/main", amount=100)["results"],
        "upload": [[part["PartNumber"], part["ETag"], part["Size"]] for part in parts["Parts"]],
        "uploads": [upload["Key"] for upload in s3.list_multipart_uploads(Bucket="lake", Prefix="work/")["Uploads"]],
        "pull": ask(server, "GET", f"{at}/pulls/{known['pull']}"),
        "protection": ask(server, "GET", f"{at}/settings/branch_protection"),
        "retention": ask(server, "GET", f"{at}/settings/gc_rules"),
        "user": ask(server, "GET", "/user"),
        "alive": str(server.alive()),
    }


def go_on(server, known):
    """Works on top of what is there: finishes what was begun, commits, merges, deletes."""
    s3 = s3_of(server)
    at = "/repositories/lake"
    tag = s3.upload_part(Bucket="lake", Key="work/in parts", UploadId=known["upload"], PartNumber=2, Body=b"end")["ETag"]
    parts = s3.list_parts(Bucket="lake", Key="work/in parts", UploadId=known["upload"])["Parts"]
    assert parts[1]["ETag"] == tag
    parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
    s3.complete_multipart_upload(Bucket="lake", Key="work/in parts", UploadId=known["upload"], MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket="lake", Key="work/in parts")["Body"].read() == PART + b"end"
    ask(server, "POST", f"{at}/branches/work/objects", b"new", path="new")
    before = ask(server, "GET", f"{at}/refs/work/objects/ls", amount=1000, prefix="staged/")["results"]
    made = ask(server, "POST", f"{at}/branches/work/commits", {"message": "on top"})
    assert ask(server, "GET", f"{at}/branches/work/diff")["results"] == []
    assert ask(server, "GET", f"{at}/refs/{made['id']}/objects/ls", amount=1000, prefix="staged/")["results"] == before
    merged = ask(server, "POST", f"{at}/refs/work/merge/main", {"message": "all of it"})["reference"]
    assert ask(server, "GET", f"{at}/refs/{merged}/objects", path="staged/three") == b"three"
    ask(server, "GET", f"{at}/refs/{merged}/objects/stat", expect=(404,), path="large")
    ask(server, "PUT", f"{at}/pulls/{known['pull']}/merge", expect=(200, 400, 409))
    ask(server, "DELETE", f"{at}/branches/side")
    ask(server, "POST", f"{at}/branches", {"name": "release-1", "source": "main"})
    ask(server, "POST", f"{at}/branches/release-1/objects", b"x", expect=(403,), path="x")
    ask(server, "POST", "/repositories/empty/branches", {"name": "b", "source": "main"}, expect=(403,))
