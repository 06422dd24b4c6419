"""The short form of `make torture`, and the proof that it would notice what it is about."""
import os
import random

import pytest

from history import Lost
from lake import AT
from torture import torture

SEED = int(os.environ.get("LAKEBED_SEED", random.SystemRandom().randrange(1 << 32)))


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path):
    print(f"LAKEBED_SEED={SEED}")
    done = torture(tmp_path / "lake", kills=4, writers=64, seed=SEED)
    print(done)
    assert done["commits on main"] > 1 and done["merges into trunk"] > 1 and done["acknowledged"] > 200, done


def ok(answer):
    assert answer[0] in (200, 201, 204), answer
    return answer[1]


WRITERS = 12


def before_what_is_known(door, branch):
    """A head of a while ago. When the server is killed each writer has a request under way whose end it does not hear: as
    many of the last heads may go without a loss that anyone could notice."""
    return ok(door.rest("GET", f"{AT}/refs/{branch}/commits", amount=WRITERS + 2, first_parent="true"))["results"][-1]["id"]


def lose_a_write(door):
    path = ok(door.rest("GET", f"{AT}/refs/main/objects/ls"))["results"][0]["path"]
    ok(door.rest("DELETE", f"{AT}/branches/main/objects", path=path))


def bring_back_a_delete(door):
    listed = {one["path"] for one in ok(door.rest("GET", f"{AT}/refs/main/objects/ls", amount=1000))["results"]}
    absent = next(f"w{writer:02}/{n}" for writer in range(99) if writer % 3 != 2 for n in range(7) if f"w{writer:02}/{n}" not in listed)
    ok(door.rest("POST", f"{AT}/branches/main/objects", b"back again", path=absent))


def lose_a_commit(door):
    ok(door.rest("PUT", f"{AT}/branches/main/hard_reset", ref=before_what_is_known(door, "main")))


def lose_a_merge(door):
    ok(door.rest("PUT", f"{AT}/branches/trunk/hard_reset", ref=before_what_is_known(door, "trunk")))


def commit_unasked(door):
    ok(door.rest("POST", f"{AT}/branches/main/commits", {"message": "unasked", "allow_empty": True}))


def lose_staged_changes(door):
    ok(door.rest("PUT", f"{AT}/branches/main", {"type": "reset"}))


def lose_a_branch(door):
    branches = ok(door.rest("GET", f"{AT}/branches", amount=1000))["results"]
    for branch in branches:
        if branch["id"] not in ("main", "trunk"):
            ok(door.rest("DELETE", f"{AT}/branches/{branch['id']}"))


SPOILED = [lose_a_write, bring_back_a_delete, lose_a_commit, lose_a_merge, commit_unasked, lose_staged_changes, lose_a_branch]


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_the_judge_notices(tmp_path, spoil):
    # What is spoilt may be just what a writer asked for when the server was killed, and then is no loss: not thrice.
    for attempt in range(3):
        try:
            torture(tmp_path / f"lake{attempt}", kills=1, writers=WRITERS, seed=SEED + attempt, pause=(2.0, 2.0), before_check=spoil)
        except Lost:
            return
    pytest.fail(f"{spoil.__name__} was not noticed")
