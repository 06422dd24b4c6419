"""Conflicts of a merge: shown with all three sides, decided path by path."""
import pytest


@pytest.fixture
def parted(server, repo):
    """`main` and `dev` changed `a` and `b` differently; `c` only on `dev`."""
    at = f"/repositories/{repo}"

    def ok(answer):
        status, content = answer
        assert status in (200, 201, 204), content
        return content

    def state(branch, **objects):
        for path, content in objects.items():
            ok(server.rest("POST", f"{at}/branches/{branch}/objects", content.encode(), path=path))
        ok(server.rest("POST", f"{at}/branches/{branch}/commits", {"message": "state"}))

    state("main", a="0", b="0")
    ok(server.rest("POST", f"{at}/branches", {"name": "dev", "source": "main"}))
    state("dev", a="dev", b="dev", c="dev")
    state("main", a="main", b="main")
    return at


def content(server, at, path):
    return server.rest("GET", f"{at}/refs/main/objects", path=path)[1]


def test_conflicts_are_shown_with_their_sides_and_page(server, parted):
    status, page = server.rest("GET", f"{parted}/refs/dev/merge/main/conflicts", amount=1)
    assert status == 200 and page["pagination"]["has_more"], page
    (first,) = page["results"]
    assert first["path"] == "a"
    assert len({first[side]["checksum"] for side in ("base", "source", "destination")}) == 3
    rest = server.rest("GET", f"{parted}/refs/dev/merge/main/conflicts", after=page["pagination"]["next_offset"])[1]
    assert [conflict["path"] for conflict in rest["results"]] == ["b"] and not rest["pagination"]["has_more"]


def test_each_conflict_ends_as_it_was_told(server, parted):
    decided = [{"path": "a", "take": "source"}]
    status, said = server.rest("POST", f"{parted}/refs/dev/merge/main", {"resolutions": decided})
    assert (status, said["reference"], said["conflicts"], said["conflict_count"]) == (409, "", ["b"], 1)
    decided.append({"path": "b", "take": "base"})
    status, done = server.rest("POST", f"{parted}/refs/dev/merge/main", {"resolutions": decided})
    assert status == 200 and len(done["reference"]) == 64, done
    assert [content(server, parted, path) for path in "abc"] == [b"dev", b"0", b"dev"]
    assert server.rest("GET", f"{parted}/refs/dev/merge/main/conflicts")[1]["results"] == []


def test_an_object_made_for_it_is_taken(server, parted):
    # Its bytes are those of an upload elsewhere, as a tool that merges contents makes them.
    server.rest("POST", f"{parted}/branches", {"name": "scratch", "source": "main"})
    status, made = server.rest("POST", f"{parted}/branches/scratch/objects", b"both", path="a")
    assert status == 201
    given = {"physical_address": made["physical_address"], "checksum": made["checksum"], "size_bytes": 4}
    decided = [{"path": "a", "take": "object", "object": given}, {"path": "b", "take": "destination"}]
    status, said = server.rest("POST", f"{parted}/refs/dev/merge/main", {"resolutions": decided})
    assert status == 400 and "ask for a new one" in said["message"], "only addresses issued for the purpose, or foreign ones"
    place = server.rest("GET", f"{parted}/branches/main/staging/backing", path="a")[1]
    given["physical_address"] = place["physical_address"]
    status, done = server.rest("POST", f"{parted}/refs/dev/merge/main", {"resolutions": decided})
    assert status == 200, done
    stat = server.rest("GET", f"{parted}/refs/main/objects/stat", path="a")[1]
    assert (stat["checksum"], stat["size_bytes"]) == (made["checksum"], 4)


@pytest.mark.parametrize("decided", [
    [{"path": "c", "take": "source"}],
    [{"path": "a", "take": "both"}],
    [{"path": "a"}],
    [{"path": "", "take": "source"}],
    [{"path": "a", "take": "object"}],
    [{"path": "a", "take": "source", "object": {"physical_address": "x", "checksum": "x", "size_bytes": 1}}],
    [{"path": "a", "take": "object", "object": {"physical_address": "s3://x/y", "checksum": "x", "size_bytes": 1}}],
    [{"path": "a", "take": "object", "object": {"physical_address": "local://x/y", "checksum": " ", "size_bytes": 1}}],
    [{"path": "a", "take": "object", "object": {"physical_address": "local://x/y", "checksum": "x", "size_bytes": -1}}],
    [{"path": "a", "take": "source"}, {"path": "a", "take": "base"}],
    [{"path": f"p{n}", "take": "source"} for n in range(1001)],
    "all",
])
def test_senseless_decisions_are_refused(server, parted, decided):
    body = {"resolutions": decided, "strategy": "source-wins"}
    before = server.rest("GET", f"{parted}/branches/main")[1]
    status, said = server.rest("POST", f"{parted}/refs/dev/merge/main", body)
    assert status == 400 and said["message"], said
    assert server.rest("GET", f"{parted}/branches/main")[1] == before
