#!/usr/bin/env python3
"""Runs the conformance suite of block stores on each service there is here: an emulator of S3, and Lakebed's own S3 door."""
import os
import pathlib
import subprocess
import sys
import tempfile

from emulators import KEY, SECRET, moto

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lakebed_server import KEY as OUR_KEY, SECRET as OUR_SECRET, Server  # noqa: E402


def suite(name, endpoint, key, secret, **more):
    print(f"== {name}", flush=True)
    service = {"LAKEBED_TEST_S3_ENDPOINT": endpoint, "LAKEBED_TEST_S3_ACCESS_KEY": key, "LAKEBED_TEST_S3_SECRET_KEY": secret}
    command = ["cargo", "test", "-q", "-p", "lakebed-blocks", "--test", "s3", "--", "--ignored"]
    return subprocess.run(command, env=os.environ | service | more).returncode


with moto("suite") as endpoint:
    failed = suite("moto", endpoint, KEY, SECRET, LAKEBED_TEST_S3_LAX="1")
with tempfile.TemporaryDirectory() as directory, Server(pathlib.Path(directory) / "lake") as server:
    status, answer = server.rest("POST", "/repositories", {"name": "suite", "storage_namespace": "local://suite"})
    assert status == 201, answer
    failed |= suite("lakebed", server.endpoint, OUR_KEY, OUR_SECRET)
sys.exit(failed)
