"""The crowd. Each writer is a thread with keys, branches or repositories of its own, so it knows what must be there.

A writer whose request was not answered parks until the server is back and the judge has found out what happened.
"""
import random
import threading

from history import History
from lake import ABSENT, REPO, Asked, Hand, Lost, NoAnswer, content, etag_of, now, xml

KEYS = 8
GROUP = 5
PART = 5 << 20


class Writer(threading.Thread):
    def __init__(self, number, seed, stage):
        super().__init__(daemon=True)
        self.number, self.stage = number, stage
        self.random = random.Random(f"{seed}/{number}")
        self.hand = Hand(stage, self.random)
        self.serial = 0
        self.acknowledged = {}  # kind of request -> how many
        self.refused = 0

    def run(self):
        try:
            while True:
                try:
                    self.step()
                except NoAnswer as why:
                    if not self.stage.park(why):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            error.args = (f"writer {self.number}: {error}",)
            self.stage.fail(error)

    def count(self, kind):
        self.acknowledged[kind] = self.acknowledged.get(kind, 0) + 1

    def next(self):
        self.serial += 1
        return f"{self.number}-{self.serial}"

    def new_content(self, sizes=(10, 10, 100, 1000, 5000, 20_000, 70_000, 300_000)):
        """(checksum, bytes) of something never written before."""
        name, size = self.next(), self.random.choice(sizes)
        body = content(name, size)
        value = etag_of(body)
        self.stage.contents[value] = (name, size)
        return value, body

    def change(self, kind, histories, value, call):
        """A change of keys: open until it is answered. A refusal for contention is a clear no."""
        for history in histories:
            history.begin(value, now())
        status, answer = call()
        if status in (200, 201, 204):
            for history in histories:
                history.acknowledge(now())
            self.count(kind)
            return answer
        for history in histories:
            history.refuse()
        if status != 429:
            raise Lost(f"{kind} answered {status}: {str(answer)[:500]}")
        self.refused += 1
        return None

    def put(self, branch, path, history, headers=None, sizes=None):
        """A small or large put through either door."""
        value, body = self.new_content(sizes) if sizes else self.new_content()

        def by_rest():
            return self.hand.door.rest("POST", f"/repositories/{REPO}/branches/{branch}/objects", body, headers, path=path)

        def by_s3():
            status, answer, answered = self.hand.door.s3("PUT", f"{REPO}/{branch}/{path}", body, headers=headers)
            return status, answer or {"checksum": answered["ETag"].strip('"')}

        if headers and history.value is not ABSENT:
            status, answer = by_s3() if self.hand.by_s3() else by_rest()
            if status != 412:
                raise Lost(f"'{path}' is there, but a put that must not replace it answered {status} {str(answer)[:300]}")
            self.count("refused put")
            return
        kind, call = ("put s3", by_s3) if self.hand.by_s3() else ("put rest", by_rest)
        answer = self.change(kind, [history], value, call)
        if answer is not None and answer["checksum"] != value:
            raise Lost(f"'{path}': stored {value}, the answer says {answer['checksum']}")

    def delete(self, branch, path, history):
        def by_rest():
            return self.hand.door.rest("DELETE", f"/repositories/{REPO}/branches/{branch}/objects", path=path)

        def by_s3():
            return self.hand.door.s3("DELETE", f"{REPO}/{branch}/{path}")[:2]

        kind, call = ("delete s3", by_s3) if self.hand.by_s3() else ("delete rest", by_rest)
        self.change(kind, [history], ABSENT, call)

    def ask(self, kind, at, body=None, **more):
        """A commit or a merge. The id, or None if there was nothing to do or too much contention."""
        token = f"{kind} {self.next()}"
        asked = Asked(kind, token, self.number, **more)
        self.stage.asked[token] = asked
        body = {"message": token, "metadata": {"token": token}} | (body or {})
        status, answer = self.hand.door.rest("POST", f"/repositories/{REPO}{at}", body)
        if status in (200, 201):
            asked.acknowledge(answer["id"] if status == 201 else answer["reference"])
            self.count(kind)
            return asked
        del self.stage.asked[token]
        if status == 429:
            self.refused += 1
        elif status != 400 or "no changes" not in str(answer):
            raise Lost(f"{kind} answered {status}: {answer}")
        return None


