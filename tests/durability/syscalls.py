"""Reads what strace saw a server do, and judges whether its answers waited for the disk.

The trace is one of `strace -f -y -s 256` over the calls in CALLS. Events are in the order in which calls returned: a
flush counts when it is done, a write of an answer when it begins.
"""
import dataclasses
import re

CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fdatasync,fsync,sync_file_range,syncfs,rename,renameat,renameat2,linkat,copy_file_range,ftruncate"

CALL = re.compile(r"^(?:\[pid +)?(\d+)\]? +(?:[\d:.]+ +)?(\w+)\((.*)$")
RESUMED = re.compile(r"^(?:\[pid +)?(\d+)\]? +(?:[\d:.]+ +)?<\.\.\. (\w+) resumed>(.*)$")
FILE = re.compile(r"^\d+<([^>]*)>")


@dataclasses.dataclass
class Event:
    kind: str  # write, flush, name, answer
    path: str
    text: str = ""


def events(lines):
    """The events of a trace."""
    pending, found = {}, []
    for line in lines:
        if match := RESUMED.match(line):
            thread, name, rest = match.groups()
            begun = pending.pop(thread, None)
            if begun and begun[0] == name and not answers(name, begun[1]):
                found += event(name, begun[1] + rest)
        elif match := CALL.match(line):
            thread, name, rest = match.groups()
            if rest.endswith("<unfinished ...>"):
                rest = rest.removesuffix("<unfinished ...>")
                pending[thread] = (name, rest)
                # What a client may see counts from its beginning.
                if answers(name, rest):
                    found += event(name, rest + " = 1")
            else:
                found += event(name, rest)
    return found


def answers(name, rest):
    return name in ("write", "writev", "sendto", "sendmsg") and re.match(r"\d+<(TCP|socket)", rest) is not None


def event(name, rest):
    if re.search(r"= -1 E\w+", rest):
        return []
    file = FILE.match(rest)
    if answers(name, rest):
        return [Event("answer", "", rest)]
    if name in ("fdatasync", "fsync"):
        return [Event("flush", file[1])] if file else []
    if name == "syncfs":
        return [Event("flush", "*")]
    if name in ("write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate"):
        return [Event("write", file[1], rest)] if file and file[1].startswith("/") else []
    if name == "copy_file_range":
        target = re.findall(r"\d+<(/[^>]*)>", rest)
        return [Event("write", target[-1], rest)] if target else []
    if name in ("rename", "renameat", "renameat2", "linkat"):
        names = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
        directories = re.findall(r"(?:\d+|AT_FDCWD)<(/[^>]*)>", rest)
        target = names[-1] if names[-1].startswith("/") or not directories else f"{directories[-1]}/{names[-1]}"
        source = names[0] if names[0].startswith("/") or not directories else f"{directories[0]}/{names[0]}"
        return [Event("name", target, source)]
    return []


def unflushed(found, needed):
    """What is wrong: an answer of success that did not wait for the flush of what it rests on.

    `needed` says of a written path whether answers rest on it: `"content"` - its content must be flushed before the next
    success -, `"named"` - besides, the directory of the name it gets -, `"created"` - besides, the directory it was made
    in -, or None.
    """
    dirty, names, known, wrong = {}, {}, set(), []
    for number, event in enumerate(found):
        if event.kind == "write" and needed(event.path):
            dirty[event.path] = number
            if needed(event.path) == "created" and event.path not in known:
                known.add(event.path)
                names[event.path] = number
        elif event.kind == "flush":
            if event.path == "*":
                dirty.clear()
                names.clear()
            dirty.pop(event.path, None)
            for name in [name for name in names if name.rsplit("/", 1)[0] == event.path]:
                del names[name]
        elif event.kind == "name":
            if event.text in dirty:
                wrong.append(f"'{event.text}' got the name '{event.path}' before its content was flushed")
                del dirty[event.text]
            if needed(event.text) == "named":
                names[event.path] = number
        elif event.kind == "answer" and re.search(r"HTTP/1\.1 20\d", event.text):
            for path in dirty:
                wrong.append(f"answered before '{path}' was flushed: {event.text[:120]}")
            for name in names:
                wrong.append(f"answered before the directory of '{name}' was flushed: {event.text[:120]}")
    return wrong
