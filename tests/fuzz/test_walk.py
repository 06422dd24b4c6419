"""Whatever is sent, the answer is one that the server's own description names, and no fault of the server.

`LAKEBED_SEED` repeats a walk, `LAKEBED_FUZZ` is how many requests it has.
"""
import os
import random

import pytest
from walk import Walk
from wire import request

from doors import BASIC, Door
from openapi import Api

SEED = os.environ.get("LAKEBED_SEED", "20260101")
REQUESTS = int(os.environ.get("LAKEBED_FUZZ", 12_000))
# What would end the walk, or set up what is set up.
RARE = {"deleteRepository": 0.02, "setup": 0.2, "deleteBranch": 0.3, "setBranchProtectionRules": 0.3, "internalCreateBranchProtectionRule": 0.3}


def start(door, name):
    assert door.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})[0] == 201
    at = f"/repositories/{name}"
    for path in ("a", "b/c", "b/d/e"):
        assert door.rest("POST", f"{at}/branches/main/objects", path.encode(), path=path)[0] == 201
    assert door.rest("POST", f"{at}/branches/main/commits", {"message": "first"})[0] == 201
    assert door.rest("POST", f"{at}/branches", {"name": "dev", "source": "main"})[0] == 201
    assert door.rest("POST", f"{at}/tags", {"id": "v1", "ref": "main"})[0] == 201
    assert door.rest("POST", f"{at}/branches/dev/objects", b"dev", path="b/d/e")[0] == 201


@pytest.fixture(scope="module")
def api(server):
    return Api(server.endpoint)


@pytest.mark.parametrize("part", range(4))
def test_every_answer_is_described(server, api, part):
    rng = random.Random(f"{SEED}/{part}")
    door, wrong, seen = Door(server.port), {}, {}
    for begun in range(6):
        name = f"walk-{part}-{begun}"
        start(door, name)
        walk = Walk(api, rng, name)
        for index in range(REQUESTS // 24):
            operation = rng.choice(api.operations)
            if rng.random() > RARE.get(operation.id, 1):
                continue
            headers, body = walk.content(operation)
            headers += walk.headers(operation)
            if rng.random() > 0.02:
                headers.append(("Authorization", BASIC))
            target = walk.target(operation)
            answer = request(server.port, operation.method, target, headers, body)
            shown = f"[{begun}/{index}] {operation.id}: {operation.method} {target[:400]} {headers} {body[:600]!r}: {answer}"
            assert answer is not None, shown
            if what := operation.wrong(answer.status, answer.headers.get("Content-Type", ""), answer.body):
                wrong.setdefault((operation.id, answer.status, what[:60]), f"{what}: {shown}")
            seen.setdefault(operation.id, set()).add(answer.status)
            walk.learn(operation, answer.status, answer.body)
    door.close()
    assert not wrong, f"LAKEBED_SEED={SEED}\n" + "\n\n".join(wrong.values())
    assert "panicked" not in server.log.read_text(errors="replace")
    if REQUESTS >= 10_000:
        # A walk that only meets refusals proves little.
        done = {name for name, statuses in seen.items() if any(status < 300 for status in statuses)}
        able = {operation.id for operation in api.operations if operation.served and not operation.id.startswith(("setup", "logBranch"))}
        assert len(done & able) >= len(able) * 2 // 3, sorted(able - done)
