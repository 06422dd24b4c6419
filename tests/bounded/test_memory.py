"""Memory is bounded by a setting, never by how much is in a repository or changes in it (invariant 4).

The full form (`LAKEBED_BOUNDED=full`, a part of `make test-all`): one million objects, 300,000 of them uncommitted. The
short form is a twentieth of that. Listing a page, committing, diffing and merging stay under the same bound.
"""
import concurrent.futures
import json
import os
import socket
import urllib.parse

from doors import BASIC, Door

SCALE = 20 if os.environ.get("LAKEBED_BOUNDED") == "full" else 1
COMMITTED, UNCOMMITTED = 35_000 * SCALE, 15_000 * SCALE
MOST_MEMORY = 300 << 20
BATCH = 100


def stage(server, repo, branch, paths):
    """Registers an entry for every path, many requests on the way at once on each of many connections."""

    def some(paths):
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection, connection.makefile("rb") as answers:
            for start in range(0, len(paths), BATCH):
                batch = paths[start : start + BATCH]
                requests = b""
                for path in batch:
                    body = json.dumps({"physical_address": f"local://elsewhere/{path}", "checksum": f"{hash(path) & 0xFFFFFFFFFFFF:032x}", "size_bytes": 1000}).encode()
                    query = urllib.parse.quote(path, safe="")
                    requests += (
                        f"PUT /api/v1/repositories/{repo}/branches/{branch}/objects?path={query} HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\n"
                        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    ).encode() + body
                connection.sendall(requests)
                for _ in batch:
                    status, length = answers.readline(), 0
                    assert b" 201 " in status, status + answers.read(400)
                    while (line := answers.readline().lower().strip()):
                        if line.startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    answers.read(length)

    lanes = 64
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        for done in [pool.submit(some, paths[lane::lanes]) for lane in range(lanes)]:
            done.result()


def test_a_large_repository_takes_little_memory(server, repo):
    door = Door(server.port)
    at = f"/repositories/{repo}"

    def ok(answer):
        status, content = answer
        assert status in (200, 201, 204), content
        return content

    def remembers(what):
        print(f"{what}: {server.memory() >> 20} MiB at the peak so far")
        assert server.memory() < MOST_MEMORY, f"{what}: {server.memory() >> 20} MiB at the peak"

    # What is committed came in by tenths, as a lake grows.
    step = COMMITTED // 10
    for start in range(0, COMMITTED, step):
        stage(server, repo, "main", [f"data/year={n % 30}/part-{n:08}.parquet" for n in range(start, start + step)])
        ok(door.rest("POST", f"{at}/branches/main/commits", {"message": f"from {start}"}))
    remembers("growing")
    ok(door.rest("POST", f"{at}/branches", {"name": "dev", "source": "main"}))
    stage(server, repo, "dev", [f"data/year={n % 30}/part-{n + COMMITTED:08}.parquet" for n in range(UNCOMMITTED)])

    remembers("staging on a branch")
    page = ok(door.rest("GET", f"{at}/refs/dev/objects/ls", amount=1000, after="data/year=15/"))
    assert len(page["results"]) == 1000 and page["pagination"]["has_more"]
    years = ok(door.rest("GET", f"{at}/refs/dev/objects/ls", delimiter="/", prefix="data/"))
    assert len(years["results"]) == 30
    diff = ok(door.rest("GET", f"{at}/branches/dev/diff", amount=1000))
    assert len(diff["results"]) == 1000 and {entry["type"] for entry in diff["results"]} == {"added"}
    ok(door.rest("POST", f"{at}/branches/dev/commits", {"message": "the rest"}))
    diff = ok(door.rest("GET", f"{at}/refs/main/diff/dev", amount=1000))
    assert len(diff["results"]) == 1000
    ok(door.rest("POST", f"{at}/refs/dev/merge/main", {}))
    remembers("commit, diff, merge")

    # Every object is there once: the listing is walked whole, page by page, through the S3 door.
    seen, token = 0, None
    while True:
        query = {"list-type": "2", "prefix": "main/data/"} | ({"continuation-token": token} if token else {})
        status, content, _ = door.s3("GET", repo, query=query)
        assert status == 200, content
        seen += content.count(b"<Key>")
        if b"<IsTruncated>false" in content:
            break
        token = content.split(b"<NextContinuationToken>")[1].split(b"<")[0].decode()
    assert seen == COMMITTED + UNCOMMITTED
    remembers("listing everything")

    # Many deletions in front of a page do not cost memory either.
    for start in range(0, UNCOMMITTED, 1000):
        paths = [f"data/year={n % 30}/part-{n:08}.parquet" for n in range(start, start + 1000)]
        assert ok(door.rest("POST", f"{at}/branches/main/objects/delete", {"paths": paths})) == {"errors": []}
    page = ok(door.rest("GET", f"{at}/refs/main/objects/ls", amount=1000))
    assert len(page["results"]) == 1000
    remembers("deletions")
