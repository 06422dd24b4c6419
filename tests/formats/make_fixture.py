"""Writes the fixtures of the present format: tests/formats/make_fixture.py NUMBER. Done once for each format, by the binary
that first wrote it; a fixture is never made anew."""
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "engines")]

import small_lake  # noqa: E402
from database import Postgres, program  # noqa: E402
from stored import FixtureServer  # noqa: E402


def pack(directory, names, to):
    with tarfile.open(to, mode="w:xz", preset=9) as tar:
        for name in names:
            tar.add(directory / name, name)
    print(to, to.stat().st_size)


def make(server, known_at):
    with server:
        known = small_lake.fill(server)
        seen = small_lake.look(server, known)
    known_at.write_text(json.dumps({"known": known, "seen": seen}))


def main(number):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        make(FixtureServer(work), work / "facts.json")
        pack(work, ["metadata", "data", "facts.json"], HERE / f"format_{number}_local.tar.xz")
    with tempfile.TemporaryDirectory() as work, Postgres() as postgres:
        work = pathlib.Path(work)
        make(FixtureServer(work, database=postgres.section()), work / "facts.json")
        at = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "lakebed", "-d", "postgres"]
        subprocess.run([program("pg_dump"), *at, "--no-owner", "--inserts", "--rows-per-insert=100", "-f", work / "dump.sql"], check=True)
        pack(work, ["dump.sql", "data", "facts.json"], HERE / f"format_{number}_postgres.tar.xz")


if __name__ == "__main__":
    main(int(sys.argv[1]))
