"""What the gateway does only when told to: cross-origin rules, redirections, limits of its own."""
import urllib.error
import urllib.request

import pytest

from doors import Door
from lakebed_server import KEY, SECRET, Server
from test_reading import ETAG, commit, tree, upload

EXTRA = """gateways:
  s3:
    max_put_size: 1000
    cors:
      allowed_origins: [https://app.example, "https://*.lake.example"]
      allowed_methods: [GET, PUT]
      allowed_headers: [x-amz-*, authorization, content-type]
      expose_headers: [ETag, x-amz-request-id]
      max_age: 10m
    redirect:
      user_agents: [follows-redirections]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("options"), extra=EXTRA) as running:
        yield running


def ask(server, at, method, origin, names="", host=None):
    """A preflight: (status, headers)."""
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    if names:
        headers["Access-Control-Request-Headers"] = names
    if host:
        headers["Host"] = host
    request = urllib.request.Request(server.endpoint + at, headers=headers, method="OPTIONS")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_a_preflight_needs_no_signature(server, repo):
    for at, host in ((f"/{repo}/main/a", None), ("/main/a", f"{repo}.s3.local.lakefs.io"), (f"/{repo}", "s3.local.lakefs.io")):
        status, headers = ask(server, at, "PUT", "https://app.example", "X-Amz-Date, authorization", host)
        assert status == 200
        assert headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
        assert headers["Access-Control-Allow-Headers"] == "x-amz-date, authorization"
        assert headers["Access-Control-Max-Age"] == "600" and "Origin" in headers["Vary"]
    for method, origin, names in (
        ("DELETE", "https://app.example", ""),
        ("PUT", "https://evil.example", ""),
        ("PUT", "https://app.example", "cookie"),
    ):
        status, headers = ask(server, f"/{repo}/main/a", method, origin, names)
        assert status == 403 and "Access-Control-Allow-Origin" not in headers


def test_answers_are_exposed_to_those_who_may_read_them(server, repo, door):
    upload(server, repo, "a")
    for origin, allowed in (("https://b.lake.example", "https://b.lake.example"), ("https://evil.example", None)):
        status, content, headers = door.s3("GET", f"{repo}/main/a", headers={"Origin": origin})
        assert (status, content, headers["Access-Control-Allow-Origin"]) == (200, b"hello world", allowed)
        assert headers["Vary"] == "Origin"
        assert headers["Access-Control-Expose-Headers"] == (allowed and "ETag, x-amz-request-id")
    status, _, headers = door.s3("GET", f"{repo}/main/none", headers={"Origin": "https://app.example"})
    assert (status, headers["Access-Control-Allow-Origin"]) == (404, "https://app.example")
    status, content, _ = door.s3("GET", repo, query={"cors": ""})
    assert status == 200 and tree(content).findtext("CORSRule/MaxAgeSeconds") == "600"


def test_without_rules_no_page_may(server, repo):
    request = urllib.request.Request(
        f"{server.endpoint}/api/v1/repositories",
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "GET"},
        method="OPTIONS",
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert "Access-Control-Allow-Origin" not in caught.value.headers, "the rules are the gateway's alone"


def test_a_body_has_its_most_bytes(server, repo, door):
    assert door.s3("PUT", f"{repo}/main/o", b"x" * 1000)[0] == 200
    status, content, _ = door.s3("PUT", f"{repo}/main/o", b"x" * 1001)
    error = tree(content)
    assert (status, error.findtext("Code")) == (400, "EntityTooLarge")
    assert (error.findtext("ProposedSize"), error.findtext("MaxSizeAllowed")) == ("1001", "1000")
    door.close()
    # Of a body without a length that is known when it is too long.
    signed = door.signer.headers("PUT", door.host, f"/{repo}/main/o", payload="UNSIGNED-PAYLOAD")
    pieces = (b"y" * 600 for _ in range(3))
    status, content, _ = door.send("PUT", f"/{repo}/main/o", pieces, signed)
    assert status == 400 and b"EntityTooLarge" in content
    door.close()
    assert door.s3("GET", f"{repo}/main/o")[1] == b"x" * 1000


def test_nobody_is_redirected_where_the_store_cannot_presign(server, repo, door):
    upload(server, repo, "a")
    status, content, _ = door.s3("GET", f"{repo}/main/a", headers={"User-Agent": "follows-redirections/1"})
    assert (status, content) == (200, b"hello world")


def test_a_job_reads_one_state(server, repo, door):
    """`x-lakefs-ref-at`: reads of any ref see the commit named."""
    upload(server, repo, "a", b"old")
    at = commit(server, repo)
    upload(server, repo, "a", b"new")
    upload(server, repo, "b", b"b")
    pinned = {"x-lakefs-ref-at": at}
    assert door.s3("GET", f"{repo}/main/a", headers=pinned)[1] == b"old"
    assert door.s3("GET", f"{repo}/main/b", headers=pinned)[0] == 404
    _, content, _ = door.s3("GET", repo, query={"prefix": "main/"}, headers=pinned)
    assert [key.text for key in tree(content).findall("Contents/Key")] == ["main/a"]
    assert door.s3("GET", f"{repo}/main/a")[1] == b"new"
    status, content, _ = door.s3("GET", f"{repo}/main/a", headers={"x-lakefs-ref-at": "main"})
    assert status == 400 and b"InvalidArgument" in content


def test_an_object_is_renamed_without_moving(server, repo, door):
    upload(server, repo, "a")
    upload(server, repo, "taken", b"t")
    address = server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="a")[1]["physical_address"]

    def rename(source, target, **headers):
        status, content, _ = door.s3("PUT", f"{repo}/main/{target}", query={"renameObject": ""}, headers={"x-amz-rename-source": source, **headers})
        return status, tree(content).findtext("Code") if content else None

    assert rename("main/a", "b") == (200, None)
    assert door.s3("GET", f"{repo}/main/a")[0] == 404
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="b")[1]["physical_address"] == address
    assert rename(f"/{repo}/main/b", "c%20d") == (200, None), "with the bucket, too"
    assert rename("main/none", "x") == (404, "NoSuchKey")
    assert rename("main/c%2520d", "c%20d") == (400, "InvalidRequest")
    assert rename("main/c%2520d", "taken", **{"If-None-Match": "*"}) == (412, "PreconditionFailed")
    assert rename("main/c%2520d", "x", **{"x-amz-rename-source-if-match": '"x"'}) == (412, "PreconditionFailed")
    assert rename("main", "x") == (400, "InvalidArgument")
    assert rename("", "x") == (400, "InvalidArgument")
    assert rename("main/c%2520d", "taken") == (200, None)
    assert door.s3("GET", f"{repo}/main/taken")[1] == b"hello world"


def test_clients_that_follow_are_sent_to_the_store(tmp_path):
    """The store behind this server is another server of ours, whose buckets are plain ones."""
    flat = "gateways: {s3: {flat_mode: true}}"
    with Server(tmp_path / "store", extra=flat) as store:
        buckets = Door(store.port)
        assert buckets.s3("PUT", "behind")[0] == 200
        blockstore = {
            "type": "s3",
            "s3": {
                "endpoint": store.endpoint, "force_path_style": True, "region": "us-east-1", "discover_bucket_region": False,
                "credentials": {"access_key_id": KEY, "secret_access_key": SECRET},
            },
        }
        extra = "gateways: {s3: {redirect: {user_agents: [follows-redirections]}}}"
        with Server(tmp_path / "server", extra=extra, blockstore=blockstore) as front:
            door = Door(front.port)
            made = {"name": "front", "storage_namespace": "s3://behind/front"}
            assert front.rest("POST", "/repositories", made)[0] == 201
            assert door.s3("PUT", "front/main/a", b"hello world", headers={"Content-Type": "text/x"})[0] == 200

            def read(agent, **headers):
                return door.s3("GET", "front/main/a", headers={"User-Agent": agent} | headers)

            assert read("aws-sdk")[:2] == (200, b"hello world")
            status, content, answered = read("x follows-redirections/2", Range="bytes=0-4")
            assert (status, content) == (307, b"") and answered["ETag"] == ETAG
            request = urllib.request.Request(answered["Location"], headers={"Range": "bytes=0-4"})
            with urllib.request.urlopen(request, timeout=30) as got:
                assert (got.status, got.read(), got.headers["Content-Type"]) == (206, b"hello", "text/x")
            assert read("follows-redirections", **{"If-None-Match": ETAG})[0] == 304, "conditions are judged here"
            assert read("follows-redirections", **{"If-Match": '"x"'})[0] == 412
            assert read("follows-redirections", Range="bytes=50-")[0] == 416
            agent = {"User-Agent": "follows-redirections"}
            assert door.s3("HEAD", "front/main/a", headers=agent)[0] == 200
            assert door.s3("GET", "front/main/a", query={"partNumber": "1"}, headers=agent)[0] == 206
            assert door.s3("GET", "front/main/none", headers=agent)[0] == 404
            door.close()
        buckets.close()
