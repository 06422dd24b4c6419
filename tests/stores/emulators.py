"""Emulators of object services on loopback, fresh for whoever asks."""
import contextlib
import logging
import socket

import boto3
from moto.server import ThreadedMotoServer

KEY, SECRET = "AKIASTORES", "stores-secret"


def s3_client(endpoint, **more):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET, **more)


@contextlib.contextmanager
def moto(bucket):
    """An S3 service with one bucket: its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        endpoint = f"http://127.0.0.1:{port}"
        s3_client(endpoint).create_bucket(Bucket=bucket)
        yield endpoint
    finally:
        server.stop()
