"""Whatever arrives at the S3 door, the client gets a clear refusal in XML, and nothing is lost (invariant 7)."""
import base64
import hashlib
import zlib

import pytest

from arbitrary import damaged, header, quoted, text
from doors import Door
from lakebed_server import KEY, SECRET
from sigv4 import STREAMING, UNSIGNED, Signer, query_string
from wire import check_s3, error_code, request

SIGNER = Signer(KEY, SECRET)
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SUBS = [
    "acl", "tagging", "uploads", "uploadId", "delete", "versions", "versioning", "list-type", "partNumber", "attributes", "policy", "policyStatus", "select",
    "select-type", "location", "retention", "legal-hold", "object-lock", "restore", "torrent", "cors", "lifecycle", "replication", "website", "logging",
    "notification", "encryption", "accelerate", "requestPayment", "publicAccessBlock", "ownershipControls", "intelligent-tiering", "inventory", "analytics", "metrics", "session", "x-id", "events",
]  # fmt: skip
PARAMETERS = ["prefix", "delimiter", "max-keys", "marker", "start-after", "encoding-type", "continuation-token", "fetch-owner", "versionId", "max-parts", "part-number-marker", "key-marker", "upload-id-marker", "max-uploads", "response-content-type", "response-expires"]  # fmt: skip
HEADERS = [
    "x-amz-copy-source", "x-amz-copy-source-range", "x-amz-copy-source-if-match", "x-amz-copy-source-if-modified-since", "x-amz-meta-a", "Range", "Content-MD5",
    "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme", "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-tagging", "x-amz-acl", "x-amz-grant-read",
    "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "x-amz-storage-class", "x-amz-metadata-directive", "x-amz-tagging-directive", "x-amz-decoded-content-length",
    "x-amz-trailer", "x-amz-sdk-checksum-algorithm", "x-amz-object-attributes", "x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-key", "x-amz-website-redirect-location",
    "x-amz-object-lock-mode", "x-amz-write-offset-bytes", "x-amz-max-parts", "x-amz-mp-object-size", "x-amz-expected-bucket-owner", "x-amz-bypass-governance-retention", "Content-Encoding", "Content-Type", "Expires", "x-amz-security-token",
]  # fmt: skip
VALUES = ["", "x", "*", "AAAA", "1", "-1", "CRC32", "REPLACE", "COPY", "bytes=5-1", "bytes=0-0,1-1", "a=b&a=b", "a", "&&=", '"x"', "W/", "Thu, 99 Foo 2026", "99999999999999999999", "aws-chunked", "private", "STANDARD"]
DOCUMENTS = [
    b"<Delete><Object><Key>main/x</Key></Object></Delete>", b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>", b"<AccessControlPolicy/>", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
]  # fmt: skip
NO_DOCUMENTS = [
    b"", b"<", b"text", b"\xff\xfe<", b"<a>" * 5000, b"<a>" * 100_000, b"<Delete/>", b"<Delete></Object></Delete>", b"<?xml version='9'?>", b"{}", b"\x00" * 100, b"<Delete>" + b" " * 3_000_000,
    b'<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><Delete><Object><Key>&b;&b;</Key></Object></Delete>',
    b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Delete><Object><Key>x</Key></Object></Delete>', b"<Delete><Object><Key>&#x110000;</Key></Object></Delete>", b"<Delete " + b"a='b' " * 10_000 + b"/>",
]  # fmt: skip


def signed(server, method, path, query=None, headers=None, body=b"", payload=None, signer=SIGNER, half_close=False, sent=None):
    """A signed request on an escaped path. `sent` replaces the body behind the signature."""
    host = f"127.0.0.1:{server.port}"
    lines = signer.headers(method, host, path, query, body if payload is None else payload, headers)
    lines.pop("host")
    target = path + ("?" + query_string(query) if query else "")
    return request(server.port, method, target, list(lines.items()), body if sent is None else sent, half_close)


def absent(server, repo, path):
    door = Door(server.port)
    try:
        return door.rest("GET", f"/repositories/{repo}/refs/main/objects", path=path)[0] == 404
    finally:
        door.close()


