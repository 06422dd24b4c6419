"""Whatever arrives at the REST door, the client gets a clear refusal in JSON, and nothing is lost (invariant 7)."""
import json
import pathlib

import pytest

from arbitrary import damaged, header, quoted, text, value
from doors import BASIC, Door
from wire import check_rest, request

OPERATIONS = [
    line.split()[:3]
    for line in (pathlib.Path(__file__).parents[2] / "crates/lakebed-rest/src/operations.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
FIELDS = [
    "name", "storage_namespace", "default_branch", "source", "id", "ref", "message", "metadata", "date", "paths", "src_path", "src_ref", "set",
    "parent_number", "strategy", "force", "staging", "checksum", "size_bytes", "physical_address", "commit", "parts", "pattern", "patterns", "title",
    "type", "path", "allow_empty", "source_metarange", "access_key_id", "secret_access_key", "username", "key", "hidden", "mtime", "content_type",
    "commit_overrides", "user_metadata", "branches", "default_retention_days", "destination_branch", "source_branch", "read_only", "bare", "squash_merge",
]  # fmt: skip
PARAMETERS = [
    "path", "prefix", "after", "amount", "delimiter", "ref", "type", "dest_path", "objects", "prefixes", "since", "stop_at", "limit", "first_parent",
    "presign", "force", "user_metadata", "show_hidden", "search", "id", "task_id", "no_tombstone", "include_right_stats", "parts", "status", "storage_id",
]  # fmt: skip
HEADERS = ["Range", "If-None-Match", "If-Match", "X-Lakefs-Meta-a", "x-lakefs-user-metadata", "Cookie", "Accept", "Accept-Encoding", "Content-Encoding", "X-Request-Id", "Origin", "Expect-CT"]
TYPES = ["application/json", "application/json; charset=utf-8", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "x", ""]
BODIES = [b"", b"{", b"null", b"[]", b"1", b'"text"', b"{}", b"\xff\xfe", b"[" * 20_000, b'{"a":' * 20_000, b'{"name":"a","name":1}', b'{"name":"\\ud800"}', b'{"date":1e999}', b'{"metadata":{"a":1}}', b'{"paths":[1]}', b'{"paths":null}']  # fmt: skip
GOOD = [
    {"name": "valid-name", "storage_namespace": "local://valid-name", "default_branch": "main"},
    {"name": "b", "source": "main"},
    {"id": "t", "ref": "main"},
    {"message": "m", "metadata": {"a": "b"}, "date": 5, "allow_empty": True},
    {"paths": ["a", "b"]},
    {"src_path": "there", "src_ref": "main"},
    {"ref": "main", "parent_number": 0},
    {"staging": {"physical_address": "local://elsewhere/x"}, "checksum": "x", "size_bytes": 1, "user_metadata": {"a": "b"}},
    [{"pattern": "main"}],
    {"paths": [{"type": "common_prefix", "path": "local://x/", "destination": ""}], "commit": {"message": "m"}},
    {"access_key_id": "a", "secret_access_key": "b"},
    {"type": "common_prefix", "path": "x"},
    {"set": {"a": "b"}},
]
AUTH = ("Authorization", BASIC)


def fill(template, repo, rng, share):
    """A path for a template: of each parameter a good value, or a hostile one."""
    out = []
    for part in template.split("/"):
        if not part.startswith("{"):
            out.append(part)
        elif rng.random() < share:
            out.append(quoted(rng))
        else:
            out.append(repo if part == "{repository}" else "main")
    return "/".join(out)


def test_every_operation_checks_its_path_and_body(rng, canary, server):
    assert len(OPERATIONS) > 120
    for name, method, template in OPERATIONS:
        for share in (0, 0.5):
            if name == "deleteRepository" and share == 0:
                continue
            for body in rng.sample(BODIES, 4):
                headers = [AUTH, ("Content-Type", "application/json")]
                target = "/api/v1" + fill(template, canary, rng, share)
                shown = f"{name}: {method} {target} {body[:100]!r}"
                answer = request(server.port, method, target, headers, body)
                check_rest(answer, shown, method)


def test_anything_at_random(rng, canary, server, rounds):
    for index in range(rounds):
        name, method, template = rng.choice(OPERATIONS)
        if rng.random() < 0.1:
            method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "get", "BREW", "M-SEARCH"])
        target = "/api/v1" + fill(template, canary, rng, 0.2)
        query = "&".join(f"{rng.choice(PARAMETERS)}={quoted(rng)}" for _ in range(rng.randrange(4)))
        if name == "deleteRepository" or "/repositories/canary" in target:
            continue
        kind = rng.randrange(5)
        if kind == 0:
            body = json.dumps({rng.choice(FIELDS): value(rng) for _ in range(rng.randrange(6))}).encode()
        elif kind == 1:
            body = damaged(rng, json.dumps(rng.choice(GOOD)).encode())
        elif kind == 2:
            good = dict(rng.choice([one for one in GOOD if isinstance(one, dict)]))
            good[rng.choice(list(good))] = value(rng)
            body = json.dumps(good).encode()
        elif kind == 3:
            body = rng.choice(BODIES)
        else:
            body = rng.randbytes(rng.randrange(200))
        headers = [AUTH, ("Content-Type", rng.choice(TYPES) if rng.random() < 0.3 else "application/json")]
        headers += [(rng.choice(HEADERS), header(rng)) for _ in range(rng.randrange(3) if rng.random() < 0.3 else 0)]
        target += "?" + query if query else ""
        shown = f"[{index}] {name}: {method} {target[:300]} {headers[1:]} {body[:300]!r}"
        check_rest(request(server.port, method, target, headers, body), shown, method)


