#!/usr/bin/env python3
"""Runs lakebed-bench with its metadata in a PostgreSQL server of its own, which flushes what it commits: what stands behind
the name of this script goes to lakebed-bench."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "engines"))
from database import Postgres  # noqa: E402

BENCH = os.environ.get("LAKEBED_BENCH", ROOT / "target" / "release" / "lakebed-bench")

with Postgres(fsync="on", shared_buffers="256MB", max_connections="200") as postgres:
    address = f"postgres://lakebed@127.0.0.1:{postgres.port}/postgres?sslmode=disable"
    sys.exit(subprocess.run([BENCH, "--database", address, *sys.argv[1:]]).returncode)
