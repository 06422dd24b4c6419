"""Gives back the disk under files of zeros while they grow: `python holes.py DIRECTORY`, until its input ends.

A hole reads as zeros, so the files' content stays what it is.
"""
import ctypes
import os
import pathlib
import select
import sys

KEEP_SIZE, PUNCH_HOLE = 1, 2
LEAST = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def punch(path, freed):
    """Frees what was written to a file since the last time."""
    found = path.stat()
    length, start = found.st_size & ~0xFFF, freed.get(found.st_ino, 0)
    # What was joined of parts begins anew.
    start = start if start <= length else 0
    if length - start < LEAST:
        return
    file = os.open(path, os.O_WRONLY)
    try:
        if libc.fallocate(file, PUNCH_HOLE | KEEP_SIZE, start, length - start) != 0:
            raise OSError(ctypes.get_errno(), "fallocate", str(path))
    finally:
        os.close(file)
    freed[found.st_ino] = length


def main(directory):
    freed = {}
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        for root, directories, names in os.walk(directory):
            # Small objects have a log of their own, and what is in it is no zeros.
            directories[:] = [name for name in directories if name != "log"]
            for name in names:
                try:
                    punch(pathlib.Path(root) / name, freed)
                except FileNotFoundError:
                    pass  # it was put elsewhere meanwhile


if __name__ == "__main__":
    main(sys.argv[1])
