"""Every read operation, called through the published `lakefs-sdk`, which refuses answers that its models do not know.

And every schema of our description that the package has a model of, filled in whole: its models are generated from the
description that clients know, so what they accept is what clients accept.
"""
import inspect
import re

import lakefs_sdk
import pytest
from lakefs_sdk.exceptions import ApiException

from lakebed_server import KEY, SECRET
from openapi import Api

APIS = [value for name, value in vars(lakefs_sdk).items() if inspect.isclass(value) and name.endswith("Api")]
# Reads that are refused here, with what: nothing of the kind can exist yet.
REFUSED = {"getRun": 404, "listRunHooks": 404, "getRunHookOutput": 404, "importStatus": 404, "prepareGarbageCollectionCommitsStatus": 404}


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def method_of(operation):
    """The package has one method for each operation of its description, in each API that the operation is tagged with."""
    wanted = snake(operation.id).replace("_", "")
    for api in APIS:
        for name in vars(api):
            if not name.startswith("_") and name.replace("_", "") == wanted:
                return api, name
    return None


@pytest.fixture(scope="module")
def api(server):
    return Api(server.endpoint)


@pytest.fixture
def lake(server, repo):
    """A repository with one of everything that can be read, and what its parts are called."""
    at = f"/repositories/{repo}"

    def call(method, place, body=None, **query):
        status, answer = server.rest(method, at + place, body, **query)
        assert status in (200, 201, 202, 204), (place, status, answer)
        return answer

    call("POST", "/branches/main/objects", b"first", path="a/b")
    first = call("POST", "/branches/main/commits", {"message": "first", "metadata": {"k": "v"}})
    call("POST", "/branches", {"name": "dev", "source": "main"})
    call("POST", "/branches/dev/objects", b"second", path="a/c")
    call("POST", "/branches/dev/commits", {"message": "second"})
    call("POST", "/branches/dev/objects", b"third", path="d")
    call("POST", "/tags", {"id": "v1", "ref": "main"})
    call("POST", "/metadata", {"metadata": {"k": "v"}})
    call("PUT", "/settings/branch_protection", [{"pattern": "stable*"}])
    call("PUT", "/settings/gc_rules", {"default_retention_days": 7, "branches": [{"branch_id": "main", "retention_days": 3}]})
    pull = call("POST", "/pulls", {"title": "t", "source_branch": "dev", "destination_branch": "main"})["id"]
    return {
        "repository": repo, "branch": "dev", "ref": "main", "left_ref": "main", "right_ref": "dev", "source_ref": "dev", "destination_branch": "main",
        "tag": "v1", "commit_id": first["id"], "pull_request": pull, "meta_range": first["meta_range_id"], "range": first["meta_range_id"],
        "object_id": first["meta_range_id"], "type": "meta_range", "path": "a/b", "run_id": "none", "hook_run_id": "none",
        "dump_status": call("POST", "/dump")["id"], "restore_status": "none", "id": "none", "principal_id": "x",
        "user_id": "quickstart", "group_id": "g", "policy_id": "p", "access_key_id": "k",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_read_operation_is_read(server, api, lake):
    client = lakefs_sdk.ApiClient(lakefs_sdk.Configuration(host=server.endpoint + "/api/v1", username=KEY, password=SECRET))
    read, lists = set(), 0
    for operation in api.operations:
        if operation.method not in ("GET", "HEAD") or operation.unknown:
            continue
        found = method_of(operation)
        if found is None:
            assert operation.id in ("getApiDescription", "logBranchCommits", "listMergeConflicts") or "Async" in operation.id, operation
            continue
        kind, name = found
        arguments = {snake(p["name"]): lake.get(name if p["name"] == "task_id" else snake(p["name"])) for p in operation.parameters if p.get("required")}
        expected = 501 if not operation.served else 404 if name == "restore_status" else REFUSED.get(operation.id)
        try:
            answer = getattr(kind(client), name)(**arguments)
        except ApiException as error:
            assert error.status == expected, f"{operation}: {error}"
            assert str(error.status) in operation.answers, operation
            continue
        assert expected is None, f"{operation}: it was expected to be refused with {expected}"
        if hasattr(answer, "pagination"):
            lists += bool(answer.results)
            assert answer.pagination.results == len(answer.results)
        read.add(operation.id)
    assert len(read) > 35 and lists >= 6, sorted(read)


def whole(api, schema, name=""):
    """A value with every field that a schema has."""
    if schema.get("nullable") and not schema.get("type"):
        return None
    schema = api.resolve(schema)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            # The settings of an external principal are left out: the package takes them for a list.
            fields = {field: inner for field, inner in schema.get("properties", {}).items() if not inner.get("x-lakebed") and field != "settings"}
            out = {field: whole(api, inner, field) for field, inner in fields.items()}
            others = schema.get("additionalProperties")
            return out or ({"k": whole(api, others)} if isinstance(others, dict) else {})
        case "array":
            return [whole(api, schema["items"], name)]
        case "integer":
            return schema.get("minimum", 0)
        case "boolean":
            return True
    if schema.get("format") == "date-time":
        return "2026-01-02T03:04:05Z"
    return {"range": "bytes=0-1", "storage_namespace": "local://x"}.get(name, "some-text")


def test_models_take_what_our_schemas_describe(api):
    tried = set()
    for name, schema in api.document["components"]["schemas"].items():
        model = getattr(lakefs_sdk, name, None)
        if model is None or not hasattr(model, "from_dict"):
            continue
        value = whole(api, schema)
        assert api.mismatch(schema, value) is None
        taken = model.from_dict(value).to_dict()
        known = set(model.__fields__) | {field.alias for field in model.__fields__.values()}
        assert not (set(value) & known) - set(taken), (name, "lost", taken)
        tried.add(name)
    assert len(tried) > 60, sorted(tried)
