"""Emulators of object services on loopback, fresh for whoever asks."""
import contextlib
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

import boto3
from moto.server import ThreadedMotoServer

from gcs import free_port, wait_for

KEY, SECRET = "AKIASTORES", "stores-secret"


def s3_client(endpoint, **more):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET, **more)


@contextlib.contextmanager
def moto(bucket):
    """An S3 service with one bucket: its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        endpoint = f"http://127.0.0.1:{port}"
        s3_client(endpoint).create_bucket(Bucket=bucket)
        yield endpoint
    finally:
        server.stop()


@contextlib.contextmanager
def moto_apart(bucket):
    """The same in a process of its own: those in one process share their buckets."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        endpoint = f"http://127.0.0.1:{port}"
        s3_client(endpoint).create_bucket(Bucket=bucket)
        yield endpoint
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def versitygw(bucket):
    """Another one, over a directory."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        (pathlib.Path(directory) / "root").mkdir()
        env = os.environ | {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        command = ["versitygw", "--port", f"127.0.0.1:{port}", "posix", "--sidecar", f"{directory}/meta", f"{directory}/root"]
        (pathlib.Path(directory) / "meta").mkdir()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            endpoint = f"http://127.0.0.1:{port}"
            s3_client(endpoint).create_bucket(Bucket=bucket)
            yield endpoint
        finally:
            process.kill()
            process.wait()
