#!/usr/bin/env python3
"""Many writers through both doors while the server is killed at random moments; nothing acknowledged may be lost.

    tests/torture/torture.py --kills 50 --writers 64 [--seed N]

What is checked after every start, before the writers go on (`protocol.md`, What is promised):

- Every key of every writer has the value of its last acknowledged write or delete. A request without an answer may have
  happened or not: then either value is right. Contents are compared byte for byte.
- A listing shows exactly the keys that reads show.
- A commit that was acknowledged holds what its writer had written before it asked.
- A merge shows whole: all keys of a group have the same generation in the commit that `trunk` points to, and none
  older than the last acknowledged one.
- Branches and tags that were acknowledged are there and point where they did.
"""
import argparse
import hashlib
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from doors import Door, NoAnswer  # noqa: E402
from lakebed_server import Server  # noqa: E402

REPO = "torture"
GONE = None  # the state of a key that is not there
GROUP = 4  # keys of a merged group
PART = 5 << 20


def content(name, size):
    """The bytes of a value: its name, then what follows from it."""
    head = name.encode() + b"\n"
    block = hashlib.sha512(head).digest()
    return (head + block * (size // len(block) + 1))[: max(size, len(head))]


class Lost(AssertionError):
    pass


class Writer(threading.Thread):
    """One writer: its own keys on `main`, its own branches, its own group on `trunk`."""

    def __init__(self, number, seed, stage):
        super().__init__(daemon=True)
        self.number, self.stage = number, stage
        self.random = random.Random(f"{seed}/{number}")
        self.door = Door(stage.server.port)
        self.keys = {}  # path -> the states it may have: [(value name, size) or GONE]
        self.commits = []  # (commit id, {path: states})
        self.refs = {}  # "branches/x" or "tags/x" -> commit id
        self.written = 0
        self.generation = 0  # attempted
        self.merged = 0  # acknowledged
        self.done = {"acknowledged": 0, "unknown": 0}
        self.error = None

    def run(self):
        try:
            while self.stage.enter():
                try:
                    self.step()
                    self.done["acknowledged"] += 1
                except NoAnswer:
                    self.done["unknown"] += 1
                finally:
                    self.stage.leave()
        except BaseException as error:  # noqa: BLE001 - raised again by the stage
            self.error = error
            self.stage.failed.set()

    def step(self):
        steps = [self.put_rest, self.put_s3, self.delete, self.commit, self.branch, self.merge, self.multipart]
        self.random.choices(steps, weights=[30, 30, 15, 6, 4, 8, 0.3])[0]()

    def write(self, path, state, call):
        """A write of a key: before it is acknowledged both states are possible."""
        before = self.keys.get(path, [GONE])
        self.keys[path] = before + [state]
        status = call()
        if status in (200, 201, 204):
            self.keys[path] = [state]
        else:
            raise Lost(f"writer {self.number}: '{path}' answered {status}")

    def fresh(self):
        self.written += 1
        size = self.random.choice([10, 100, 1000, 5000, 70_000, 300_000])
        path = f"w{self.number}/{self.random.randrange(12)}"
        return path, (f"{self.number}-{self.written}", size)

    def put_rest(self):
        path, state = self.fresh()
        at = f"/repositories/{REPO}/branches/main/objects"
        self.write(path, state, lambda: self.door.rest("POST", at, content(*state), path=path)[0])

    def put_s3(self):
        path, state = self.fresh()
        self.write(path, state, lambda: self.door.s3("PUT", f"{REPO}/main/{path}", content(*state))[0])

    def multipart(self):
        path, (name, _) = self.fresh()
        state = (name, PART + 1000)
        whole = content(*state)

        def call():
            at = f"{REPO}/main/{path}"
            status, made, _ = self.door.s3("POST", at, query={"uploads": ""})
            if status != 200:
                return status
            upload = made.split(b"<UploadId>")[1].split(b"<")[0].decode()
            parts = ""
            for number, body in enumerate([whole[:PART], whole[PART:]], 1):
                query = {"partNumber": number, "uploadId": upload}
                status, _, headers = self.door.s3("PUT", at, body, query=query)
                if status != 200:
                    return status
                parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['ETag']}</ETag></Part>"
            parts = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
            return self.door.s3("POST", at, parts, query={"uploadId": upload})[0]

        self.write(path, state, call)

    def delete(self):
        if not self.keys:
            return
        path = self.random.choice(sorted(self.keys))
        if self.random.random() < 0.5:
            self.write(path, GONE, lambda: self.door.s3("DELETE", f"{REPO}/main/{path}")[0])
        else:
            at = f"/repositories/{REPO}/branches/main/objects"
            self.write(path, GONE, lambda: self.door.rest("DELETE", at, path=path)[0])

    def commit(self):
        mine = {path: list(states) for path, states in self.keys.items()}
        at = f"/repositories/{REPO}/branches/main/commits"
        status, made = self.door.rest("POST", at, {"message": f"by {self.number}"})
        if status == 201:
            self.commits.append((made["id"], mine))
        elif status != 400 or "no changes" not in str(made):
            raise Lost(f"writer {self.number}: commit answered {status} {made}")

    def branch(self):
        """A branch and a tag on main's head."""
        status, main = self.door.rest("GET", f"/repositories/{REPO}/branches/main")
        if status != 200:
            raise Lost(f"branch main answered {status}")
        name, head = f"b{self.number}-{self.written}-{len(self.refs)}", main["commit_id"]
        status, _ = self.door.rest("POST", f"/repositories/{REPO}/branches", {"name": name, "source": head})
        if status == 201:
            self.refs[f"branches/{name}"] = head
        status, _ = self.door.rest("POST", f"/repositories/{REPO}/tags", {"id": "t" + name, "ref": head})
        if status == 201:
            self.refs[f"tags/t{name}"] = head

    def merge(self):
        """A new generation of the writer's group: on a branch of its own, committed, merged into trunk."""
        self.generation += 1
        name = f"g{self.number}-{self.generation}"
        at = f"/repositories/{REPO}"
        status, _ = self.door.rest("POST", f"{at}/branches", {"name": name, "source": "trunk"})
        if status != 201:
            return
        for index in range(GROUP):
            body = json.dumps({"generation": self.generation}).encode()
            self.door.s3("PUT", f"{REPO}/{name}/g{self.number}/{index}", body)
        status, _ = self.door.rest("POST", f"{at}/branches/{name}/commits", {"message": name})
        if status != 201:
            raise Lost(f"commit on {name} answered {status}")
        # Two generations whose outcome was unknown may meet: the newer one wins.
        wanted = {"strategy": "source-wins"}
        status, answer = self.door.rest("POST", f"{at}/refs/{name}/merge/trunk", wanted)
        if status != 200:
            raise Lost(f"merge of {name} answered {status} {answer}")
        self.merged = self.generation
        self.door.rest("DELETE", f"{at}/branches/{name}")

    # What must hold, asked while nobody writes.

    def check(self, door, rng):
        self.check_keys(door, rng)
        self.check_group(door)
        for commit, keys in rng.sample(self.commits, min(2, len(self.commits))):
            for path in rng.sample(sorted(keys), min(4, len(keys))):
                self.expect(path, keys[path], self.read(door, rng, commit, path), f"in commit {commit}")
        for ref in rng.sample(sorted(self.refs), min(3, len(self.refs))):
            status, found = door.rest("GET", f"/repositories/{REPO}/{ref}")
            if status != 200 or found["commit_id"] != self.refs[ref]:
                raise Lost(f"{ref}: {status} {found}, not {self.refs[ref]}")

    def read(self, door, rng, ref, path):
        if rng.random() < 0.5:
            status, found, _ = door.s3("GET", f"{REPO}/{ref}/{path}")
        else:
            status, found = door.rest("GET", f"/repositories/{REPO}/refs/{ref}/objects", path=path)
        if status not in (200, 404):
            raise Lost(f"reading '{path}' of {ref} answered {status}: {found[:500]}")
        return found if status == 200 else GONE

    def expect(self, path, states, found, where):
        for state in states:
            if found == (GONE if state is GONE else content(*state)):
                return state
        shown = found if found is GONE else found[:60]
        raise Lost(f"writer {self.number}: '{path}' {where} is {shown!r}, must be one of {states}")

    def check_keys(self, door, rng):
        there = set()
        for path, states in self.keys.items():
            state = self.expect(path, states, self.read(door, rng, "main", path), "on main")
            self.keys[path] = [state]
            if state is not GONE:
                there.add(path)
        at = f"/repositories/{REPO}/refs/main/objects/ls"
        status, page = door.rest("GET", at, prefix=f"w{self.number}/", amount=1000)
        listed = {entry["path"] for entry in page["results"]}
        if status != 200 or listed != there:
            raise Lost(f"writer {self.number}: listed {sorted(listed)}, read {sorted(there)}")

    def check_group(self, door):
        status, trunk = door.rest("GET", f"/repositories/{REPO}/branches/trunk")
        if status != 200:
            raise Lost(f"trunk answered {status}")
        seen = set()
        for index in range(GROUP):
            at = f"/repositories/{REPO}/refs/{trunk['commit_id']}/objects"
            status, found = door.rest("GET", at, path=f"g{self.number}/{index}")
            if status not in (200, 404):
                raise Lost(f"group of {self.number} answered {status}")
            seen.add(json.loads(found)["generation"] if status == 200 else 0)
        if len(seen) != 1 or not self.merged <= max(seen) <= self.generation:
            raise Lost(f"group of {self.number} has generations {seen}, merged {self.merged} of {self.generation}")


class Stage:
    """The server, and the times when it may be written to."""

    def __init__(self, server):
        self.server = server
        self.failed = threading.Event()
        self.turn = threading.Condition()
        self.serving, self.over, self.inside = False, False, 0

    def enter(self):
        """Waits until writing is allowed; False when it is over."""
        with self.turn:
            self.turn.wait_for(lambda: self.serving or self.over)
            self.inside += not self.over
            return not self.over

    def leave(self):
        with self.turn:
            self.inside -= 1
            self.turn.notify_all()

    def open(self, serving, over=False):
        with self.turn:
            self.serving, self.over = serving, over
            self.turn.notify_all()

    def wait_for_quiet(self):
        """Until no writer is in the middle of anything."""
        with self.turn:
            assert self.turn.wait_for(lambda: self.inside == 0, timeout=120), "a writer does not come back"


def torture(directory, kills, writers, seed, pause=(0.2, 2.0)):
    rng = random.Random(seed)
    server = Server(directory).start()
    stage = Stage(server)
    door = Door(server.port)
    made, answer = door.rest("POST", "/repositories", {"name": REPO, "storage_namespace": f"local://{REPO}"})
    assert made == 201, answer
    assert door.rest("POST", f"/repositories/{REPO}/branches", {"name": "trunk", "source": "main"})[0] == 201
    crowd = [Writer(number, seed, stage) for number in range(writers)]
    for writer in crowd:
        writer.start()
    for kill in range(kills):
        stage.open(serving=True)
        stage.failed.wait(rng.uniform(*pause))
        stage.open(serving=False)
        server.kill()
        door.close()
        begun = time.monotonic()
        server.start()
        started = time.monotonic() - begun
        stage.wait_for_quiet()
        for writer in crowd:
            if writer.error:
                raise writer.error
            writer.check(door, rng)
        total = sum(writer.done["acknowledged"] for writer in crowd)
        print(f"kill {kill + 1}: started in {started:.2f} s, {total} acknowledged so far, all there", flush=True)
    stage.open(serving=False, over=True)
    for writer in crowd:
        writer.join()
    server.stop()
    return {
        "kills": kills,
        "acknowledged": sum(writer.done["acknowledged"] for writer in crowd),
        "unknown": sum(writer.done["unknown"] for writer in crowd),
        "merges": sum(writer.merged for writer in crowd),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        print(torture(pathlib.Path(directory) / "lake", options.kills, options.writers, options.seed))


if __name__ == "__main__":
    main()
