"""Transfers take constant memory, however many and however large they are: 64 at once, in parts, in every framing of bodies.

The full form (`LAKEBED_BOUNDED=full`, a part of `make test-all`) moves 64 objects of 1 GiB. Its bodies are zeros, and holes
are punched into the files that the server has written: that leaves their content as it is and the disk free. The short form
moves 64 random objects of 16 MiB.
"""
import base64
import concurrent.futures
import contextlib
import http.client
import itertools
import os
import pathlib
import random
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
import zlib

import pytest
from doors import Door
from lakebed_server import Server
from sigv4 import STREAMING, UNSIGNED, query_string

FULL = os.environ.get("LAKEBED_BOUNDED") == "full"
AT_ONCE = 64
MOST_MEMORY = 300 << 20
CHUNK = 64 << 10
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
# How the bodies come: as boto3 sends them over HTTPS and HTTP, as other SDKs do, as the first ones did.
FRAMINGS = ["unsigned", "hashed", "one chunk and a trailer", "signed chunks"]


# How large a part is and how many an object has.
PART, PARTS = (16 << 20, 64) if FULL else (8 << 20, 2)


@contextlib.contextmanager
def holes(directory):
    """The disk under what the server writes there is given back at once: it is zeros."""
    if not FULL:
        yield
        return
    puncher = subprocess.Popen([sys.executable, pathlib.Path(__file__).parent / "holes.py", directory], stdin=subprocess.PIPE)
    try:
        yield
        assert puncher.poll() is None, "the disk was not given back"
    finally:
        puncher.communicate()


def put_part(door, at, framing, body, query):
    """Sends one part, never with more than it in memory of ours, and gives its ETag."""
    headers, payload = {}, {"unsigned": UNSIGNED, "hashed": None, "one chunk and a trailer": TRAILER, "signed chunks": STREAMING}[framing]
    if framing in ("one chunk and a trailer", "signed chunks"):
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body))}
    if payload == TRAILER:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        sent = b"%x\r\n" % len(body) + body + f"\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()
        status, content, answered = door.s3("PUT", at, sent, query, headers, payload)
    elif payload == STREAMING:
        # A chunk's signature needs the one before it, so the request is signed here and its chunks after it.
        signed = door.signer.headers("PUT", door.host, f"/{at}", query, STREAMING, headers)
        pieces = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
        status, content, answered = door.send("PUT", f"/{at}?{query_string(query)}", door.signer.chunks(pieces, signed), signed)
    else:
        status, content, answered = door.s3("PUT", at, body, query, headers, payload)
    assert status == 200, content
    return answered["ETag"]


def upload(server, at, framing, part, count, begun):
    door = Door(server.port, timeout=900)
    status, content, _ = door.s3("POST", at, query={"uploads": ""})
    assert status == 200, content
    upload = ET.fromstring(content).find("{*}UploadId").text
    begun.wait()
    etags = [put_part(door, at, framing, part, {"partNumber": n + 1, "uploadId": upload}) for n in range(count)]
    listed = "".join(f"<Part><PartNumber>{n + 1}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in enumerate(etags))
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    status, content, _ = door.s3("POST", at, body, {"uploadId": upload})
    assert status == 200 and b"<ETag>" in content, content
    door.close()


def download(server, at, part, count, begun):
    """Reads an object whole and compares every byte."""
    door = Door(server.port)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=900)
    begun.wait()
    connection.request("GET", f"/{at}", headers=door.signer.headers("GET", door.host, f"/{at}"))
    answer = connection.getresponse()
    assert answer.status == 200 and int(answer.headers["Content-Length"]) == len(part) * count
    buffer, position = memoryview(bytearray(256 << 10)), 0
    while read := answer.readinto(buffer):
        start = position % len(part)
        first = min(read, len(part) - start)
        assert buffer[:first] == part[start : start + first] and buffer[first:read] == part[: read - first], f"{at} differs near {position}"
        position += read
    assert position == len(part) * count
    connection.close()


@pytest.fixture
def server(tmp_path):
    """A server of its own: its memory is that of these transfers alone."""
    with Server(tmp_path / "lake") as running:
        yield running


def test_64_transfers_at_once(server, repo, tmp_path):
    with holes(tmp_path / "lake" / "data"):
        transfers(server, repo)


def transfers(server, repo):
    size, count = PART, PARTS
    parts = [memoryview(bytes(size) if FULL else random.Random(n).randbytes(size)) for n in range(len(FRAMINGS))]

    def all_at_once(work):
        begun = threading.Barrier(AT_ONCE)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(work, n, begun) for n in range(AT_ONCE)]:
                done.result()

    def remembers(what):
        print(f"{what} {AT_ONCE} objects of {size * count >> 20} MiB: {server.memory() >> 20} MiB at the peak so far")
        assert server.memory() < MOST_MEMORY, f"{what}: {server.memory() >> 20} MiB at the peak"

    def framing(n):
        return n % len(FRAMINGS)

    all_at_once(lambda n, begun: upload(server, f"{repo}/main/{n:02}", FRAMINGS[framing(n)], bytes(parts[framing(n)]), count, begun))
    remembers("uploading")
    all_at_once(lambda n, begun: download(server, f"{repo}/main/{n:02}", parts[framing(n)], count, begun))
    remembers("downloading")

    # Both at the same time: half of the objects are read while the other half is written anew.
    def both(n, begun):
        if n % 2:
            download(server, f"{repo}/main/{n:02}", parts[framing(n)], count, begun)
        else:
            upload(server, f"{repo}/main/{n:02}", FRAMINGS[framing(n)], bytes(parts[framing(n)]), 1, begun)

    all_at_once(both)
    remembers("both")


def test_one_chunk_of_any_size(server, repo):
    """Some clients send the whole body as one chunk, whatever its size."""
    door, size, piece = Door(server.port, timeout=900), (1 << 30) if FULL else (128 << 20), random.Random(7).randbytes(1 << 20)
    assert door.s3("PUT", f"{repo}/main/small", piece)[0] == 200
    before, crc = server.memory(), 0
    for _ in range(size // len(piece)):
        crc = zlib.crc32(piece, crc)
    trailer = f"\r\n0\r\nx-amz-checksum-crc32:{base64.b64encode(crc.to_bytes(4, 'big')).decode()}\r\n\r\n".encode()
    head = b"%x\r\n" % size
    more = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(size), "x-amz-trailer": "x-amz-checksum-crc32"}
    signed = door.signer.headers("PUT", door.host, f"/{repo}/main/large", None, TRAILER, more)

    def body():
        yield head
        yield from itertools.repeat(piece, size // len(piece))
        yield trailer

    status, content, _ = door.send("PUT", f"/{repo}/main/large", body(), signed | {"content-length": str(len(head) + size + len(trailer))})
    assert status == 200, content
    grown = server.memory() - before
    assert grown < 64 << 20, f"{grown >> 20} MiB for one chunk of {size >> 20} MiB"
    head = door.s3("HEAD", f"{repo}/main/large", headers={"x-amz-checksum-mode": "ENABLED"})[2]
    assert (head["Content-Length"], head["x-amz-checksum-crc32"]) == (str(size), base64.b64encode(crc.to_bytes(4, "big")).decode())
    door.close()
