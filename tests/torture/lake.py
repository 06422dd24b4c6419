"""What writers and the judge share: the names in the lake, contents that follow from their names, and both doors."""
import hashlib
import threading
import time

from doors import Door, NoAnswer
from history import ABSENT, Lost

REPO = "torture"
AT = f"/repositories/{REPO}"
now = time.monotonic


def content(name, size):
    """The bytes of an object: its name, then what follows from it."""
    head = name.encode() + b"\n"
    block = hashlib.sha512(head).digest()
    return (head + block * (size // len(block) + 1))[: max(size, len(head))]


def etag_of(*parts):
    """What both doors call an object of these bytes; more than one part, or a list of one, is a multipart upload."""
    if len(parts) == 1 and isinstance(parts[0], bytes):
        return hashlib.md5(parts[0]).hexdigest()
    (parts,) = parts
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f"{whole}-{len(parts)}"


class Asked:
    """A commit or merge that somebody asked for. Its message is its token."""

    def __init__(self, kind, token, by, **more):
        self.kind, self.token, self.by, self.more = kind, token, by, more
        self.asked, self.answered, self.id = now(), None, None

    def acknowledge(self, commit):
        self.answered, self.id = now(), commit


class Stage:
    """The server, the times when it may be written to, and what was asked of it by everybody."""

    def __init__(self, server, doors):
        self.server, self.doors = server, doors
        self.turn = threading.Condition()
        self.round, self.parked, self.over = 0, 0, False
        self.down = None  # when the present round's kill began
        self.failures = []
        self.failed = threading.Event()
        self.contents = {}  # checksum -> (name, size)
        self.asked = {}  # token -> Asked, those not yet settled
        self.keys = {}  # path on main -> History

    def park(self, why):
        """Waits until the server is back and checked; False when it is all over."""
        with self.turn:
            if self.down is None:
                raise Lost(f"no answer from a server that nobody killed: {why}")
            self.parked += 1
            self.turn.notify_all()
            here = self.round
            self.turn.wait_for(lambda: self.over or self.round > here)
            return not self.over

    def fail(self, error):
        with self.turn:
            self.failures.append(error)
            self.failed.set()
            self.turn.notify_all()

    def wait_until_parked(self, count):
        with self.turn:
            quiet = self.turn.wait_for(lambda: self.failures or self.parked == count, timeout=120)
            if self.failures:
                raise self.failures[0]
            assert quiet, f"{count - self.parked} writers do not come back"

    def go_on(self, over=False):
        with self.turn:
            self.down, self.over = None, over
            self.parked, self.round = 0, self.round + 1
            self.turn.notify_all()


class Hand:
    """A door with the few words that writers and the judge use. `rng` chooses between the doors where either serves."""

    def __init__(self, stage, rng):
        self.stage, self.rng, self.door = stage, rng, Door(stage.server.port)

    def by_s3(self):
        return "s3" in self.stage.doors and ("rest" not in self.stage.doors or self.rng.random() < 0.5)

    def rest(self, method, at, body=None, ok=(), **query):
        status, answer = self.door.rest(method, AT + at, body, **query)
        if ok and status not in ok:
            raise Lost(f"{method} {at} {query} answered {status}: {str(answer)[:500]}")
        return status, answer

    def read(self, ref, path):
        """The bytes of an object, ABSENT if there is none."""
        if self.by_s3():
            status, found, _ = self.door.s3("GET", f"{REPO}/{ref}/{path}")
        else:
            status, found = self.rest("GET", f"/refs/{ref}/objects", path=path)
        if status not in (200, 404):
            raise Lost(f"reading '{path}' of {ref} answered {status}: {found[:500]}")
        return found if status == 200 else ABSENT

    def expect(self, ref, path, value):
        """An object has exactly the bytes of a known value."""
        found = self.read(ref, path)
        wanted = ABSENT if value is ABSENT else content(*self.stage.contents[value])
        if found != wanted:
            raise Lost(f"'{path}' of {ref} is {str(found)[:80]}, must be {value} {self.stage.contents.get(value)}")

    def list(self, ref, prefix=""):
        """{path: checksum} of a ref; fewer than a page."""
        if self.by_s3():
            query = {"list-type": "2", "prefix": f"{ref}/{prefix}"}
            status, page, _ = self.door.s3("GET", REPO, query=query)
            if status != 200 or b"<IsTruncated>false" not in page:
                raise Lost(f"listing {ref} answered {status}: {page[:500]}")
            found = {}
            for one in xml(page).iter("Contents"):
                key = one.find("Key").text.removeprefix(ref + "/")
                found[key] = one.find("ETag").text.strip('"')
            return found
        _, page = self.rest("GET", f"/refs/{ref}/objects/ls", prefix=prefix, amount=1000, ok=[200])
        assert not page["pagination"]["has_more"], "the test keeps below one page"
        return {one["path"]: one["checksum"] for one in page["results"]}

    def log(self, ref, stop_at):
        """The commits of a ref by first parents, oldest first, down to one that is known (left out)."""
        found, after = [], ""
        while True:
            query = {"first_parent": "true", "amount": 1000, "stop_at": stop_at, "after": after}
            _, page = self.rest("GET", f"/refs/{ref}/commits", ok=[200], **query)
            found += page["results"]
            if not page["pagination"]["has_more"]:
                break
            after = page["pagination"]["next_offset"]
        if found[-1]["id"] != stop_at:
            raise Lost(f"the history of {ref} does not reach {stop_at}, which was its head")
        return found[-2::-1]


def xml(text):
    import xml.etree.ElementTree as ET

    root = ET.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
    return root


__all__ = ["ABSENT", "AT", "REPO", "Asked", "Hand", "Lost", "NoAnswer", "Stage", "content", "etag_of", "now", "xml"]
