"""No success answer leaves before the flush that it rests on (invariant 1), on the key-value engine and on object bytes:
the server's own system calls say so, operation by operation.

Each operation runs on a connection of its own, several at once, and carries a token of its own. Where its token was
written must be flushed - the file, and the directories of new names - before the first byte of its success.
"""
import concurrent.futures
import dataclasses
import shutil

import pytest

from doors import Door
from lakebed_server import Server
from syscalls import CALLS, LONGEST, Trace, calls

REPO = "flushed"
JOURNAL, LOG = r"/metadata/.*\.jnl$", r"/data/\.lakebed/log/"
LARGE = 200_000
PART = 5 << 20
ROUNDS = 2


@dataclasses.dataclass
class Done:
    """An operation that was answered with success, and what that answer rests on."""

    kind: str
    peer: int
    logged: list  # (token, pattern of the log's files)
    placed: list = dataclasses.field(default_factory=list)  # (file, tokens)


def violations(trace, done):
    answer = trace.answer(done.peer)
    assert answer is not None, f"{done.kind}: its answer is not in the trace"
    wrong = []
    for token, log in done.logged:
        wrong += trace.logged(token, log, answer.begin)
    for path, tokens in done.placed:
        wrong += trace.placed(path, tokens, answer.begin)
    return [f"{done.kind} was answered, but {what}" for what in wrong]


