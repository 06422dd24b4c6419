"""What is wrong with a request is said by name, for every operation and everything it takes; what is unknown is ignored."""
import json
import random
import urllib.parse

import pytest
from walk import Walk

from doors import BASIC, Door
from openapi import Api

UNUSABLE = {"object": "x", "array": "x", "string": 5, "integer": "x", "boolean": "x"}
LONGEST_BODY = 10 << 20


@pytest.fixture(scope="module")
def door(server):
    door = Door(server.port)
    yield door
    door.close()


@pytest.fixture(scope="module")
def api(server, door):
    name = "wrong-input"
    assert door.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})[0] == 201
    api = Api(server.endpoint)
    api.walk = Walk(api, random.Random(0), name, wild=0)
    api.takers = [operation for operation in api.operations if "400" in operation.answers and not operation.unknown]
    return api


def good(api, operation):
    """(path, query, body) that the operation understands: what must be there."""
    path = operation.path
    for parameter in operation.of("path"):
        found = str(api.walk.scalar(parameter["name"], parameter["schema"], operation.id))
        path = path.replace("{" + parameter["name"] + "}", urllib.parse.quote(found, safe="") or "x")
    query = [(p["name"], "x") for p in operation.of("query") if p.get("required")]
    return path, query, None if operation.json_body is None else smallest(api, operation.json_body)


def smallest(api, schema, name=""):
    schema = api.resolve(schema)
    match schema.get("type"):
        case "object":
            return {field: smallest(api, schema["properties"][field], field) for field in schema.get("required", [])}
        case "array":
            return [smallest(api, schema["items"], name)]
    return api.walk.scalar(name, schema, "")


def send(door, operation, path, query, body=None, content=None, kind="application/json"):
    """(status, text) of a request; the answer must be one that is described."""
    encoded = "&".join(f"{name}={value}" for name, value in query)
    headers = {"Authorization": BASIC}
    if body is not None or content is not None:
        content = json.dumps(body).encode() if content is None else content
        headers["Content-Type"] = kind
    status, answer, got = door.send(operation.method, "/api/v1" + path + ("?" + encoded if encoded else ""), content, headers)
    wrong = operation.wrong(status, got.get("Content-Type", ""), answer)
    assert wrong is None, f"{operation}: {wrong}: {encoded} {content and content[:200]}: {status} {answer[:300]}"
    return status, answer.decode()


def refused(door, operation, names, *request, **more):
    status, answer = send(door, operation, *request, **more)
    shown = f"{operation}: {names}: {str(request)[:300]}: {status} {answer[:300]}"
    assert status == 400, shown
    if operation.method != "HEAD":
        assert names in answer and len(answer) < 1000, shown


def spoilt(api, parameter):
    """Values that a parameter of the query does not take, as they are written in a query."""
    schema = api.resolve(parameter["schema"])
    match schema["type"]:
        case "integer":
            low, high = schema.get("minimum"), schema.get("maximum")
            found = ["x", "1.5", "", "9" * 30, "0x10", "%EF%BC%91"]
            return found + [str(edge) for edge in (low and low - 1, high and high + 1) if edge is not None]
        case "boolean":
            return ["maybe", "", "2", "yes", "tRuE"]
        case "array":
            return ["", "%ff"]
    if "enum" in schema:
        return ["bogus", "", schema["enum"][0].upper()]
    if schema.get("format") == "date-time":
        return ["yesterday", "2020-01-01", "%ff"]
    return ["%ff"] + ([] if parameter.get("allowEmptyValue") else [""])


def test_parameters_of_the_query(api, door):
    tried = 0
    for operation in api.takers:
        for parameter in operation.of("query"):
            name = parameter["name"]
            path, query, body = good(api, operation)
            others = [pair for pair in query if pair[0] != name]
            if parameter.get("required"):
                refused(door, operation, name, path, others, body)
            for value in spoilt(api, parameter):
                refused(door, operation, name, path, [*others, (name, value)], body)
                tried += 1
            if parameter["schema"]["type"] != "array":
                refused(door, operation, name, path, [*others, (name, "1"), (name, "1")], body)
    assert tried > 200


def test_parameters_of_the_path(api, door):
    tried = 0
    for operation in api.takers:
        path, query, body = good(api, operation)
        for parameter in operation.of("path"):
            name, schema = parameter["name"], parameter["schema"]
            numbers = ["0", "10001", "x", "1.5", "-1"] if schema["type"] == "integer" else []
            for value in numbers + (["bogus"] if "enum" in schema else []):
                at = operation.path.replace("{" + name + "}", value)
                for other in operation.of("path"):
                    at = at.replace("{" + other["name"] + "}", api.walk.pool["repository"][0] if other["name"] == "repository" else "main")
                refused(door, operation, name, at, query, body)
                tried += 1
        if operation.path.startswith("/repositories/{repository}"):
            for value, expected, says in [("Bad_Name", 400, "repository"), ("no-such-repository", 404, "not found")]:
                at = path.replace(api.walk.pool["repository"][0], value, 1)
                status, answer = send(door, operation, at, query, body)
                # Preflights and deletions of many do not look, and old paths are unknown to new clients.
                if operation.served and operation.id != "logBranchCommits" and status not in (200, 204) and operation.method != "HEAD":
                    assert status in (expected, 400) and (says in answer or status == 400), f"{operation}: {value}: {status} {answer}"
                    tried += 1
    assert tried > 100


