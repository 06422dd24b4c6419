"""A fuzzer that knows nothing of us reads our description and makes of it what fits and what does not.

It is also a second judge of the answers: beside our own reading of the description it checks them against the schemas.
`LAKEBED_FUZZ_EXAMPLES` is how many requests of each kind every operation gets.
"""
import os

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import response_schema_conformance

from doors import BASIC, Door
from openapi import Api

EXAMPLES = int(os.environ.get("LAKEBED_FUZZ_EXAMPLES", 3))
SEED = int(os.environ.get("LAKEBED_SEED", "20260101"))
NAMES = {"branch": "main", "ref": "main", "leftRef": "v1", "rightRef": "main", "sourceRef": "v1", "destinationBranch": "main", "tag": "v1", "commitId": "main"}


@pytest.fixture(scope="module")
def lake(server):
    """The description as both read it, over a repository with a little history."""
    fresh = iter(range(10**9))

    def repository():
        door = Door(server.port)
        name = f"fuzzed-{next(fresh)}"
        assert door.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})[0] == 201
        assert door.rest("POST", f"/repositories/{name}/branches/main/objects", b"x", path="a")[0] == 201
        assert door.rest("POST", f"/repositories/{name}/branches/main/commits", {"message": "first"})[0] == 201
        assert door.rest("POST", f"/repositories/{name}/tags", {"id": "v1", "ref": "main"})[0] == 201
        door.close()
        return name

    ours = Api(server.endpoint)
    theirs = schemathesis.openapi.from_url(server.endpoint + "/openapi.json")
    by_place = {(one.method, one.path): one for one in ours.operations}
    read = [found.ok() for found in theirs.get_all_operations()]
    operations = [(one, by_place.pop((one.method.upper(), one.path))) for one in read]
    assert not by_place
    yield operations, repository
    assert "panicked" not in server.log.read_text(errors="replace")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.name.lower())
def test_no_fault_and_nothing_undescribed(server, lake, mode):
    operations, fresh = lake
    wrong, sent = {}, 0
    for theirs, ours in operations:
        names = NAMES | {"repository": fresh()}

        @hypothesis.seed(SEED)
        @hypothesis.settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate])
        @hypothesis.given(case=theirs.as_strategy(generation_mode=mode), real=strategies.integers(0, 3))
        def one(case, real):
            nonlocal sent
            if real:
                for name in set(case.path_parameters or {}) & set(names):
                    case.path_parameters[name] = names[name]
            if real != 3:
                case.headers = {**(case.headers or {}), "Authorization": BASIC}
            answer = case.call(base_url=server.endpoint + "/api/v1")
            sent += 1
            content = answer.content
            what = ours.wrong(answer.status_code, answer.headers.get("content-type", [""])[0], content)
            if what is None and content and "application/json" in answer.headers.get("content-type", [""])[0]:
                try:
                    case.validate_response(answer, checks=[response_schema_conformance])
                except FailureGroup as group:
                    what = "; ".join(str(failure) for failure in group.exceptions)
            if what:
                wrong.setdefault((ours.id, what[:60]), f"{what}\n{case.as_curl_command()[:1500]}\n{answer.status_code} {content[:300]}")

        try:
            one()
        except hypothesis.errors.Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, ours  # there is nothing that could be wrong with it
    assert not wrong, f"LAKEBED_SEED={SEED}\n" + "\n\n".join(wrong.values())
    assert sent > len(operations) * EXAMPLES * 0.6
