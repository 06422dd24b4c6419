"""What another server of this API was seen to lose, and this one must not."""
import threading
import time

import pytest

from doors import Door


@pytest.fixture
def lake(server, repo):
    door = Door(server.port)

    class Lake:
        at = f"/repositories/{repo}"

        def call(self, method, at, body=None, ok=(200, 201, 204), **query):
            status, answer = door.rest(method, self.at + at, body, **query)
            assert status in ok, (method, at, status, answer)
            return answer

        def put(self, branch, *paths):
            for path in paths:
                self.call("POST", f"/branches/{branch}/objects", path.encode(), path=path)

        def delete(self, branch, *paths):
            for path in paths:
                self.call("DELETE", f"/branches/{branch}/objects", path=path)

        def commit(self, branch, **more):
            return self.call("POST", f"/branches/{branch}/commits", {"message": "m"} | more)["id"]

        def branch(self, name, source="main"):
            self.call("POST", "/branches", {"name": name, "source": source})

        def paths(self, ref):
            page = self.call("GET", f"/refs/{ref}/objects/ls", amount=1000)
            return [entry["path"] for entry in page["results"]]

    yield Lake()
    door.close()


@pytest.mark.parametrize(
    "base, deleted, added",
    [("ad", "d", "b"), ("ad", "d", "bc"), ("abz", "bz", "cm"), ("az", "az", "m"), ("adf", "df", "e"), ("mz", "z", "an")],
)
def test_a_merge_keeps_what_only_the_destination_has(lake, base, deleted, added):
    """The destination's key sorts between the source's last key and a deleted last key of the base."""
    lake.put("main", *base)
    lake.commit("main")
    lake.branch("source")
    lake.delete("source", *deleted)
    lake.commit("source")
    lake.put("main", *added)
    lake.commit("main")
    lake.call("POST", "/refs/source/merge/main")
    assert lake.paths("main") == sorted(set(base) - set(deleted) | set(added))


def test_a_merge_keeps_such_a_key_also_where_nodes_end(lake):
    """The same with enough keys for several tree nodes."""
    many = [f"k{n:05}" for n in range(2000)]
    for path in many:
        lake.call("PUT", "/branches/main/objects", {"physical_address": f"local://elsewhere/{path}", "checksum": "c" * 32, "size_bytes": 1}, path=path)
    lake.put("main", "z-last")
    lake.commit("main")
    lake.branch("source")
    lake.delete("source", "z-last")
    lake.commit("source")
    lake.put("main", "y-mine")
    lake.commit("main")
    lake.call("POST", "/refs/source/merge/main")
    assert lake.paths("main")[:10] == many[:10]
    last = lake.call("GET", "/refs/main/objects/ls", after="k01998")["results"]
    assert [entry["path"] for entry in last] == ["k01999", "y-mine"]


@pytest.mark.parametrize("racing", ["commits", "merges"])
def test_deletions_that_race_commits_and_merges_stay_deleted(lake, server, repo, racing):
    """Acknowledged deletions never come back, whatever moves the branch's head meanwhile."""
    keys = [[f"w{writer}/{n:02}" for n in range(25)] for writer in range(8)]
    lake.put("main", *(key for mine in keys for key in mine))
    lake.commit("main")
    lake.branch("side")
    over, wrong = threading.Event(), []

    def move(number):
        door, at = Door(server.port), f"/repositories/{repo}"
        n = 0
        while not over.is_set():
            n += 1
            if racing == "commits":
                door.rest("POST", f"{at}/branches/main/commits", {"message": "m"})
            else:
                path = f"side{number}/{n}"
                door.rest("POST", f"{at}/branches/side/objects", b"x", path=path)
                door.rest("POST", f"{at}/branches/side/commits", {"message": "m"})
                # Refused while there are uncommitted changes, which is most of the time: then those are committed.
                if door.rest("POST", f"{at}/refs/side/merge/main")[0] == 400:
                    door.rest("POST", f"{at}/branches/main/commits", {"message": "m"})
        door.close()

    def delete(mine):
        door, at = Door(server.port), f"/repositories/{repo}"
        for key in mine:
            status, _ = door.rest("DELETE", f"{at}/branches/main/objects", path=key)
            there = door.rest("GET", f"{at}/refs/main/objects/stat", path=key)[0]
            if (status, there) != (204, 404):
                wrong.append((key, status, there))
        door.close()

    movers = [threading.Thread(target=move, args=(number,)) for number in range(3)]
    deleters = [threading.Thread(target=delete, args=(mine,)) for mine in keys]
    for thread in movers + deleters:
        thread.start()
    for thread in deleters:
        thread.join()
    over.set()
    for thread in movers:
        thread.join()
    assert wrong == []
    assert [path for path in lake.paths("main") if path.startswith("w")] == []
    lake.call("POST", "/branches/main/commits", {"message": "the rest", "allow_empty": True})
    assert [path for path in lake.paths("main@") if path.startswith("w")] == []


