"""Signatures and headers that are wrong, and what S3 answers to each; presigned URLs; the framing of bodies."""
import base64
import datetime
import hashlib
import hmac
import http.client
import socket
import urllib.error
import urllib.parse
import urllib.request
import zlib

import pytest

from plain_buckets import boto
from lakebed_server import KEY, SECRET
from sigv4 import REGION, escape, now_stamp, query_string


def code(content):
    return content.split(b"<Code>")[1].split(b"</Code>")[0].decode() if b"<Code>" in content else None


def put(raw, bucket, change, key="o", body=b"bar", headers=None, method="PUT"):
    """A request whose signed headers are changed before they are sent."""
    signed = raw.signer.headers(method, raw.host, f"/{bucket}/{key}", payload=body, headers=headers)
    changed = change(signed)
    status, content, _ = raw.send(method, f"/{bucket}/{key}", body, changed)
    return status, code(content)


def ago(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**delta)).strftime("%Y%m%dT%H%M%SZ")


@pytest.mark.parametrize(
    "change, answer",
    [
        ({}, (200, None)),
        ({"authorization": ""}, (403, "AccessDenied")),
        ({"authorization": "AWS HAHAHA"}, (400, "AuthorizationHeaderMalformed")),
        ({"authorization": "AWS4-HMAC-SHA256 nonsense"}, (400, "AuthorizationHeaderMalformed")),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=y"}, (400, "AuthorizationHeaderMalformed")),
        ({"x-amz-date": ""}, (403, "AccessDenied")),
        ({"x-amz-date": "bad date"}, (403, "AccessDenied")),
        ({"x-amz-date": "99990707T215304Z"}, (400, "AuthorizationHeaderMalformed")),
        ({"x-amz-date": "\x07"}, (400, None)),
        ({"x-amz-content-sha256": "nonsense"}, (400, "InvalidArgument")),
        ({"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}, (403, "SignatureDoesNotMatch")),
        ({"x-amz-meta-unsigned": "1"}, (200, None)),
        ({"x-amz-acl": "private"}, (403, "AccessDenied")),
        ({"x-amz-copy-source": "b/k"}, (403, "AccessDenied")),
        ({"x-amz-tagging": "a=b"}, (403, "AccessDenied")),
        ({"content-type": "text/plain"}, (200, None)),
        ({"user-agent": ""}, (200, None)),
        ({"content-length": "-1"}, (400, None)),
        ({"content-length": "x"}, (400, None)),
        ({"expect": "100-continue"}, (200, None)),
    ],
)
def test_a_header_is_changed_or_added(raw, bucket, change, answer):
    assert put(raw, bucket, lambda signed: signed | change) == answer
    raw.close()


def test_headers_that_are_missing(raw, bucket):
    def without(name):
        return lambda signed: {k: v for k, v in signed.items() if k != name}

    assert put(raw, bucket, without("x-amz-date")) == (403, "AccessDenied")
    status, content, _ = raw.send("PUT", f"/{bucket}/o", b"bar", {"host": raw.host})
    assert (status, code(content)) == (403, "AccessDenied")
    assert raw.send("GET", "/", None, {"host": raw.host})[2]["Content-Type"].startswith("text/html")
    status, content, _ = raw.send("PUT", "/o", b"bar", {"host": f"{bucket}.s3.local.lakefs.io"})
    assert (status, code(content)) == (403, "AccessDenied")


def test_dates_and_keys(raw, bucket):
    def dated(stamp):
        signed = raw.signer.headers("PUT", raw.host, f"/{bucket}/o", payload=b"", stamp=stamp)
        return (lambda answer: (answer[0], code(answer[1]), answer[1]))(raw.send("PUT", f"/{bucket}/o", b"", signed))

    assert dated(ago(minutes=10))[0] == 200 and dated(ago(minutes=-10))[0] == 200
    for stamp in (ago(minutes=20), ago(minutes=-20), ago(days=365)):
        status, name, content = dated(stamp)
        assert (status, name) == (403, "RequestTimeTooSkewed")
        assert b"<MaxAllowedSkewMilliseconds>900000<" in content and b"<RequestTime>" in content and b"<ServerTime>" in content
    signed = raw.signer.headers("GET", raw.host, f"/{bucket}")
    unknown = signed | {"authorization": signed["authorization"].replace(KEY, "AKIANOSUCHKEY")}
    status, content, _ = raw.send("GET", f"/{bucket}", None, unknown)
    assert (status, code(content)) == (403, "InvalidAccessKeyId") and b"<AWSAccessKeyId>AKIANOSUCHKEY<" in content
    wrong = signed | {"authorization": signed["authorization"][:-1] + ("0" if signed["authorization"][-1] != "0" else "1")}
    status, content, _ = raw.send("GET", f"/{bucket}", None, wrong)
    assert (status, code(content)) == (403, "SignatureDoesNotMatch")
    for element in (b"<StringToSign>", b"<SignatureProvided>", b"<StringToSignBytes>", b"<CanonicalRequest>", b"<CanonicalRequestBytes>"):
        assert element in content


# Version 2


def v2(method, bucket, key, date, headers=None, secret=SECRET):
    amz = "".join(f"{k}:{v}\n" for k, v in sorted((headers or {}).items()) if k.startswith("x-amz-"))
    kind, md5 = (headers or {}).get("content-type", ""), (headers or {}).get("content-md5", "")
    text = f"{method}\n{md5}\n{kind}\n{'' if 'x-amz-date' in (headers or {}) else date}\n{amz}/{bucket}/{key}"
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


@pytest.mark.parametrize(
    "change, answer",
    [
        ({}, (200, None)),
        ({"content-type": "text/plain"}, (403, "SignatureDoesNotMatch")),
        ({"date": ""}, (403, "AccessDenied")),
        ({"date": "Bad Date"}, (403, "AccessDenied")),
        ({"date": "Tue, 07 Jul 2009 21:53:04 GMT"}, (403, "RequestTimeTooSkewed")),
        ({"date": "Tue, 07 Jul 2099 21:53:04 GMT"}, (403, "RequestTimeTooSkewed")),
        ({"authorization": "AWS AKIAIGR7ZNNBHC5BKSUB:FWeDfwojDSdS2Ztmpfeubhd9isU="}, (403, "InvalidAccessKeyId")),
        ({"authorization": f"AWS {KEY}:FWeDfwojDSdS2Ztmpfeubhd9isU="}, (403, "SignatureDoesNotMatch")),
        ({"authorization": "AWS HAHAHA"}, (400, "AuthorizationHeaderMalformed")),
    ],
)
def test_version_2(raw, bucket, change, answer):
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"host": raw.host, "date": date, "authorization": f"AWS {KEY}:{v2('PUT', bucket, 'v2', date)}"}
    status, content, _ = raw.send("PUT", f"/{bucket}/v2", b"bar", headers | change)
    assert (status, code(content)) == answer
    amz = {"x-amz-date": date, "x-amz-meta-a": "1", "content-type": "text/plain"}
    headers = {"host": raw.host, "authorization": f"AWS {KEY}:{v2('PUT', bucket, 'v2', date, amz)}"} | amz
    assert raw.send("PUT", f"/{bucket}/v2", b"bar", headers)[0] == 200


# Presigned URLs


def presign(raw, method, bucket, key, expires="900", stamp=None, **extra):
    stamp = stamp or now_stamp()
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{KEY}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": expires,
        "X-Amz-SignedHeaders": "host",
    } | extra
    path = f"/{bucket}/{escape(key, '/')}"
    request = "\n".join([method, path, query_string(query), f"host:{raw.host}\n", "host", "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.new(raw.signer.signing_key(stamp[:8]), text.encode(), hashlib.sha256).hexdigest()
    return f"{path}?{query_string(query)}&X-Amz-Signature={signature}"


def test_presigned_urls(raw, bucket):
    def go(method, url, body=None, headers=None):
        status, content, _ = raw.send(method, url, body, {"host": raw.host} | (headers or {}))
        return status, code(content) or content

    put_url = presign(raw, "PUT", bucket, "p q+r")
    assert go("PUT", put_url, b"content") == (200, b"")
    get_url = presign(raw, "GET", bucket, "p q+r")
    assert go("GET", get_url) == (200, b"content")
    assert go("GET", get_url, headers={"Range": "bytes=0-2"}) == (206, b"con")
    assert go("HEAD", get_url)[0] == 403 and go("DELETE", get_url)[0] == 403 and go("PUT", get_url, b"x")[0] == 403
    assert go("GET", get_url.replace("p%20q", "other")) == (403, "SignatureDoesNotMatch")
    for expires in ("0", "-7", "604801"):
        assert go("GET", presign(raw, "GET", bucket, "p q+r", expires)) == (403, "AuthorizationQueryParametersError")
    assert go("GET", presign(raw, "GET", bucket, "p q+r", "x")) == (400, "AuthorizationQueryParametersError")
    assert go("GET", presign(raw, "GET", bucket, "p q+r", "604800", stamp=ago(days=6)))[0] == 200
    assert go("GET", presign(raw, "GET", bucket, "p q+r", "60", stamp=ago(minutes=2))) == (403, "AccessDenied")
    assert go("GET", presign(raw, "GET", bucket, "p q+r", stamp=ago(minutes=-20))) == (403, "AccessDenied")
    for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"):
        url, query = get_url.split("?")
        left = "&".join(pair for pair in query.split("&") if not pair.startswith(name + "="))
        assert go("GET", f"{url}?{left}") == (400, "AuthorizationQueryParametersError"), name
    signed = raw.signer.headers("GET", raw.host, f"/{bucket}/x")
    assert go("GET", get_url, headers=signed) == (400, "InvalidArgument")
    listing = presign(raw, "GET", bucket, "", **{"list-type": "2"})
    assert b"<Key>p q+r</Key>" in go("GET", listing)[1]
    override = presign(raw, "GET", bucket, "p q+r", **{"response-content-type": "x/y"})
    assert raw.send("GET", override, None, {"host": raw.host})[2]["Content-Type"] == "x/y"


def test_presigned_by_version_2(flat, bucket):
    old = boto(flat, signature_version="s3-query")
    url = old.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b+c"}, ExpiresIn=60)
    assert "AWSAccessKeyId" in url
    with urllib.request.urlopen(urllib.request.Request(url, data=b"old", method="PUT", headers={"Content-Type": ""})) as answer:
        assert answer.status == 200
    url = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b+c"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == b"old"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("Expires=", "Expires=1"))
    assert caught.value.code == 403


# Bodies


def test_a_client_that_waits_is_told_before_it_sends(flat, raw, bucket):
    """`Expect: 100-continue`: a refusal comes instead of the invitation, and an invitation when all else is good."""

    def first_line(headers):
        with socket.create_connection(("127.0.0.1", flat.port), timeout=30) as connection:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            connection.sendall(f"PUT /{bucket}/e HTTP/1.1\r\n{lines}content-length: 3\r\nexpect: 100-continue\r\n\r\n".encode())
            line = connection.makefile("rb").readline()
            if b" 100 " in line:
                connection.sendall(b"bar")
                rest = connection.recv(65536)
                assert b"200 OK" in rest
            return int(line.split()[1])

    signed = raw.signer.headers("PUT", raw.host, f"/{bucket}/e", payload=b"bar")
    assert first_line(signed) == 100
    assert first_line(signed | {"authorization": signed["authorization"][:-2] + "zz"}) == 403
    conditional = raw.signer.headers("PUT", raw.host, f"/{bucket}/e", payload=b"bar", headers={"If-None-Match": "*"})
    assert first_line(conditional) == 412


CONTENT = b"hello " * 1000


def framed(pieces, trailer=b""):
    return b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize(
    "trailer, announced, answer",
    [
        (b"x-amz-checksum-crc32:GOOD\r\n", "x-amz-checksum-crc32", (200, None)),
        (b"x-amz-checksum-crc32 : GOOD \r\n", "x-amz-checksum-crc32", (200, None)),
        (b"x-amz-checksum-crc32:AAAAAA==\r\n", "x-amz-checksum-crc32", (400, "BadDigest")),
        (b"x-amz-checksum-crc32:nonsense\r\n", "x-amz-checksum-crc32", (400, "BadDigest")),
        (b"", "x-amz-checksum-crc32", (400, "MalformedTrailerError")),
        (b"x-amz-checksum-sha1:GOOD\r\n", "x-amz-checksum-crc32", (400, "MalformedTrailerError")),
        (b"", None, (200, None)),
    ],
)
def test_trailers(raw, bucket, trailer, announced, answer):
    good = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big"))
    body = framed([CONTENT[:10], CONTENT[10:]], trailer.replace(b"GOOD", good))
    headers = {"x-amz-decoded-content-length": str(len(CONTENT)), "Content-Encoding": "aws-chunked"}
    if announced:
        headers["x-amz-trailer"] = announced
    status, content, answered = raw.s3("PUT", f"{bucket}/t", body, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert (status, code(content)) == answer
    got = raw.s3("GET", f"{bucket}/t", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got[0] == (200 if status == 200 else 404)
    if status == 200:
        assert got[1] == CONTENT and got[2]["Content-Encoding"] is None
        if announced:
            assert answered["x-amz-checksum-crc32"] == got[2]["x-amz-checksum-crc32"] == good.decode()


def test_signed_chunks(raw, bucket):
    headers = {"x-amz-decoded-content-length": str(len(CONTENT)), "Content-Encoding": "aws-chunked"}

    def send(change=lambda body: body, **more):
        signed = raw.signer.headers("PUT", raw.host, f"/{bucket}/s", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", headers=headers | more)
        body = change(raw.signer.chunks([CONTENT[:1000], CONTENT[1000:]], signed))
        status, content, _ = raw.send("PUT", f"/{bucket}/s", body, signed)
        return status, code(content)

    assert send(lambda body: body.replace(b"hello", b"hellu", 1)) == (403, "SignatureDoesNotMatch")
    assert send(lambda body: body[:-20])[0] in (400, 403)
    assert send(**{"x-amz-decoded-content-length": "5"}) == (400, "IncompleteBody")
    assert raw.s3("HEAD", f"{bucket}/s")[0] == 404
    assert send() == (200, None)
    assert raw.s3("GET", f"{bucket}/s")[1] == CONTENT
    signed = raw.signer.headers("PUT", raw.host, f"/{bucket}/s", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    status, content, _ = raw.send("PUT", f"/{bucket}/s", raw.signer.chunks([b"x"], signed), signed)
    assert (status, code(content)) == (411, "MissingContentLength")


def test_a_body_whose_hash_is_another_is_not_stored(raw, bucket):
    signed = raw.signer.headers("PUT", raw.host, f"/{bucket}/h", payload=b"said")
    status, content, _ = raw.send("PUT", f"/{bucket}/h", b"sent", signed)
    assert (status, code(content)) == (400, "XAmzContentSHA256Mismatch")
    assert b"<ClientComputedContentSHA256>" in content and b"<S3ComputedContentSHA256>" in content
    assert raw.s3("HEAD", f"{bucket}/h")[0] == 404


def test_a_body_whose_hash_is_not_said(raw, bucket):
    """Signers that know S3's rules half: the hash is signed, its header is not sent. Small bodies are held for it."""

    def send(body, length=None, key=KEY):
        stamp, host = now_stamp(), raw.host
        scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
        request = "\n".join(["PUT", f"/{bucket}/n", "", f"host:{host}\nx-amz-date:{stamp}\n", "host;x-amz-date", hashlib.sha256(body).hexdigest()])
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = hmac.new(raw.signer.signing_key(stamp[:8]), text.encode(), hashlib.sha256).hexdigest()
        headers = {
            "host": host, "x-amz-date": stamp,
            "authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}",
        }
        status, content, _ = raw.send("PUT", f"/{bucket}/n", body, headers)
        raw.close()
        return status, code(content)

    assert send(b"x" * 1000) == (200, None)
    assert send(b"x" * ((1 << 20) + 1)) == (400, "InvalidRequest")
    assert send(b"x" * 1000, key="AKIANOSUCHKEY") == (403, "InvalidAccessKeyId")


def test_a_connection_goes_on_after_a_refusal(flat, raw, bucket):
    """What is left of a refused body is read, and the next request of the connection is served."""
    connection = http.client.HTTPConnection("127.0.0.1", flat.port, timeout=30)
    for turn in range(3):
        body = b"x" * (200 << 10)
        headers = raw.signer.headers("PUT", raw.host, f"/{bucket}/k", payload=body, headers={"x-amz-storage-class": "NONSENSE"})
        connection.request("PUT", f"/{bucket}/k", body, headers)
        answer = connection.getresponse()
        assert answer.status == 400 and b"InvalidStorageClass" in answer.read()
        socket_of_the_first = connection.sock if turn == 0 else socket_of_the_first
        assert connection.sock is socket_of_the_first is not None
    connection.close()


def test_a_head_has_its_limits(raw, bucket):
    status, content, _ = raw.s3("PUT", f"{bucket}/o", b"", headers={f"x-amz-meta-{n}": "x" * 1000 for n in range(17)})
    assert (status, code(content)) == (400, "RequestHeaderSectionTooLarge")
    raw.close()
    status, content, _ = raw.s3("GET", bucket, query={"prefix": "x" * (17 << 10)})
    assert (status, code(content)) == (400, "InvalidURI")


def test_an_error_says_who_it_answers(raw, bucket):
    status, content, headers = raw.s3("GET", f"{bucket}/none")
    assert status == 404 and f"<RequestId>{headers['x-amz-request-id']}</RequestId>".encode() in content
    assert b"<Key>none</Key>" in content and f"<BucketName>{bucket}</BucketName>".encode() in content
    status, content, headers = raw.s3("HEAD", f"{bucket}/none")
    assert (status, content) == (404, b"") and headers["x-amz-request-id"]
