"""Lines of the list of checks (`docs/src/reference/s3-checks.md`) that no other test holds."""
import base64
import concurrent.futures
import hashlib
import hmac
import socket
import subprocess
import urllib.request
import uuid
import zlib

import boto3
import botocore.client
import pytest

import sigv4
from doors import Door
from lakebed_server import KEY, SECRET
from test_reading import code, commit, create_branch, listed, tree, upload


def client(server, key=KEY, secret=SECRET, region="us-east-1", token=None, **config):
    return boto3.client(
        "s3", endpoint_url=server.endpoint, aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
        region_name=region, config=botocore.client.Config(retries={"max_attempts": 1}, **config),
    )


# Signatures


@pytest.mark.parametrize("signature", ["s3", "s3v4"])
def test_names_are_signed_by_both_versions(server, repo, signature):
    s3, names = client(server, signature_version=signature), ["x y+z=é.txt", "蒙AH 蓝+1.jpg", "a%2Fb", "t+0+0000000000.json"]
    for name in names:
        s3.put_object(Bucket=repo, Key=f"main/{name}", Body=name.encode(), Metadata={"n": "1"})
        assert s3.get_object(Bucket=repo, Key=f"main/{name}")["Body"].read() == name.encode()
    found = [entry["Key"] for entry in s3.list_objects_v2(Bucket=repo, Prefix="main/")["Contents"]]
    assert found == sorted((f"main/{name}" for name in names), key=str.encode)
    assert [entry["Key"] for entry in s3.list_objects(Bucket=repo, Prefix="main/x y+")["Contents"]] == ["main/x y+z=é.txt"]
    for name in names:
        s3.delete_object(Bucket=repo, Key=f"main/{name}")
    assert s3.list_objects_v2(Bucket=repo, Prefix="main/")["KeyCount"] == 0