@pytest.mark.parametrize(
    "credentials",
    ["", "Basic", "Basic !!!", "Basic " + "A" * 20_000, "Basic Og==", "Basic YTpi", "Basic /////w==", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "." * 1000, "Digest x", "\xff\xfe", BASIC + "x", "Negotiate"],
)
def test_bad_credentials_are_401(canary, server, credentials):
    for headers in ([("Authorization", credentials)], [("Cookie", f"internal_auth_session={credentials}")], []):
        answer = request(server.port, "GET", f"/api/v1/repositories/{canary}", headers)
        check_rest(answer, credentials)
        assert answer.status == 401, answer


FORM = b'--x\r\nContent-Disposition: form-data; name="content"; filename="f"\r\n\r\nbytes\r\n--x--\r\n'
BROKEN_FORMS = [
    FORM[:-6], FORM[:-20], FORM[:30], b"--x\r\n", b"--x--\r\n", b"--y\r\n\r\n--y--\r\n", b"", FORM.replace(b'name="content"', b'name="other"'),
    FORM.replace(b"\r\n\r\n", b"\r\n"), FORM.replace(b"\r\n", b"\n"), b"\x00" * 100, FORM.replace(b"Content-Disposition", b"X" * 100_000),
]  # fmt: skip


@pytest.mark.parametrize("form", BROKEN_FORMS, ids=range(len(BROKEN_FORMS)))
def test_a_broken_form_stores_nothing(canary, server, form):
    target = f"/api/v1/repositories/{canary}/branches/main/objects?path=broken"
    answer = request(server.port, "POST", target, [AUTH, ("Content-Type", "multipart/form-data; boundary=x"), ("Content-Length", len(form))], form)
    check_rest(answer, form[:200])
    assert answer.status == 400, answer
    assert Door(server.port).rest("GET", f"/repositories/{canary}/refs/main/objects", path="broken")[0] == 404