class KeyWriter(Writer):
    """Puts, deletes and copies keys of its own on `main`; commits `main`, merges it into `trunk`."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        names = [f"w{self.number:02}/{n}" for n in range(KEYS - 1)] + [f"w{self.number:02}/é +~&=%2F"]
        self.keys = {name: History() for name in names}
        self.stage.keys.update(self.keys)

    def step(self):
        steps = {
            self.put_one: 55, self.delete_one: 14, self.delete_some: 3, self.copy: 4, self.put_if_absent: 4,
            self.read_one: 8, self.list_mine: 2, self.commit: 5, self.merge: 1, self.delete_nothing: 1,
        }
        if "s3" in self.stage.doors:
            steps |= {self.multipart: 4}
        self.random.choices(list(steps), list(steps.values()))[0]()

    def one(self):
        return self.random.choice(list(self.keys.items()))

    def put_one(self):
        self.put("main", *self.one())

    def put_if_absent(self):
        self.put("main", *self.one(), headers={"If-None-Match": "*"})

    def delete_one(self):
        self.delete("main", *self.one())

    def delete_some(self):
        some = dict(self.random.sample(list(self.keys.items()), 3))

        def by_rest():
            at = f"/repositories/{REPO}/branches/main/objects/delete"
            status, answer = self.hand.door.rest("POST", at, {"paths": list(some)})
            return (status, answer) if answer == {"errors": []} else (500, answer)

        def by_s3():
            objects = "".join(f"<Object><Key>main/{key.replace('&', '&amp;')}</Key></Object>" for key in some)
            body = f"<Delete>{objects}</Delete>".encode()
            status, answer, _ = self.hand.door.s3("POST", REPO, body, query={"delete": ""}, headers={"content-md5": md5_64(body)})
            return (status, answer) if b"<Error>" not in answer else (500, answer)

        kind, call = ("delete many s3", by_s3) if self.hand.by_s3() else ("delete many rest", by_rest)
        self.change(kind, some.values(), ABSENT, call)

    def delete_nothing(self):
        """Nobody sees it, but what is staged becomes so much that its rows are not deleted one by one after the commit."""
        for half in range(2):
            paths = [f"none/{self.number}/{half}/{n}" for n in range(1000)]
            status, _ = self.hand.rest("POST", "/branches/main/objects/delete", {"paths": paths}, ok=[200, 429])
            if status == 200:
                self.count("delete nothing")
            else:
                self.refused += 1

    def copy(self):
        there = [(path, h.value) for path, h in self.keys.items() if h.value is not ABSENT and "-" not in h.value]
        if not there:
            return
        (source, value), (target, history) = self.random.choice(there), self.one()
        if source == target:
            return

        def by_rest():
            at = f"/repositories/{REPO}/branches/main/objects/copy"
            return self.hand.door.rest("POST", at, {"src_path": source}, dest_path=target)

        def by_s3():
            from sigv4 import escape

            headers = {"x-amz-copy-source": escape(f"{REPO}/main/{source}", "/")}
            status, answer, _ = self.hand.door.s3("PUT", f"{REPO}/main/{target}", headers=headers)
            return (status, answer) if b"<Error>" not in answer else (500, answer)

        kind, call = ("copy s3", by_s3) if self.hand.by_s3() else ("copy rest", by_rest)
        self.change(kind, [history], value, call)

    def multipart(self):
        path, history = self.one()
        at, name = f"{REPO}/main/{path}", self.next()
        size = PART + 1000 if self.random.random() < 0.02 else self.random.choice([10, 3000, 100_000])
        whole = content(name, size)
        pieces = [whole[:PART], whole[PART:]] if size > PART else [whole]
        made = self.s3_ok("POST", at, query={"uploads": ""})[0]
        upload = xml(made).find("UploadId").text
        parts = ""
        for number, piece in enumerate(pieces, 1):
            query = {"partNumber": number, "uploadId": upload}
            etag = self.s3_ok("PUT", at, piece, query=query, payload="UNSIGNED-PAYLOAD")[1]["ETag"]
            parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        value = etag_of(pieces)
        self.stage.contents[value] = (name, size)

        def complete():
            status, answer, _ = self.hand.door.s3("POST", at, body, query={"uploadId": upload})
            return (status, answer) if b"<Error>" not in answer else (500, answer)

        self.change("multipart", [history], value, complete)

    def s3_ok(self, *arguments, **more):
        status, answer, headers = self.hand.door.s3(*arguments, **more)
        if status != 200:
            raise Lost(f"{arguments[:2]} answered {status}: {answer[:500]}")
        return answer, headers

    def read_one(self):
        path, history = self.one()
        self.hand.expect("main", path, history.value)

    def list_mine(self):
        seen = self.hand.list("main", f"w{self.number:02}/")
        mine = {path: h.value for path, h in self.keys.items() if h.value is not ABSENT}
        if seen != mine:
            raise Lost(f"listed {seen}, wrote {mine}")

    def commit(self):
        self.ask("commit", "/branches/main/commits")

    def merge(self):
        self.ask("update", "/refs/main/merge/trunk")


class BranchWriter(Writer):
    """Works on branches of its own: a new generation of its group of keys on each, merged into `trunk` as a whole."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.group = [f"g{self.number:02}/{n}" for n in range(GROUP)]
        self.generations = [{path: ABSENT for path in self.group}]  # what the group was in each
        self.merged = 0  # the generation that is on trunk
        self.work = None
        self.left = {}  # branch -> (head, {path: value})
        self.gone = []  # branches deleted
        self.tags = {}  # tag -> commit
        self.commits = {}  # commit on a branch of its own -> (its parent, its token, {path: value})
        self.open_tag = None

    def step(self):
        self.work = work = Work(f"b{self.next()}", {path: History(value) for path, value in self.generations[self.merged].items()})
        work.creating = True
        _, base = self.hand.rest("POST", "/branches", {"name": work.name, "source": "trunk"}, ok=[201])
        work.creating, work.head = False, base.decode()
        self.count("branch")
        for _ in range(self.random.choice([1, 1, 2])):
            for path in self.random.sample(self.group, self.random.randint(2, GROUP)):
                if self.random.random() < 0.8:
                    self.put(work.name, path, work.keys[path], sizes=(10, 100, 3000, 70_000))
                else:
                    self.delete(work.name, path, work.keys[path])
            if self.random.random() < 0.8:
                self.commit(work)
        staged = {path: h.value for path, h in work.keys.items()} != work.committed
        if work.committed is not None and self.random.random() < 0.8:
            self.merge(work)
        self.count("staged left" if staged else "round")
        if self.random.random() < 0.6:
            work.deleting = True
            self.hand.rest("DELETE", f"/branches/{work.name}", ok=[204])
            self.count("branch deleted")
            self.gone.append(work.name)
        else:
            self.leave(work)
        self.work = None

    def commit(self, work):
        state = {path: h.value for path, h in work.keys.items()}
        done = self.ask("work", f"/branches/{work.name}/commits", branch=work.name, state=state)
        if done is not None:
            # Nobody else moves this branch: its next check, or the commit's own, tells whether this was kept.
            del self.stage.asked[done.token]
            self.took(work, done.id, done.token, state)

    def took(self, work, commit, token, state):
        self.commits[commit] = (work.head, token, state)
        work.head, work.committed = commit, state

    def merge(self, work):
        generation = len(self.generations)
        self.generations.append(work.committed)
        done = self.ask("merge", f"/refs/{work.name}/merge/trunk", source=work.head, generation=generation)
        if done is None:
            return
        self.merged = generation
        path = self.random.choice(self.group)
        self.hand.expect("trunk", path, work.committed[path])
        if self.random.random() < 0.5:
            self.open_tag = (f"t{self.next()}", done.id)
            self.hand.rest("POST", "/tags", {"id": self.open_tag[0], "ref": done.id}, ok=[201])
            self.count("tag")
            self.tags[self.open_tag[0]] = done.id
            self.open_tag = None

    def leave(self, work):
        self.left[work.name] = (work.head, {path: h.value for path, h in work.keys.items()})