class Operations:
    """The operations of one worker. Its names tell it from the others'."""

    def __init__(self, server, worker):
        self.server, self.worker, self.serial = server, worker, 0
        self.data = f"{server.directory}/data"

    def token(self):
        self.serial += 1
        return f"token-{self.worker}-{self.serial}-end"

    def call(self, way, *arguments, **more):
        """One request on a fresh connection: (port of the client, content, headers)."""
        door = Door(self.server.port)
        try:
            status, content, *headers = getattr(door, way)(*arguments, **more)
            assert status in (200, 201, 204), (arguments[:2], status, content)
            return door.connection.sock.getsockname()[1], content, headers
        finally:
            door.close()

    def file_of(self, path):
        """Where an object's bytes are."""
        _, entry, _ = self.call("rest", "GET", f"/repositories/{REPO}/refs/main/objects/stat", path=path)
        return entry["physical_address"].replace("local:/", self.data)

    def small(self):
        for way in ("rest", "s3"):
            path, body = self.token(), self.token().encode()
            if way == "rest":
                peer, *_ = self.call("rest", "POST", f"/repositories/{REPO}/branches/main/objects", body, path=path)
            else:
                peer, *_ = self.call("s3", "PUT", f"{REPO}/main/{path}", body)
            yield Done(f"small put {way}", peer, [(path.encode(), JOURNAL), (body, LOG)])

    def large(self):
        for way in ("rest", "s3"):
            path, token = self.token(), self.token().encode()
            body = token + b"." * LARGE
            if way == "rest":
                peer, *_ = self.call("rest", "POST", f"/repositories/{REPO}/branches/main/objects", body, path=path)
            else:
                peer, *_ = self.call("s3", "PUT", f"{REPO}/main/{path}", body)
            yield Done(f"large put {way}", peer, [(path.encode(), JOURNAL)], [(self.file_of(path), [token])])

    def multipart(self):
        path = self.token()
        at = f"{REPO}/main/{path}"
        peer, made, _ = self.call("s3", "POST", at, query={"uploads": ""})
        upload = made.split(b"<UploadId>")[1].split(b"<")[0].decode()
        yield Done("multipart create", peer, [(path.encode(), JOURNAL)])
        tokens, parts = [], ""
        for number, size in [(1, PART), (2, 100)]:
            token = self.token().encode()
            peer, _, headers = self.call("s3", "PUT", at, token + b"." * size, {"partNumber": number, "uploadId": upload})
            # A part has a file of its own from the beginning.
            yield Done("multipart part", peer, [(token, r"/data/\.lakebed/multipart/")])
            tokens.append(token)
            parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers[0]['ETag']}</ETag></Part>"
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        peer, *_ = self.call("s3", "POST", at, whole, {"uploadId": upload})
        yield Done("multipart complete", peer, [(path.encode(), JOURNAL)], [(self.file_of(path), tokens)])

    def remove(self):
        for way in ("rest", "s3"):
            path = self.token()
            self.call("rest", "POST", f"/repositories/{REPO}/branches/main/objects", b"", path=path)
            if way == "rest":
                peer, *_ = self.call("rest", "DELETE", f"/repositories/{REPO}/branches/main/objects", path=path)
            else:
                peer, *_ = self.call("s3", "DELETE", f"{REPO}/main/{path}")
            yield Done(f"delete {way}", peer, [(path.encode(), JOURNAL)])
        path = self.token()
        peer, *_ = self.call("rest", "POST", f"/repositories/{REPO}/branches/main/objects/delete", {"paths": [path]})
        yield Done("delete many", peer, [(path.encode(), JOURNAL)])

    def copy(self):
        source, target, token = self.token(), self.token(), self.token().encode()
        self.call("rest", "POST", f"/repositories/{REPO}/branches/main/objects", token + b"." * LARGE, path=source)
        headers = {"x-amz-copy-source": f"{REPO}/main/{source}"}
        peer, *_ = self.call("s3", "PUT", f"{REPO}/main/{target}", headers=headers)
        yield Done("copy", peer, [(target.encode(), JOURNAL)])

    def refs(self):
        """A branch, a commit on it, a merge, a tag; then the branch goes."""
        at, branch, path, message = f"/repositories/{REPO}", self.token(), self.token(), self.token()
        peer, *_ = self.call("rest", "POST", f"{at}/branches", {"name": branch, "source": "main"})
        yield Done("branch", peer, [(branch.encode(), JOURNAL)])
        self.call("rest", "POST", f"{at}/branches/{branch}/objects", b"content", path=path)
        peer, commit, _ = self.call("rest", "POST", f"{at}/branches/{branch}/commits", {"message": message})
        yield Done("commit", peer, self.committed(message, commit))
        merge, target = self.token(), self.token()
        self.call("rest", "POST", f"{at}/branches", {"name": target, "source": "main"})
        peer, merged, _ = self.call("rest", "POST", f"{at}/refs/{branch}/merge/{target}", {"message": merge})
        _, commit, _ = self.call("rest", "GET", f"{at}/commits/{merged['reference']}")
        yield Done("merge", peer, self.committed(merge, commit, tree_is_new=False))
        tag = self.token()
        peer, *_ = self.call("rest", "POST", f"{at}/tags", {"id": tag, "ref": branch})
        yield Done("tag", peer, [(tag.encode(), JOURNAL)])
        peer, *_ = self.call("rest", "DELETE", f"{at}/branches/{branch}")
        yield Done("branch deleted", peer, [(branch.encode(), JOURNAL)])
        name = "r" + tag
        peer, *_ = self.call("rest", "POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})
        yield Done("repository", peer, [(name.encode(), JOURNAL)])

    def committed(self, message, commit, tree_is_new=True):
        """A commit's record is in the journal, its object and the root of its tree are in the store."""
        rests = [(message.encode(), JOURNAL), (f"_lakebed/commits/{commit['id']}".encode(), LOG)]
        if tree_is_new:
            rests.append((commit["meta_range_id"].encode(), LOG))
        return rests

    def all(self):
        done = list(self.multipart())
        for _ in range(ROUNDS):
            for operation in (self.small, self.large, self.remove, self.copy, self.refs):
                done += operation()
        return done


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The trace, and the operations that were done meanwhile."""
    assert shutil.which("strace"), "strace is missing: the Makefile installs it (apt-get install strace)"
    directory = tmp_path_factory.mktemp("traced")
    out = directory / "trace"
    strace = ["strace", "-D", "-f", "--seccomp-bpf", "-yy", "-s", str(LONGEST), "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(out)]
    with Server(directory / "lake", wrap=strace) as server:
        Operations(server, 0).call("rest", "POST", "/repositories", {"name": REPO, "storage_namespace": f"local://{REPO}"})
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            running = [pool.submit(Operations(server, worker).all) for worker in range(1, 7)]
            done = [one for worker in running for one in worker.result()]
    return Trace(calls(out.read_text(encoding="latin-1").splitlines())), done


KINDS = [
    "small put rest", "small put s3", "large put rest", "large put s3", "multipart create", "multipart part", "multipart complete",
    "delete rest", "delete s3", "delete many", "copy", "branch", "commit", "merge", "tag", "branch deleted", "repository",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_success_waits_for_its_flush(traced, kind):
    trace, done = traced
    mine = [one for one in done if one.kind == kind]
    assert mine
    assert [what for one in mine for what in violations(trace, one)] == []


def journal(call):
    return call.kind == "flush" and call.path.endswith(".jnl")


def log(call):
    return call.kind == "flush" and "/.lakebed/log/" in call.path


def bodies(call):
    return call.kind == "flush" and ("/.lakebed/tmp/" in call.path or "/.lakebed/multipart/" in call.path)


def directories(call):
    return call.kind == "flush" and f"/data/{REPO}/data" in call.path


ON_JOURNAL = [kind for kind in KINDS if kind != "multipart part"]
MISSING = [
    (journal, ON_JOURNAL),
    (log, ["small put rest", "small put s3", "commit", "merge"]),
    (bodies, ["large put rest", "large put s3", "multipart part", "multipart complete"]),
    (directories, ["large put rest", "large put s3", "multipart complete"]),
]


@pytest.mark.parametrize("missing, kinds", MISSING, ids=[missing.__name__ for missing, _ in MISSING])
def test_a_missing_flush_would_be_noticed(traced, missing, kinds):
    trace, done = traced
    doctored = trace.without(missing)
    assert len(doctored.calls) < len(trace.calls), "the trace has no such flush"
    for kind in kinds:
        assert all(violations(doctored, one) for one in done if one.kind == kind), kind


FILE = "/lake/metadata/0.jnl"
WRITE = f'7 writev(5<{FILE}>, [{{iov_base="a token", iov_len=7}}], 1) = 7'
FLUSH = f"7 fdatasync(5<{FILE}>) = 0"
ANSWER = '9 sendto(8<TCP:[127.0.0.1:80->127.0.0.1:4000]>, "HTTP/1.1 200 OK\\r\\n", 17, MSG_NOSIGNAL, NULL, 0) = 17'
ORDERS = {
    "in order": ([WRITE, FLUSH, ANSWER], True),
    "no flush": ([WRITE, ANSWER], False),
    "a failed flush": ([WRITE, f"7 fdatasync(5<{FILE}>) = -1 EIO (Input/output error)", ANSWER], False),
    "another file's flush": ([WRITE, "7 fdatasync(5</lake/metadata/1.jnl>) = 0", ANSWER], False),
    "a flush behind the answer": ([WRITE, ANSWER, FLUSH], False),
    "a flush that ends behind the answer": ([WRITE, FLUSH.removesuffix(") = 0") + " <unfinished ...>", ANSWER, "7 <... fdatasync resumed>) = 0"], False),
    "a flush that began before the write": (["6 fdatasync(5</lake/metadata/0.jnl> <unfinished ...>", WRITE, "6 <... fdatasync resumed>) = 0", ANSWER], False),
    "a new file without its name": ([f'7 openat(AT_FDCWD</lake>, "{FILE}", O_WRONLY|O_CREAT, 0644) = 5<{FILE}>', WRITE, FLUSH, ANSWER], False),
    "a new file with its name": ([f'7 openat(AT_FDCWD</lake>, "{FILE}", O_WRONLY|O_CREAT, 0644) = 5<{FILE}>', "7 fsync(4</lake/metadata>) = 0", WRITE, FLUSH, ANSWER], True),
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_decides(order):
    lines, good = ORDERS[order]
    wrong = violations(Trace(calls(lines)), Done("put", 4000, [(b"a token", JOURNAL)]))
    assert (wrong == []) == good, wrong
