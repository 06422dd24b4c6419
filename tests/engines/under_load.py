"""Writers over several servers, and what must hold of what they were told, whoever died meanwhile."""
import collections
import http.client
import threading
import time
import urllib.error


def three(make):
    """Three servers, made by `make` of their number, that start at the same moment."""
    servers = [make(n) for n in range(3)]
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_until_ready()
    return servers


class Client:
    """Asks one server, the next when that does not answer, and remembers what it was told."""

    def __init__(self, servers, first):
        self.servers, self.at = servers, first

    def ask(self, method, at, body=None, **query):
        """(status, body); status 0: no answer, the outcome is unknown."""
        try:
            return self.servers[self.at % len(self.servers)].rest(method, at, body, **query)
        except (OSError, http.client.HTTPException, urllib.error.URLError):
            self.at += 1
            return 0, None


class Load:
    """Each writer rewrites its own object with growing numbers and commits to the same hot branch, through another server when
    one does not answer. Afterwards ([`judge`]): every acknowledged commit is in the log once and holds what its writer had been
    told was written; along the log no number ever goes back; the branch holds what was acknowledged, or something later that
    was tried and not; and all servers say the same."""

    def __init__(self, servers, repo, writers=6):
        self.servers, self.repo = servers, repo
        self.branch = f"/repositories/{repo}/branches/main"
        self.stop = threading.Event()
        self.acknowledged = collections.Counter()
        self.commits, self.problems, self.written = [], [], {}
        self.threads = [threading.Thread(target=self.work, args=(me,)) for me in range(writers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def work(self, me):
        client = Client(self.servers, me)
        number = 0
        mine = self.written.setdefault(me, {"done": 0, "tried": 0})
        while not self.stop.is_set():
            number += 1
            mine["tried"] = number
            status, said = client.ask("POST", f"{self.branch}/objects", str(number).encode(), path=f"w{me}")
            if status == 201:
                mine["done"] = number
                self.acknowledged["objects"] += 1
            elif status not in (0, 500, 503):
                self.problems.append((status, said))
            if number % 3 == 0:
                status, said = client.ask("POST", f"{self.branch}/commits", {"message": f"writer {me}, {number}"})
                if status == 201:
                    self.commits.append((said["id"], me, mine["done"]))
                    self.acknowledged["commits"] += 1
                elif status not in (0, 500, 503) and "no changes" not in str(said):
                    self.problems.append((status, said))

    def until_more(self, objects, commits):
        """Waits until so many more were acknowledged."""
        floor = self.acknowledged["objects"] + objects, self.acknowledged["commits"] + commits
        deadline = time.monotonic() + 60
        while self.acknowledged["objects"] < floor[0] or self.acknowledged["commits"] < floor[1]:
            assert time.monotonic() < deadline and not self.problems, (self.acknowledged, floor, self.problems[:3])
            time.sleep(0.02)

    def get(self, at, ref, me):
        """The status and content of a writer's object at a ref, asked of a server by turns."""
        server = self.servers[at % len(self.servers)]
        return server.rest("GET", f"/repositories/{self.repo}/refs/{ref}/objects", path=f"w{me}")

    def judge(self):
        assert not self.problems, self.problems[:3]
        log, after = [], ""
        while True:
            status, page = self.servers[-1].rest("GET", f"/repositories/{self.repo}/refs/main/commits", amount=1000, after=after)
            assert status == 200, page
            log += [commit["id"] for commit in page["results"]]
            if not page["pagination"]["has_more"]:
                break
            after = page["pagination"]["next_offset"]
        assert len(set(log)) == len(log)
        for at, (commit, me, floor) in enumerate(self.commits):
            assert commit in log, "an acknowledged commit is lost"
            # What the writer was told to be written before it committed is in its commit, or something later.
            status, content = self.get(at, commit, me)
            assert status == 200 and int(content) >= floor, (me, floor, content)
        for me in self.written:
            numbers = []
            for at, commit in enumerate(reversed(log)):
                status, content = self.get(at, commit, me)
                assert status == 200 or (status == 404 and not numbers), (me, commit, status)
                numbers += [int(content)] if status == 200 else []
            assert numbers == sorted(numbers), "a commit brought back what an earlier one had replaced"
        for me, mine in self.written.items():
            contents = {self.get(at, "main", me)[1] for at in range(len(self.servers))}
            assert len(contents) == 1
            assert mine["done"] <= int(contents.pop()) <= mine["tried"]
        at = f"/repositories/{self.repo}/refs/main/objects/ls"
        listings = [str(server.rest("GET", at, prefix="w")[1]["results"]) for server in self.servers]
        assert len(set(listings)) == 1
        print(dict(self.acknowledged))