@pytest.mark.parametrize("region", ["cn", "auto", "eu-west-3"])
def test_any_region_will_do(server, repo, region):
    s3 = client(server, region=region)
    s3.put_object(Bucket=repo, Key="main/a", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": repo, "Key": "main/a"})
    assert f"%2F{region}%2F" in url and urllib.request.urlopen(url).read() == b"x"


@pytest.mark.parametrize("signature", ["s3", "s3v4"])
def test_a_session_token_left_in_the_environment_does_no_harm(server, repo, signature):
    s3 = client(server, token="junk", signature_version=signature)
    s3.put_object(Bucket=repo, Key="main/a", Body=b"x")
    assert urllib.request.urlopen(s3.generate_presigned_url("get_object", Params={"Bucket": repo, "Key": "main/a"})).read() == b"x"


def test_a_url_that_has_expired_says_so(server, repo):
    s3 = client(server)
    s3.put_object(Bucket=repo, Key="main/a", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": repo, "Key": "main/a"}, ExpiresIn=604800)
    assert urllib.request.urlopen(url).read() == b"x"
    door = Door(server.port)
    stamp = "20200101T000000Z"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{KEY}/{stamp[:8]}/us-east-1/s3/aws4_request", "X-Amz-Date": stamp,
        "X-Amz-Expires": "60", "X-Amz-SignedHeaders": "host",
    }
    path = f"/{repo}/main/a"
    request = "\n".join(["GET", path, sigv4.query_string(query), f"host:{door.host}\n", "host", "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{stamp[:8]}/us-east-1/s3/aws4_request", hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.new(door.signer.signing_key(stamp[:8]), text.encode(), hashlib.sha256).hexdigest()
    status, content, _ = door.send("GET", f"{path}?{sigv4.query_string(query)}&X-Amz-Signature={signature}", None, {"host": door.host})
    assert status == 403 and b"<Message>Request has expired" in content
    for element in (b"<X-Amz-Expires>60<", b"<Expires>", b"<ServerTime>"):
        assert element in content


# Places


def test_a_host_names_a_bucket(server, repo, door):
    upload(server, repo, "a")
    for host in (f"{repo}.s3.local.lakefs.io", f"{repo}.S3.local.lakefs.io:{server.port}"):
        signed = door.signer.headers("GET", host, "/main/a")
        assert door.send("GET", "/main/a", None, signed)[:2] == (200, b"hello world")
    signed = door.signer.headers("GET", f"{repo}.s3.example.com", "/main/a")
    assert code(door.send("GET", "/main/a", None, signed)) == (404, "NoSuchBucket"), "a host that is not the gateway's says nothing"


def test_a_repository_may_be_called_api(server, door):
    made = {"name": "api", "storage_namespace": f"local://api-{uuid.uuid4().hex}"}
    assert server.rest("POST", "/repositories", made)[0] == 201
    try:
        assert door.s3("PUT", "api/main/v1/x", b"x")[0] == 200
        assert door.s3("GET", "api/main/v1/x")[1] == b"x"
        assert code(door.s3("GET", "api/v1/x")) == (404, "NoSuchKey")
    finally:
        assert server.rest("DELETE", "/repositories/api", force="true")[0] == 204


def test_an_error_has_an_empty_host_id(server, repo):
    s3 = client(server)
    buckets = s3.list_buckets()
    assert buckets["ResponseMetadata"]["HostId"] == ""
    assert next(bucket for bucket in buckets["Buckets"] if bucket["Name"] == repo)["CreationDate"].year >= 2024


# Listings


def test_pages_of_a_thousand(server, repo, door):
    def put(n):
        mine = Door(server.port)
        for i in range(n, 2500, 16):
            assert mine.s3("PUT", f"{repo}/main/k/{i:04}", b"")[0] == 200
        mine.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(16)))
    pages, query = [], {"list-type": "2", "prefix": "main/k/"}
    while True:
        root = tree(door.s3("GET", repo, query=query)[1])
        pages.append((len(root.findall("Contents")), root.findtext("IsTruncated")))
        if root.findtext("IsTruncated") == "false":
            break
        query["continuation-token"] = root.findtext("NextContinuationToken")
    assert pages == [(1000, "true"), (1000, "true"), (500, "false")]
    exactly = {"list-type": "2", "prefix": "main/k/0"}
    root = tree(door.s3("GET", repo, query=exactly)[1])
    assert (len(root.findall("Contents")), root.findtext("IsTruncated"), root.find("NextContinuationToken")) == (1000, "false", None)


def test_prefixes_of_refs_and_expressions(server, repo, door):
    upload(server, repo, "old")
    commit(server, repo)
    upload(server, repo, "dir/new")
    head = commit(server, repo)
    for query in ({"prefix": "ma"}, {"prefix": "ma", "delimiter": "/"}, {"prefix": "main"}):
        assert listed(door.s3("GET", repo, query={"list-type": "2", **query})) == ([], ["main/"], False)
    assert listed(door.s3("GET", repo, query={"prefix": "main/", "delimiter": "/"})) == (["main/old"], ["main/dir/"], False)
    assert listed(door.s3("GET", repo, query={"prefix": f"{head[:10]}/"}))[0] == [f"{head[:10]}/dir/new", f"{head[:10]}/old"]
    for parent in ("main~1", "main^1", f"{head}~1"):
        assert listed(door.s3("GET", repo, query={"prefix": f"{parent}/"})) == ([f"{parent}/old"], [], False)
        assert door.s3("GET", f"{repo}/{parent}/old")[1] == b"hello world"
        assert code(door.s3("GET", f"{repo}/{parent}/dir/new")) == (404, "NoSuchKey")
    upload(server, repo, "a.json")
    upload(server, repo, "b.json.gz")
    assert listed(door.s3("GET", repo, query={"prefix": "main/", "delimiter": ".json"})) == (["main/dir/new", "main/old"], ["main/a.json", "main/b.json"], False)


def test_a_directory_marker_is_an_object(repo, door):
    kind = {"Content-Type": "application/x-directory"}
    assert door.s3("PUT", f"{repo}/main/dir/", b"", headers=kind)[0] == 200
    head = door.s3("HEAD", f"{repo}/main/dir/")[2]
    assert (head["Content-Type"], head["Content-Length"]) == ("application/x-directory", "0")
    assert listed(door.s3("GET", repo, query={"prefix": "main/dir/", "delimiter": "/"})) == (["main/dir/"], [], False)
    assert listed(door.s3("GET", repo, query={"prefix": "main/", "delimiter": "/"})) == ([], ["main/dir/"], False)


# Deleting


def test_a_batch_of_deletions_needs_no_digest(repo, door):
    for n, digest in enumerate(("crc32", "md5", "none")):
        assert door.s3("PUT", f"{repo}/main/{n}", b"x")[0] == 200
        body = f"<Delete><Object><Key>main/{n}</Key></Object></Delete>".encode()
        headers = {
            "crc32": {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()},
            "md5": {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()},
            "none": {},
        }[digest]
        status, content, _ = door.s3("POST", repo, body, {"delete": ""}, headers)
        assert status == 200 and [key.text for key in tree(content).findall("Deleted/Key")] == [f"main/{n}"]
        assert door.s3("HEAD", f"{repo}/main/{n}")[0] == 404
    wrong = {"Content-MD5": base64.b64encode(hashlib.md5(b"").digest()).decode()}
    assert code(door.s3("POST", repo, body, {"delete": ""}, wrong)) == (400, "BadDigest")


def test_a_batch_of_deletions_of_a_protected_branch(server, repo, door):
    create_branch(server, repo, "prot")
    keys = ["prot/a", "prot/b", "main/c"]
    for key in keys:
        assert door.s3("PUT", f"{repo}/{key}", b"x")[0] == 200
    assert server.rest("PUT", f"/repositories/{repo}/settings/branch_protection", [{"pattern": "prot"}])[0] == 204
    body = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    status, content, _ = door.s3("POST", repo, f"<Delete>{body}</Delete>".encode(), {"delete": ""})
    root = tree(content)
    assert status == 200 and [key.text for key in root.findall("Deleted/Key")] == ["main/c"]
    assert [(error.findtext("Key"), error.findtext("Code")) for error in root.findall("Error")] == [(key, "ErrWriteToProtectedBranch") for key in keys[:2]]
    assert code(door.s3("DELETE", f"{repo}/prot/a")) == (403, "ErrWriteToProtectedBranch")
    assert door.s3("GET", f"{repo}/prot/a")[1] == door.s3("GET", f"{repo}/prot/b")[1] == b"x"


# Metadata


def test_metadata_of_any_text(server, repo, door):
    for sent in ("ä".encode(), "ä".encode("latin-1"), b"=?UTF-8?B?w6Q=?=", b"=?utf-8?q?=C3=A4?="):
        # Not signed: signers differ in which bytes they sign of what is not ASCII.
        signed = door.signer.headers("PUT", door.host, f"/{repo}/main/o", payload=b"x")
        assert door.send("PUT", f"/{repo}/main/o", b"x", signed | {"x-amz-meta-x": sent.decode("latin-1")})[0] == 200
        assert door.s3("HEAD", f"{repo}/main/o")[2]["x-amz-meta-x"] == "=?utf-8?q?=C3=A4?="
        assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="o")[1]["metadata"] == {"X-Amz-Meta-x": "ä"}