def test_a_picked_commit_with_metadata_stays_readable(lake):
    lake.put("main", "a")
    lake.commit("main")
    lake.branch("dev")
    lake.put("dev", "b")
    origin = lake.commit("dev", metadata={"k": "v", "": "empty", "é": "ü"})
    picked = lake.call("POST", "/branches/main/cherry-pick", {"ref": "dev"})
    expected = {"k": "v", "": "empty", "é": "ü", "cherry-pick-origin": origin, "cherry-pick-committer": "quickstart"}
    for ref in (picked["id"], "main", picked["id"][:12]):
        found = lake.call("GET", f"/commits/{ref}")
        assert found["id"] == picked["id"] and found["metadata"] == expected
    assert [one["id"] for one in lake.call("GET", "/refs/main/commits")["results"]][0] == picked["id"]
    assert lake.paths(picked["id"]) == ["a", "b"]


def test_a_picked_merge_stays_readable(lake):
    lake.put("main", "a")
    lake.commit("main")
    for name in ("dev", "other"):
        lake.branch(name)
    lake.put("dev", "b")
    lake.commit("dev")
    lake.put("main", "c")
    lake.commit("main")
    merge = lake.call("POST", "/refs/dev/merge/main", {"metadata": {"k": "v"}})["reference"]
    picked = lake.call("POST", "/branches/other/cherry-pick", {"ref": merge, "parent_number": 1})
    found = lake.call("GET", f"/commits/{picked['id']}")
    assert found["metadata"]["k"] == "v" and found["metadata"]["cherry-pick-origin"] == merge
    assert lake.paths(picked["id"]) == ["a", "b"]


def test_protection_rules_count_from_their_answer_on(lake):
    """No request behind the answer to a change of the rules goes by the old ones, either way."""
    for n in range(20):
        lake.call("PUT", "/settings/branch_protection", [{"pattern": "ma*"}])
        lake.call("POST", "/branches/main/objects", b"x", ok=[403], path=f"{n}")
        lake.call("POST", "/branches/main/commits", {"message": "m", "allow_empty": True}, ok=[403])
        assert lake.call("GET", "/settings/branch_protection") == [{"pattern": "ma*"}]
        lake.call("PUT", "/settings/branch_protection", [])
        lake.call("POST", "/branches/main/objects", b"x", path=f"{n}")
        lake.call("POST", "/branches/main/commits", {"message": "m"})
        assert lake.call("GET", "/settings/branch_protection") == []


def test_a_write_in_flight_does_not_pass_rules_that_were_answered(lake, server, repo):
    """Writers run all the time; each write that began behind the answer to the rule is refused."""
    at, stop = f"/repositories/{repo}", threading.Event()
    done, turn = [], threading.Condition()

    def write(number):
        door, n = Door(server.port), 0
        while not stop.is_set():
            n += 1
            asked = time.monotonic()
            status, _ = door.rest("POST", f"{at}/branches/main/objects", b"x", path=f"{number}/{n}")
            with turn:
                done.append((asked, status))
                turn.notify_all()
        door.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    with turn:
        assert turn.wait_for(lambda: len(done) >= 40, timeout=60)
    lake.call("PUT", "/settings/branch_protection", [{"pattern": "main"}])
    answered = time.monotonic()
    before = len(lake.paths("main"))
    with turn:
        assert turn.wait_for(lambda: sum(asked > answered for asked, _ in done) >= 40, timeout=60)
    stop.set()
    for writer in writers:
        writer.join()
    assert {status for asked, status in done if asked > answered} == {403}
    assert {status for _, status in done} == {201, 403}
    assert len(lake.paths("main")) == before, "nothing landed behind the answer"


def test_deleted_and_renewed_things_are_not_seen_as_they_were(lake, server):
    """A repository, a branch and a tag are gone with the answer, and new under the same name at once."""
    for n in range(5):
        lake.branch("again")
        lake.put("again", f"{n}")
        assert lake.paths("again") == [f"{n}"]
        lake.call("DELETE", "/branches/again")
        lake.call("GET", "/branches/again", ok=[404])
        lake.call("POST", "/branches/again/objects", b"x", ok=[404], path="x")
    door = Door(server.port)
    for n in range(3):
        name = "renewed-" + lake.at[-8:]
        assert door.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}-{n}"})[0] == 201
        assert door.rest("GET", f"/repositories/{name}/refs/main/objects/ls")[1]["results"] == []
        assert door.rest("POST", f"/repositories/{name}/branches/main/objects", b"x", path="x")[0] == 201
        assert door.rest("DELETE", f"/repositories/{name}")[0] == 204
        assert door.rest("GET", f"/repositories/{name}")[0] == 404
    door.close()