def test_anything_at_random(rng, canary, server, rounds):
    for index in range(rounds):
        bucket = rng.choice([canary] * 5 + ["no-such-repository", quoted(rng)])
        key = rng.choice(["", "/", "/main", "/main/", "/main/there", "/main/x", "/main/" + quoted(rng), f"/{quoted(rng)}/{quoted(rng)}", "/main//" + quoted(rng)])
        if "canary" in bucket:
            continue
        query = {name: rng.choice(["", "", "1", "2", "url", text(rng)]) for name in rng.sample(SUBS, rng.choice([0, 1, 1, 2]))}
        query |= {name: rng.choice(["", "0", "1", "-1", "1001", "/", text(rng)]) for name in rng.sample(PARAMETERS, rng.choice([0, 0, 1, 3]))}
        query = {name: given.encode("utf-8", "replace").decode() for name, given in query.items()}
        headers = {}
        for name in rng.sample(HEADERS, rng.choice([0, 1, 2])):
            given = rng.choice([*VALUES, f"/{canary}/main/there", f"{canary}/main/%ff", header(rng).decode("ascii", "ignore")])
            headers[name] = given.strip()
        method = rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD"])
        body = rng.choice([b"", b"", rng.choice(NO_DOCUMENTS[:7]), rng.choice(DOCUMENTS), damaged(rng, rng.choice(DOCUMENTS)), rng.randbytes(50)])
        path = f"/{bucket}{key}"
        shown = f"[{index}] {method} {path[:300]} {query} {headers} {body[:200]!r}"
        check_s3(signed(server, method, path, query, headers, body), shown, method)


def test_every_sub_resource_with_every_method(canary, server):
    for sub in SUBS:
        for method in ["GET", "PUT", "POST", "DELETE", "HEAD"]:
            for path in ["/", f"/{canary}", f"/{canary}/main/none", "/no-such-repository", "/no-such-repository/main/x", f"/{canary}/main", f"/{canary}/no-such-branch/x"]:
                check_s3(signed(server, method, path, {sub: ""}), f"{method} {path}?{sub}", method)


@pytest.mark.parametrize("document", NO_DOCUMENTS, ids=range(len(NO_DOCUMENTS)))
def test_documents_that_make_no_sense_are_refused(canary, server, document):
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(document).digest()).decode()}
    for method, path, query in [
        ("POST", f"/{canary}", {"delete": ""}),
        ("POST", f"/{canary}/main/x", {"uploadId": "none"}),
        ("PUT", f"/{canary}/main/there", {"tagging": ""}),
    ]:
        answer = signed(server, method, path, query, md5, document)
        check_s3(answer, document[:100])
        assert 400 <= answer.status < 500, answer


def test_deletes_of_too_many_or_nothing_are_refused(canary, server):
    many = b"<Delete>" + b"<Object><Key>main/x</Key></Object>" * 1001 + b"</Delete>"
    for body in [many, b"<Delete><Object/></Delete>", b"<Delete><Object><Key></Key></Object></Delete>"]:
        md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        answer = signed(server, "POST", f"/{canary}", {"delete": ""}, md5, body)
        check_s3(answer, body[:100])
        assert answer.status == 400 or b"<Error>" in answer.body, answer