class Work:
    """A branch that its writer is at."""

    def __init__(self, name, keys):
        self.name, self.keys = name, keys
        self.head, self.committed = None, None
        self.creating = self.deleting = False


class RepositoryWriter(Writer):
    """Creates and deletes repositories."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.repositories = {}  # name -> History of "there" or ABSENT

    def step(self):
        there = [name for name, history in self.repositories.items() if history.value is not ABSENT]
        if len(there) < 4 or self.random.random() < 0.5:
            name = f"r{self.next()}"
            history = self.repositories[name] = History()
            body = {"name": name, "storage_namespace": f"local://{name}"}
            self.change("repository", [history], "there", lambda: self.hand.door.rest("POST", "/repositories", body))
        else:
            name = self.random.choice(there)
            history = self.repositories[name]
            self.change("repository deleted", [history], ABSENT, lambda: self.hand.door.rest("DELETE", f"/repositories/{name}"))


def md5_64(body):
    import base64
    import hashlib

    return base64.b64encode(hashlib.md5(body).digest()).decode()


def crowd(count, seed, stage):
    """Two of three write keys, two of 64 repositories, the rest works on branches."""
    kinds = []
    for number in range(count):
        kinds.append(RepositoryWriter if number % 32 == 31 else BranchWriter if number % 3 == 2 else KeyWriter)
    return [kind(number, seed, stage) for number, kind in enumerate(kinds)]
