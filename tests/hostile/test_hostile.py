"""Whatever arrives, the client gets a clear refusal in its own protocol, and nothing is lost (invariant 7).

Every case is made from a seed that a failure prints. A canary object must keep its content, the server must go on, and
its log must not say that anything panicked (the server fixture looks).
"""
import json
import os
import random
import socket
import xml.etree.ElementTree as ET

import pytest

from doors import BASIC, Door, NoAnswer
from lakebed_server import KEY

SEED = int(os.environ.get("LAKEBED_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("LAKEBED_ROUNDS", 400))

# What is not there to be found, or not served yet, may say so with these.
SERVED_LATER = {501}


@pytest.fixture
def rng(request):
    print(f"LAKEBED_SEED={SEED}")
    return random.Random(f"{SEED}/{request.node.name}")


@pytest.fixture
def canary(server, repo):
    door = Door(server.port)
    assert door.rest("POST", f"/repositories/{repo}/branches/main/objects", b"alive", path="canary")[0] == 201
    yield door
    assert door.rest("GET", f"/repositories/{repo}/refs/main/objects", path="canary") == (200, b"alive")


def text(rng, longest=40):
    kinds = [
        lambda: "".join(chr(rng.randrange(1, 128)) for _ in range(rng.randrange(longest))),
        lambda: "".join(chr(rng.randrange(0x20, 0xD7FF)) for _ in range(rng.randrange(longest))),
        lambda: rng.choice(["", ".", "..", "../..", "/", "//", "%00", "%2e%2e%2f", "~", "^", "main~", "main^9", "@", "$", "main@{0}", "-", "*", "'", '"', "\\", "\x00", "\n", "null", "undefined", "0", "-1", "1e9", "9" * 30, "true", "é", "💥", "a" * 300]),
        lambda: "a" * rng.choice([1, 100, 1025, 5000]),
        lambda: rng.choice(["main", "canary", "master", "refs", "data/x"]),
    ]
    return rng.choice(kinds)()


def value(rng, depth=0):
    kinds = [lambda: text(rng), lambda: rng.randrange(-(1 << 70), 1 << 70), lambda: None, lambda: rng.random(), lambda: rng.random() < 0.5]
    if depth < 3:
        kinds.append(lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))])
        kinds.append(lambda: {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))})
    return rng.choice(kinds)()


FIELDS = ["name", "storage_namespace", "default_branch", "source", "id", "ref", "message", "metadata", "date", "paths", "src_path", "src_ref",
          "set", "parent_number", "strategy", "force", "staging", "checksum", "size_bytes", "physical_address", "commit", "parts", "patterns", "title"]
PLACES = ["/repositories", "/repositories/{r}", "/repositories/{r}/branches", "/repositories/{r}/branches/{x}", "/repositories/{r}/branches/{x}/objects",
          "/repositories/{r}/branches/{x}/objects/delete", "/repositories/{r}/branches/{x}/objects/copy", "/repositories/{r}/branches/{x}/commits",
          "/repositories/{r}/branches/{x}/revert", "/repositories/{r}/branches/{x}/cherry-pick", "/repositories/{r}/branches/{x}/diff",
          "/repositories/{r}/branches/{x}/staging/backing", "/repositories/{r}/refs/{x}/merge/{y}", "/repositories/{r}/refs/{x}/diff/{y}",
          "/repositories/{r}/refs/{x}/commits", "/repositories/{r}/refs/{x}/objects", "/repositories/{r}/refs/{x}/objects/ls",
          "/repositories/{r}/refs/{x}/objects/stat", "/repositories/{r}/tags", "/repositories/{r}/tags/{x}", "/repositories/{r}/commits/{x}",
          "/repositories/{r}/settings/branch_protection", "/repositories/{r}/metadata", "/repositories/{r}/branches/{x}/staging/pmpu/{y}",
          "/repositories/{r}/pulls", "/repositories/{r}/pulls/{x}", "/auth/login", "/setup_lakefs", "/user", "/config", "/statistics", "/{x}", "/{x}/{y}"]
PARAMETERS = ["path", "prefix", "after", "amount", "delimiter", "ref", "type", "dest_path", "objects", "since", "stop_at", "limit", "first_parent", "presign", "force", "user_metadata", "show_hidden"]