# Clients of one kind


def test_what_a_sink_asks_at_its_start(repo, door):
    status, content, _ = door.s3("GET", repo, query={"acl": ""})
    assert status == 200 and tree(content).findtext("AccessControlList/Grant/Permission") == "FULL_CONTROL"
    assert door.s3("HEAD", repo)[0] == 200
    assert code(door.s3("GET", "probe-bsign-x0y1", query={"location": ""})) == (404, "NoSuchBucket")
    key = f"{repo}/main/topics/t/partition=0/t+0+0000000000.json"
    assert door.s3("PUT", key, b"{}")[0] == 200 and door.s3("GET", key)[1] == b"{}"


def test_keys_of_every_kind(server, repo):
    s3 = client(server)
    names = ["a%2Fb", "a//b", "./../x", "a b", "ü", "%", "+", "~", "'\"<>&", "/leading", "trailing/", "a", "a/b", "\u2028", "😀"]
    for name in names:
        s3.put_object(Bucket=repo, Key=f"main/{name}", Body=name.encode())
    found = [entry["Key"] for entry in s3.list_objects_v2(Bucket=repo, Prefix="main/")["Contents"]]
    assert found == sorted((f"main/{name}" for name in names), key=str.encode)
    for name in names:
        assert s3.get_object(Bucket=repo, Key=f"main/{name}")["Body"].read() == name.encode(), name
    deleted = s3.delete_objects(Bucket=repo, Delete={"Objects": [{"Key": key} for key in found]})
    assert len(deleted["Deleted"]) == len(names) and s3.list_objects_v2(Bucket=repo, Prefix="main/")["KeyCount"] == 0


def test_signed_requests_over_http_2(server, repo):
    """Without TLS here; with it in `tests/operations/test_https.py`."""
    at, common = f"{server.endpoint}/{repo}/main/two", ["curl", "-sS", "--http2-prior-knowledge", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", f"{KEY}:{SECRET}"]

    def curl(*arguments):
        done = subprocess.run([*common, "-w", " %{http_code} %{http_version}", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    body = "over one connection"
    sha256 = hashlib.sha256(body.encode()).hexdigest()
    assert curl("-X", "PUT", "--data-binary", body, "-H", "content-type: text/plain", "-H", f"x-amz-content-sha256: {sha256}", at) == " 200 2"
    empty = hashlib.sha256(b"").hexdigest()
    assert curl("-H", f"x-amz-content-sha256: {empty}", at) == f"{body} 200 2"
    wrong = [*common[:-1], f"{KEY}:wrong"]
    done = subprocess.run([*wrong, "-w", " %{http_code}", "-H", f"x-amz-content-sha256: {empty}", at], capture_output=True, text=True)
    assert "<Code>SignatureDoesNotMatch</Code>" in done.stdout and done.stdout.endswith(" 403")


def test_a_client_that_goes_away_in_the_middle_harms_nobody(server, repo, door):
    def failures():
        with urllib.request.urlopen(f"{server.endpoint}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return [line for line in lines if line.startswith("gateway_request_duration_seconds_count") and 'code="5' in line]

    assert door.s3("PUT", f"{repo}/main/large", bytes(8 << 20))[0] == 200
    before = failures()
    for _ in range(10):
        signed = door.signer.headers("GET", door.host, f"/{repo}/main/large")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
            connection.sendall(f"GET /{repo}/main/large HTTP/1.1\r\n{lines}\r\n".encode())
            assert b" 200 " in connection.recv(1000)
    assert door.s3("GET", f"{repo}/main/large")[1] == bytes(8 << 20)
    assert failures() == before