BODY = b"the body of a put" * 10
DIGESTS = {
    "another MD5": ({"Content-MD5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}, None, {"BadDigest"}),
    "no MD5": ({"Content-MD5": "x"}, None, {"InvalidDigest"}),
    "a short MD5": ({"Content-MD5": "AAAA"}, None, {"InvalidDigest"}),
    "another SHA-256 signed": ({}, hashlib.sha256(b"other").hexdigest(), {"XAmzContentSHA256Mismatch"}),
    "no SHA-256 signed": ({}, "zz", None),
    "another CRC-32": ({"x-amz-checksum-crc32": "AAAAAA=="}, None, {"BadDigest"}),
    "no CRC-32": ({"x-amz-checksum-crc32": "x"}, None, None),
    "another SHA-256": ({"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}, None, {"BadDigest"}),
    "two checksums": ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}, None, None),
    "an unknown algorithm": ({"x-amz-sdk-checksum-algorithm": "MD4"}, None, None),
}


@pytest.mark.parametrize("case", DIGESTS)
def test_a_body_that_is_not_what_it_says_stores_nothing(canary, server, case):
    headers, payload, codes = DIGESTS[case]
    answer = signed(server, "PUT", f"/{canary}/main/broken", None, headers, BODY, payload)
    check_s3(answer, case)
    if case == "an unknown algorithm" and answer.status == 200:
        return  # without a checksum of that kind there is nothing to compare
    assert 400 <= answer.status < 500 and (codes is None or error_code(answer) in codes), answer
    assert absent(server, canary, "broken")


def chunked(server, canary, framing, trailer=None, length=None, payload=None):
    """A put of BODY in aws-chunked form; `framing` makes what is sent from a well-formed body."""
    path, host = f"/{canary}/main/broken", f"127.0.0.1:{server.port}"
    payload = payload or (TRAILER if trailer else STREAMING)
    headers = {"x-amz-decoded-content-length": str(len(BODY)) if length is None else length, "content-encoding": "aws-chunked"}
    if trailer:
        headers["x-amz-trailer"] = trailer
    lines = SIGNER.headers("PUT", host, path, None, payload, headers)
    if payload == STREAMING:
        whole = SIGNER.chunks([BODY[:100], BODY[100:]], lines)
    else:
        crc = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
        whole = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nx-amz-checksum-crc32:" + crc.encode() + b"\r\n\r\n"
    lines.pop("host")
    return request(server.port, "PUT", path, list(lines.items()), framing(whole))


def last_chunk(whole):
    return whole.rindex(b"0;chunk-signature")


FRAMINGS = {
    "a wrong signature": lambda w: w.replace(b"chunk-signature=", b"chunk-signature=0", 1),
    "another signature": lambda w: w.replace(w[w.index(b"=") + 1 : w.index(b"=") + 65], b"0" * 64, 1),
    "no signature": lambda w: w.replace(b";chunk-signature=" + w[w.index(b"=") + 1 : w.index(b"=") + 65], b"", 1),
    "a size that is no number": lambda w: b"zz" + w[2:],
    "a negative size": lambda w: b"-" + w,
    "a huge size": lambda w: b"f" * 30 + w,
    "an endless size": lambda w: b"0" * 100_000 + w,
    "other bytes": lambda w: w.replace(b"body", b"BODY", 1),
    "no line end": lambda w: w.replace(b"\r\n", b"", 1),
    "no last chunk": lambda w: w[: last_chunk(w)],
    "half": lambda w: w[: len(w) // 2],
    "nothing": lambda w: b"",
    "garbage": lambda w: b"\x00\xff" * 200,
    "chunks in another order": lambda w: w[last_chunk(w) :] + w[: last_chunk(w)],
}


@pytest.mark.parametrize("case", FRAMINGS)
def test_broken_signed_chunks_store_nothing(canary, server, case):
    answer = chunked(server, canary, FRAMINGS[case])
    check_s3(answer, case)
    assert 400 <= answer.status < 500, answer
    assert absent(server, canary, "broken")


TRAILERS = {
    "another checksum": lambda w: w[: w.rindex(b":") + 1] + b"AAAAAA==\r\n\r\n",
    "no checksum": lambda w: w[: w.rindex(b":") + 1] + b"x\r\n\r\n",
    "another trailer": lambda w: w.replace(b"x-amz-checksum-crc32:", b"x-amz-checksum-sha1:"),
    "no trailer": lambda w: w[: w.rindex(b"0\r\n")] + b"0\r\n\r\n",
    "a trailer without colon": lambda w: w[: w.rindex(b"0\r\n")] + b"0\r\nx-amz-checksum-crc32\r\n\r\n",
    "an endless trailer": lambda w: w[: w.rindex(b":") + 1] + b"A" * 200_000,
    "a broken chunk": lambda w: b"zz" + w,
    "half": lambda w: w[: len(w) // 2],
}


@pytest.mark.parametrize("case", TRAILERS)
def test_broken_trailers_store_nothing(canary, server, case):
    answer = chunked(server, canary, TRAILERS[case], trailer="x-amz-checksum-crc32")
    check_s3(answer, case)
    assert 400 <= answer.status < 500, answer
    assert absent(server, canary, "broken")


@pytest.mark.parametrize("length", ["", "x", "-1", "0", "1", str(len(BODY) - 1), str(len(BODY) + 1), "9" * 30])
def test_a_wrong_decoded_length_stores_nothing(canary, server, length):
    answer = chunked(server, canary, lambda w: w, length=length)
    check_s3(answer, length)
    assert 400 <= answer.status < 500, answer
    assert absent(server, canary, "broken")


def test_well_formed_chunks_are_taken(canary, server):
    """What the broken ones are made from."""
    for trailer in (None, "x-amz-checksum-crc32"):
        assert chunked(server, canary, lambda w: w, trailer).status == 200
    assert Door(server.port).s3("GET", f"{canary}/main/broken")[:2] == (200, BODY)


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_body_that_breaks_off_stores_nothing(canary, server, size):
    headers = SIGNER.headers("PUT", f"127.0.0.1:{server.port}", f"/{canary}/main/broken", None, UNSIGNED)
    headers.pop("host")
    answer = request(server.port, "PUT", f"/{canary}/main/broken", [*headers.items(), ("Content-Length", size + 1)], b"b" * size, half_close=True)
    assert answer is None or 400 <= answer.status < 500, answer
    assert absent(server, canary, "broken")


def test_wrong_signatures_are_refused(rng, canary, server, rounds):
    path = f"/{canary}/main/there"
    for index in range(rounds // 5):
        lines = SIGNER.headers("PUT", f"127.0.0.1:{server.port}", path, None, b"overwritten")
        lines.pop("host")
        name = rng.choice(["authorization", "authorization", "x-amz-date", "x-amz-content-sha256"])
        # The algorithm stays: without it the request is for another door.
        kept = "AWS4-HMAC-SHA256 " if name == "authorization" else ""
        good = lines[name]
        spoiled = damaged(rng, good.removeprefix(kept).encode())
        spoiled = bytes(byte for byte in spoiled if byte >= 32 and byte != 127).strip()
        if kept + spoiled.decode("latin-1") == good:
            continue
        lines[name] = kept.encode() + spoiled
        # Parts that mean nothing may be added: the signature is over the rest.
        intact = name == "authorization" and all(part.encode() in lines[name] for part in good.removeprefix(kept).split(", "))
        answer = request(server.port, "PUT", path, list(lines.items()), b"overwritten")
        shown = f"[{index}] {name}: {lines[name]!r}"
        check_s3(answer, shown)
        assert 400 <= answer.status < 500 or intact, f"{answer}: {shown}"
    status, content, _ = Door(server.port).s3("GET", path[1:])
    assert status == 200 and content in (b"what is stored stays", b"overwritten")


PRESIGNED = ["X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Credential=x", f"X-Amz-Credential={KEY}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", "X-Amz-Signature=0", "X-Amz-Expires=9", "X-Amz-Expires=-1", "X-Amz-Expires=x", "X-Amz-Date=20200101T000000Z", "X-Amz-Date=x", "X-Amz-SignedHeaders=host", f"AWSAccessKeyId={KEY}&Signature=y&Expires=1", "AWSAccessKeyId=&Signature=&Expires="]  # fmt: skip


def test_wrong_presigned_urls_are_refused(rng, canary, server, rounds):
    for _ in range(rounds // 5):
        chosen = rng.sample(PRESIGNED, rng.randrange(1, 7))
        if not any(part.startswith(("X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential", "AWSAccessKeyId")) for part in chosen):
            continue
        answer = request(server.port, "PUT", f"/{canary}/main/there?" + "&".join(chosen), [], b"overwritten")
        check_s3(answer, chosen)
        assert 400 <= answer.status < 500, (answer, chosen)
    assert Door(server.port).s3("GET", f"{canary}/main/there")[:2] == (200, b"what is stored stays")


def test_keys_of_any_kind_are_taken_or_refused(rng, canary, server, rounds):
    door = Door(server.port)
    for _ in range(rounds // 5):
        name = text(rng).encode("utf-8", "replace").decode()
        at = f"{canary}/main/{name}"
        status, content, _ = door.s3("PUT", at, b"named")
        fits = 1 <= len(name.encode()) <= 1024
        if not name:
            continue
        assert (status == 200) == fits, (name, status, content)
        if fits:
            assert door.s3("GET", at)[:2] == (200, b"named"), name
            assert door.rest("GET", f"/repositories/{canary}/refs/main/objects", path=name) == (200, b"named"), name
            assert door.s3("DELETE", at)[0] == 204
            assert door.s3("GET", at)[0] == 404