def fields(api, schema, at=()):
    """Every field that a body can have: where it is, and its schema."""
    schema = api.resolve(schema)
    if schema.get("type") == "array":
        yield from fields(api, schema["items"], (*at, 0))
    for name, inner in schema.get("properties", {}).items():
        yield (*at, name), inner
        yield from fields(api, inner, (*at, name))


def put(api, schema, body, at, value):
    """The body with a value there; what is missing on the way is made."""
    place, schema = body, api.resolve(schema)
    for step, following in zip(at, at[1:]):
        inner = api.resolve(schema["items"] if step == 0 else schema["properties"][step])
        if step != 0 and step not in place:
            place[step] = smallest(api, inner, step)
        if place[step] == [] and following == 0:
            place[step] = [smallest(api, inner["items"], step)]
        place, schema = place[step], inner
    place[at[-1]] = value
    return body


def test_fields_of_bodies(api, door):
    tried = 0
    for operation in api.takers:
        schema = operation.json_body
        if schema is None:
            continue
        for at, inner in fields(api, schema):
            found, name = api.resolve(inner), at[-1]
            values = [UNUSABLE[found["type"]], {} if found["type"] != "object" else []] if "type" in found else []
            values += ["bogus"] if "enum" in found else []
            values += [2**63, 1.5] if found.get("type") == "integer" else []
            values += [[5]] if found.get("type") == "array" else []
            values += [{"k": 5}] if isinstance(found.get("additionalProperties"), dict) else []
            for value in values:
                path, query, body = good(api, operation)
                refused(door, operation, name, path, query, put(api, schema, body, at, value))
                tried += 1
    assert tried > 300


def test_missing_fields_and_null(api, door):
    tried = 0
    for operation in api.takers:
        schema = operation.json_body
        for name in api.resolve(schema).get("required", []) if schema else []:
            path, query, body = good(api, operation)
            del body[name]
            refused(door, operation, name, path, query, body)
            path, query, body = good(api, operation)
            refused(door, operation, name, path, query, body | {name: None})
            tried += 1
    assert tried > 40


def test_bodies_that_are_none(api, door):
    for operation in api.takers:
        if operation.json_body is None:
            continue
        path, query, body = good(api, operation)
        for content in (b"{", b"null", b'"x"', b"5", b"\xff", b"{}" if isinstance(body, list) else b"[]", b"[" * 50_000):
            refused(door, operation, "request body", path, query, content=content)
        if operation.body.get("required"):
            refused(door, operation, "value is required but missing", path, query)
        refused(door, operation, "application/json", path, query, body, kind="text/plain")


def test_bodies_that_are_too_long(api, door):
    for operation in api.takers:
        if operation.json_body is not None:
            path, query, _ = good(api, operation)
            status, answer = send(door, operation, path, query, content=b" " * (LONGEST_BODY + 1))
            assert status == 413 and str(LONGEST_BODY) in answer, f"{operation}: {status} {answer}"


def test_what_is_unknown_is_ignored(api, door):
    """The answer is that to the same request without it."""
    for operation in api.takers:
        if operation.id in ("setup", "deleteRepository"):
            continue
        path, query, body = good(api, operation)
        for _ in range(2):
            status, answer = send(door, operation, path, [*query, ("no_such_parameter", "%ff"), ("x[]", "1")], body | {"no_such_field": [{}]} if isinstance(body, dict) else body)
            assert status != 400 or not any(word in answer for word in ("no_such", "x[]", "request body", "parameter")), f"{operation}: {answer}"


def test_what_is_oversized_is_named(door, api):
    """Names and paths have limits that the message states."""
    at = f"/repositories/{api.walk.pool['repository'][0]}"
    for method, path, body, query, says in [
        ("POST", "/repositories", {"name": "a" * 64, "storage_namespace": "local://x"}, {}, "63"),
        ("POST", f"{at}/branches", {"name": "a" * 4001, "source": "main"}, {}, "4000"),
        ("POST", f"{at}/tags", {"id": "a" * 4001, "ref": "main"}, {}, "4000"),
        ("POST", f"{at}/branches/main/objects", b"x", {"path": "a" * 1025}, "1024"),
        ("GET", f"{at}/refs/main/objects", None, {"path": "a" * 1025}, "1024"),
        ("POST", f"{at}/branches/main/objects/delete", {"paths": ["a"] * 1001}, {}, "1000"),
        ("GET", f"{at}/branches", None, {"amount": 1001}, "1000"),
        ("GET", f"{at}/refs/{'a' * 7000}/commits", None, {}, ""),
    ]:
        status, answer = door.rest(method, path, body, **query)
        assert 400 <= status < 500 and (says in answer["message"] if isinstance(answer, dict) else True), (path[:80], status, answer)
