"""Transfers take constant memory, however many and however large they are: 64 at once, in parts, in every framing of bodies.

The full form (`LAKEBED_BOUNDED=full`, a part of `make test-all`) moves 64 objects of 1 GiB, or as much as half of the free
disk holds; the short form 64 of 16 MiB.
"""
import base64
import concurrent.futures
import http.client
import os
import random
import shutil
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


def sizes(directory):
    """How large a part is and how many an object has."""
    if not FULL:
        return 8 << 20, 2
    room = shutil.disk_usage(directory).free // 2
    return 16 << 20, min(64, max(4, room // AT_ONCE // (16 << 20)))


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
    size, count = sizes(tmp_path)
    parts = [memoryview(random.Random(n).randbytes(size)) for n in range(len(FRAMINGS))]

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