@pytest.mark.parametrize("framing", ["shorter than announced", "chunk without end", "chunk size is no number", "chunk size too large", "chunk without line end"])
@pytest.mark.parametrize("size", [10, 200_000])
def test_a_body_that_breaks_off_stores_nothing(canary, server, framing, size):
    body = b"b" * size
    length, sent = {
        "shorter than announced": (("Content-Length", size + 1), body),
        "chunk without end": (("Transfer-Encoding", "chunked"), b"%x\r\n" % size + body + b"\r\n"),
        "chunk size is no number": (("Transfer-Encoding", "chunked"), b"%x\r\n" % size + body + b"\r\nzz\r\n\r\n"),
        "chunk size too large": (("Transfer-Encoding", "chunked"), b"%x\r\n" % size + body + b"\r\n" + b"f" * 17 + b"\r\n\r\n"),
        "chunk without line end": (("Transfer-Encoding", "chunked"), b"%x\r\n" % size + body + b"x0\r\n\r\n"),
    }[framing]
    target = f"/api/v1/repositories/{canary}/branches/main/objects?path=broken"
    answer = request(server.port, "POST", target, [AUTH, ("Content-Type", "application/octet-stream"), length], sent, half_close=True)
    # A client that is gone needs no answer.
    assert answer is None or 400 <= answer.status < 500, answer
    assert Door(server.port).rest("GET", f"/repositories/{canary}/refs/main/objects", path="broken")[0] == 404


@pytest.mark.parametrize("size", [10, 70_000, 3_000_000])
def test_a_refusal_reaches_a_client_that_sends_its_body_first(canary, server, size):
    door = Door(server.port)
    for _ in range(5):
        at = f"/repositories/{canary}/branches/main/objects"
        assert door.rest("POST", at, b"x" * size, {"If-None-Match": "*"}, path="there")[0] == 412
        connection = door.connection
        assert door.rest("POST", "/repositories/no-such-repository/branches/main/objects", b"x" * size, path="a")[0] == 404
        assert door.connection is connection, "the connection goes on"


RANGES = ["bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=-0", "bytes=0-0,2-3", "bytes = 0-1", "bits=0-1", "bytes=99-", "bytes=0-" + "9" * 40, "bytes=-" + "9" * 40, "bytes=" + "0-0," * 5000, "bytes=18446744073709551615-18446744073709551616", "\xff"]  # fmt: skip


@pytest.mark.parametrize("asked", RANGES, ids=range(len(RANGES)))
def test_a_bad_range_is_refused_or_taken_back(canary, server, asked):
    answer = request(server.port, "GET", f"/api/v1/repositories/{canary}/refs/main/objects?path=there", [AUTH, ("Range", asked)])
    check_rest(answer, asked)
    assert answer.status in (200, 206, 400, 416), answer


def test_names_of_any_kind_are_taken_or_refused(rng, canary, server, rounds):
    """What is accepted can be read back under exactly that name."""
    door = Door(server.port)
    at = f"/repositories/{canary}"
    for _ in range(rounds // 4):
        name = text(rng).encode("utf-8", "replace").decode()
        status, answer = door.rest("POST", f"{at}/branches/main/objects", name.encode(), path=name)
        assert status == 201 or (400 <= status < 500 and answer["message"]), (name, status, answer)
        fits = 1 <= len(name.encode()) <= 1024
        assert (status == 201) == fits, (name, status, answer)
        if fits:
            assert door.rest("GET", f"{at}/refs/main/objects", path=name) == (200, name.encode()), name
            listed = door.rest("GET", f"{at}/refs/main/objects/ls", prefix=name, amount=1)[1]["results"]
            assert listed[0]["path"] == name
            assert door.rest("DELETE", f"{at}/branches/main/objects", path=name)[0] == 204
        for place, key, more in [("/branches", "name", {"source": "main"}), ("/tags", "id", {"ref": "main"})]:
            status, answer = door.rest("POST", at + place, {key: name} | more)
            assert status == 201 or (400 <= status < 500 and answer["message"]), (name, status, answer)
