"""Reads what strace saw a server do, and judges whether an answer waited for the disk.

The trace is one of `strace -f -yy -s LONGEST` over CALLS. A call has a beginning and an end, which are line numbers: a
write is done at its end, a flush covers only what was done at its beginning and counts from its end, and an answer may be
seen by the client from its beginning.
"""
import dataclasses
import re

LONGEST = 32768
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg")
FLUSHES = ("fdatasync", "fsync", "syncfs")
NAMES = ("rename", "renameat", "renameat2", "linkat", "mkdir", "mkdirat", "openat", "openat2")
CALLS = ",".join([*WRITES, *FLUSHES, *NAMES, "copy_file_range", "ftruncate"])

LINE = re.compile(r"^(?:\[pid +)?(\d+)\]? +(\w+)\((.*)$")
RESUMED = re.compile(r"^(?:\[pid +)?(\d+)\]? +<\.\.\. (\w+) resumed>(.*)$")
FILE = re.compile(r"^\d+<(/[^>]*)>")
PEER = re.compile(r"^\d+<TCP[^>]*->(?:127\.0\.0\.1|\[::1\]):(\d+)\]>")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
DIRECTORY = re.compile(r"(?:\d+|AT_FDCWD)<(/[^>]*)>")
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|[0-7]{1,3}|.)", re.DOTALL)
LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b"}


@dataclasses.dataclass(frozen=True)
class Call:
    kind: str  # write, flush, name, make, answer
    begin: int
    end: int
    path: str = ""  # of the file; of the new name; "*" is everything
    data: bytes = b""
    source: str = ""  # the old name
    peer: int = 0  # the client's port


def unescape(text):
    def one(match):
        what = match[1]
        if what[:1] == b"x":
            return bytes([int(what[1:], 16)])
        if what.isdigit():
            return bytes([int(what, 8)])
        return LETTERS.get(what, what)

    return ESCAPE.sub(one, text.encode("latin-1", "replace"))


def strings(text):
    return [unescape(match[1]) for match in STRING.finditer(text)]


def calls(lines):
    """The calls of a trace that say something, in the order of their beginnings."""
    pending, found = {}, []
    for number, line in enumerate(lines):
        if match := RESUMED.match(line):
            thread, name, rest = match.groups()
            begun = pending.pop(thread, None)
            if begun and begun[0] == name:
                found += read(name, begun[1] + rest, begun[2], number)
        elif match := LINE.match(line):
            thread, name, rest = match.groups()
            if rest.endswith("<unfinished ...>"):
                pending[thread] = (name, rest.removesuffix("<unfinished ...>"), number)
            else:
                found += read(name, rest, number, number)
    for name, rest, begin in pending.values():
        # Never seen to end: an answer may have been seen all the same.
        found += [call for call in read(name, rest + " = 0", begin, len(lines)) if call.kind == "answer"]
    return sorted(found, key=lambda call: call.begin)


def read(name, rest, begin, end):
    if re.search(r"= -1 E\w+|= \?", rest):
        return []
    if name in FLUSHES:
        file = FILE.match(rest)
        return [Call("flush", begin, end, "*" if name == "syncfs" else file[1])] if file else []
    if name in WRITES or name == "ftruncate":
        if peer := PEER.match(rest):
            return [Call("answer", begin, end, data=b"".join(strings(rest)), peer=int(peer[1]))]
        file = FILE.match(rest)
        return [Call("write", begin, end, file[1], b"".join(strings(rest)))] if file else []
    if name == "copy_file_range":
        files = re.findall(r"\d+<(/[^>]*)>", rest)
        return [Call("write", begin, end, files[-1], source=files[0])] if len(files) == 2 else []
    if name in ("openat", "openat2") and "O_CREAT" not in rest:
        return []
    names = [text.decode(errors="replace") for text in strings(rest)]
    directories = DIRECTORY.findall(rest)
    full = [at if at.startswith("/") or not directories else f"{directories[min(n, len(directories) - 1)]}/{at}" for n, at in enumerate(names)]
    if name in ("rename", "renameat", "renameat2", "linkat"):
        return [Call("name", begin, end, full[1], source=full[0])]
    return [Call("make", begin, end, full[0])] if full else []


def parent(path):
    return path.rsplit("/", 1)[0]


class Trace:
    def __init__(self, found):
        self.calls = found
        self.of = {}
        for call in found:
            self.of.setdefault((call.kind, call.path), []).append(call)

    def kind(self, kind):
        return (call for call in self.calls if call.kind == kind)

    def answer(self, peer):
        """The beginning of the success that a client got."""
        for call in self.kind("answer"):
            if call.peer == peer and re.match(rb"HTTP/1\.1 20\d ", call.data):
                return call
        return None

    def flushed(self, path, after, before):
        """Whether a flush of a file began behind one moment and ended before another."""
        flushes = self.of.get(("flush", path), []) + self.of.get(("flush", "*"), [])
        return any(after < flush.begin and flush.end < before for flush in flushes)

    def unnamed(self, path, before):
        """Directory entries towards `path` made in this trace that were not flushed before a moment."""
        wrong = []
        while path not in ("", "/"):
            made = [c for c in self.of.get(("make", path), []) + self.of.get(("name", path), []) if c.end < before]
            if made and not self.flushed(parent(path), made[0].end, before):
                wrong.append(f"the name of '{path}' was not flushed in its directory")
            path = parent(path)
        return wrong

    def logged(self, token, log, before):
        """What is wrong with a token that must be in a log (a pattern of its files) and flushed there."""
        holds = [w for w in self.kind("write") if token in w.data and w.end < before and re.search(log, w.path)]
        if not holds:
            return [f"{token!r} was not written to {log}"]
        wrong = []
        for write in holds:
            if not self.flushed(write.path, write.end, before):
                wrong.append(f"{token!r} in '{write.path}' was not flushed")
            wrong += self.unnamed(write.path, before)
        return wrong

    def placed(self, path, tokens, before):
        """What is wrong with a file of its own: content, then its flush, then the name, then the flush of the directory."""
        names = [name for name in self.of.get(("name", path), []) if name.end < before]
        if not names:
            return [f"'{path}' got no name"]
        name = names[0]
        wrong = self.unnamed(path, before)
        writes = [w for w in self.of.get(("write", name.source), []) if w.begin < before]
        sources = {w.source for w in writes if w.source}
        data = [w.data for w in self.kind("write") if w.path in {name.source, *sources} and w.begin < name.begin]
        for token in tokens:
            if not any(token in one for one in data):
                wrong.append(f"{token!r} was not written to '{path}'")
        last = max([w.end for w in writes], default=-1)
        if last > name.begin or not self.flushed(name.source, last, name.begin):
            wrong.append(f"'{path}' got its name before its content was flushed")
        return wrong

    def without(self, drop):
        """The trace as it would look if some calls had not been made."""
        return Trace([call for call in self.calls if not drop(call)])
