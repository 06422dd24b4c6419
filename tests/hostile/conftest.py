import os
import pathlib
import random
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from doors import Door  # noqa: E402

SEED = int(os.environ.get("LAKEBED_SEED", random.SystemRandom().randrange(1 << 32)))
CONTENT = b"what is stored stays"


@pytest.fixture
def rng(request):
    print(f"LAKEBED_SEED={SEED}")
    return random.Random(f"{SEED}/{request.node.name}")


@pytest.fixture
def rounds():
    """How often a test tries something at random: a longer run is LAKEBED_ROUNDS=100000."""
    return int(os.environ.get("LAKEBED_ROUNDS", 1500))


@pytest.fixture
def canary(server):
    """What must be there afterwards as it was: an object and a commit, in a repository that no case names. The name of
    another repository, to be hostile to; it starts with an object."""
    door, names = Door(server.port), [f"{kind}-{uuid.uuid4().hex[:12]}" for kind in ("canary", "target")]
    for name in names:
        assert door.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})[0] == 201
        assert door.rest("POST", f"/repositories/{name}/branches/main/objects", CONTENT, path="there")[0] == 201
    status, commit = door.rest("POST", f"/repositories/{names[0]}/branches/main/commits", {"message": "kept"})
    assert status == 201
    assert door.rest("POST", f"/repositories/{names[0]}/branches/main/objects", CONTENT, path="staged")[0] == 201
    door.close()
    yield names[1]
    door.close()
    at = f"/repositories/{names[0]}"
    assert door.rest("GET", f"{at}/branches/main") == (200, {"id": "main", "commit_id": commit["id"]})
    for ref, path in [("main", "there"), ("main", "staged"), (commit["id"], "there")]:
        assert door.rest("GET", f"{at}/refs/{ref}/objects", path=path) == (200, CONTENT)
        assert door.s3("GET", f"{names[0]}/{ref}/{path}")[:2] == (200, CONTENT)
    door.close()
    assert "panicked" not in server.log.read_text(errors="replace")