def quoted(part):
    import urllib.parse

    return urllib.parse.quote(part.encode("utf-8", "surrogatepass"), safe="")


def test_rest_refuses_in_json(rng, canary, server, repo):
    import urllib.parse

    for index in range(ROUNDS):
        place = rng.choice(PLACES).format(r=rng.choice([repo, repo, repo, quoted(text(rng)) or "x"]), x=quoted(text(rng)) or "x", y=quoted(text(rng)) or "x")
        query = [(rng.choice(PARAMETERS), text(rng)) for _ in range(rng.randrange(4))]
        method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
        # The canary and its home are not for deleting.
        if method == "DELETE" and place in (f"/repositories/{repo}", f"/repositories/{repo}/branches/main"):
            continue
        if rng.random() < 0.8:
            body = json.dumps({rng.choice(FIELDS): value(rng) for _ in range(rng.randrange(5))} if rng.random() < 0.8 else value(rng)).encode()
        else:
            body = bytes(rng.randrange(256) for _ in range(rng.randrange(60)))
        headers = {"Authorization": BASIC, "Content-Type": rng.choice(["application/json", "application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "x"])}
        if rng.random() < 0.2:
            headers[rng.choice(["Range", "If-None-Match", "If-Match", "X-Lakefs-Meta-a", "Cookie", "Accept"])] = rng.choice(["bytes=9-1", "*", '"', "bytes=-", "x" * 5000, "internal_auth_session=x"])
        url = f"/api/v1{place}" + ("?" + urllib.parse.urlencode(query, errors="surrogatepass") if query else "")
        if "canary" in url and method in ("DELETE", "PUT", "POST") or "canary" in body.decode("latin-1") and "delete" in url or "reset" in url:
            continue
        if method == "PUT" and url.split("?")[0] == f"/api/v1/repositories/{repo}/branches/main":
            continue  # a reset would take the canary, and rightly
        shown = f"[{index}] {method} {url} {headers} {body[:200]!r}"
        status, content, answered = send(canary, method, url, body, headers, shown)
        assert status < 500 or status in SERVED_LATER, f"{shown}: {status} {content[:500]!r}"
        if status >= 400 and method != "HEAD" and "json" in answered.get("Content-Type", ""):
            assert json.loads(content)["message"], shown


def test_s3_refuses_in_xml(rng, canary, server, repo):
    subs = ["", "acl", "tagging", "uploads", "uploadId", "delete", "versions", "list-type", "partNumber", "attributes", "policy", "select", "location", "retention"]
    names = ["x-amz-copy-source", "x-amz-meta-a", "Range", "Content-MD5", "x-amz-checksum-crc32", "x-amz-tagging", "x-amz-acl", "If-Match", "If-None-Match", "x-amz-storage-class",
             "x-amz-metadata-directive", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-sdk-checksum-algorithm", "x-amz-object-attributes"]
    bodies = [b"", b"<", b"<Delete/>", b"<Delete><Object><Key>nothing</Key></Object></Delete>", b"<Delete><Object></Object></Delete>", b"<CompleteMultipartUpload/>",
              b'<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>', b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", b"\xff\xfe", b"<a>" * 5000]
    for index in range(ROUNDS):
        bucket = rng.choice([repo, repo, repo, "no-such-repository", text(rng, 10)])
        key = rng.choice(["", "main", "main/", "main/" + text(rng), "main/x", f"{text(rng)}/{text(rng)}"])
        query = {name: rng.choice(["", "1", "2", text(rng)]) for name in rng.sample(subs, rng.randrange(3)) if name}
        for name in rng.sample(["prefix", "delimiter", "max-keys", "marker", "encoding-type", "continuation-token", "versionId", "max-parts"], rng.randrange(3)):
            query[name] = text(rng)
        headers = {}
        for name in rng.sample(names, rng.randrange(3)):
            candidate = rng.choice(["", "x", "*", f"/{repo}/main/canary", f"{repo}/main/%ff", "bytes=5-1", "a=b&a=b", "AAAA", "1", "CRC32", "REPLACE", text(rng)])
            headers[name] = candidate.encode("latin-1", "replace").decode("latin-1").replace("\n", "").replace("\r", "").replace("\x00", "")
        method = rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD"])
        if key == "main/canary" and method != "GET":
            continue
        at = f"{bucket}/{key}".encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        shown = f"[{index}] {method} {at!r} {query} {headers}"
        try:
            status, content, answered = canary.s3(method, at, rng.choice(bodies), query, headers)
        except (NoAnswer, UnicodeError, ValueError):
            continue  # a client that cannot send it, or a connection that was closed on it
        assert status < 500 or status in SERVED_LATER, f"{shown}: {status} {content[:800]!r}"
        if status >= 400 and method != "HEAD" and content:
            root = ET.fromstring(content)
            assert root.tag == "Error" and root.find("Code").text and root.find("Message").text, shown


def test_wrong_signatures_are_refused(rng, canary, server, repo):
    for _ in range(ROUNDS // 4):
        pieces = ["AWS4-HMAC-SHA256 ", "AWS ", "Credential=", KEY, "/20200101/us-east-1/s3/aws4_request", ",", "SignedHeaders=host", ";", "Signature=", "0" * 64, ":", " ", text(rng, 10).encode("ascii", "ignore").decode()]
        value = "".join(rng.choices(pieces, k=rng.randrange(1, 8))).replace("\n", "").replace("\r", "").replace("\x00", "").strip()
        value = rng.choice(["AWS4-HMAC-SHA256 ", "AWS "]) + value
        headers = {"Authorization": value, "x-amz-date": rng.choice(["", "20200101T000000Z", "x"]), "x-amz-content-sha256": rng.choice(["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x"])}
        status, content, _ = send(canary, rng.choice(["GET", "PUT", "DELETE"]), f"/{repo}/main/canary", b"overwritten", headers, value)
        assert 400 <= status < 500 and ET.fromstring(content).tag == "Error", (value, status, content)
        query = "&".join(rng.choices(["X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Credential=x", "X-Amz-Signature=0", "X-Amz-Expires=9", "X-Amz-Date=20200101T000000Z", "AWSAccessKeyId=x&Signature=y&Expires=z"], k=3))
        status, content, _ = send(canary, "PUT", f"/{repo}/main/canary?{query}", b"overwritten", {}, query)
        assert 400 <= status < 500, (query, status, content)


def send(door, method, url, body, headers, shown):
    try:
        return door.send(method, url, body, headers)
    except NoAnswer as error:
        # The head was too long or malformed: the connection ends, with or without a word. The server must go on.
        assert "timed out" not in str(error), shown
        return 400, b"", {}
    except (ValueError, UnicodeError):
        return 400, b"", {}  # the client library refuses to send it


def exchange(server, request, finish=True):
    """Raw bytes; everything that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        try:
            connection.sendall(request)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer
        except (ConnectionResetError, BrokenPipeError):
            return b""


def test_garbage_on_the_wire(rng, canary, server, repo):
    auth = f"Authorization: {BASIC}\r\n".encode()
    at = f"/api/v1/repositories/{repo}/branches/main/objects?path=broken".encode()
    fixed = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
        b"POST " + at + b" HTTP/1.1\r\nHost: x\r\n" + auth + b"Content-Length: 99\r\n\r\nshort",
        b"POST " + at + b" HTTP/1.1\r\nHost: x\r\n" + auth + b"Content-Length: -1\r\n\r\n",
        b"POST " + at + b" HTTP/1.1\r\nHost: x\r\n" + auth + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST " + at + b" HTTP/1.1\r\nHost: x\r\n" + auth + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"POST " + at + b" HTTP/1.1\r\nHost: x\r\n" + auth + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
        b"POST " + at + b" HTTP/1.1\r\nHost: x\r\n" + auth + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(rng.randrange(256) for _ in range(200)),
    ]
    for request in fixed:
        answer = exchange(server, request)
        status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/1") else b""
        assert not status.startswith(b"5"), (request[:100], answer[:300])
    for _ in range(ROUNDS // 4):
        answer = exchange(server, bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300))) + b"\r\n\r\n")
        assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]
    # A broken upload leaves nothing.
    assert canary.rest("GET", f"/repositories/{repo}/refs/main/objects", path="broken")[0] == 404
