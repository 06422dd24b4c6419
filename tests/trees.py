"""Directories of files for the tools that move them, and what must hold of them afterwards. Standard library only."""
import hashlib
import os
import pathlib
import random
import time

# Names that somebody has, and that some tool or server has got wrong: what URLs, XML, shells and signatures take for
# theirs, and letters outside ASCII.
ODD = [
    "with space", "plus+and+plus", "per%cent", "%2F", "quote'and\"quote", "a&b<c>d", "tilde~", "hash#", "semi;colon", "comma,", "equals=x", "at@x",
    "dollar$", "brackets()[]{}", "bang!", "caret^", "back`tick", "pipe|", "colon:", ".hidden", "..two-dots", "蒙AH 蓝+1.jpg", "ü-é-ß", "emoji-🦀",
    "_SUCCESS", "trailing.", "x" * 200,
]  # fmt: skip
# What a pattern of a shell is made of: tools that expand patterns themselves cannot be told such a name.
PATTERNS = ["question?", "star*"]


def make(directory, names=(), many=0, large=(), seed=1):
    """Files with known content: `names`, `many` small ones in directories of 50, and one of each size of `large`.

    They are an hour old: tools take a file that changed in the second of its upload for a newer one."""
    source = random.Random(seed)
    directory = pathlib.Path(directory)
    wanted = {f"odd/{name}": 100 + n for n, name in enumerate(names)}
    wanted |= {f"many/{n // 50:03}/{n:05}": source.randrange(0, 2000) for n in range(many)}
    wanted |= {f"large/{size}.bin": size for size in large}
    wanted |= {"empty": 0, "one/two/three/four/five/deep": 5}
    for name, size in wanted.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(size))
        os.utime(path, (time.time() - 3600,) * 2)
    return directory


def contents(directory):
    """What is in a directory: {path below it: (size, digest)}."""
    directory = pathlib.Path(directory)
    found = {}
    for at, _, files in os.walk(directory):
        for name in files:
            path = pathlib.Path(at) / name
            with open(path, "rb") as file:
                found[str(path.relative_to(directory))] = path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    return found
