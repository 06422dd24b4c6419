"""Clients that stop in the middle hold up nobody, and cost little memory: there are more of them here than the server has
threads for file work."""
import os
import resource
import socket

import pytest
from doors import BASIC, Door
from lakebed_server import Server
from sigv4 import UNSIGNED, query_string

# Of each kind: downloads and uploads, through each door.
STALLED = 1000 if os.environ.get("LAKEBED_BOUNDED") == "full" else 300
SENT = 200 << 10
# What a stalled client may cost on average, however many there are, beyond what the first hundred or so take at once: their
# pieces are large, because they are few.
EACH = 160 << 10
FIRST = 64 << 20


def request(door, method, at, headers, query=None):
    """The head of a signed request, as it goes over the wire."""
    signed = door.signer.headers(method, door.host, f"/{at}", query, UNSIGNED)
    lines = "".join(f"{name}: {value}\r\n" for name, value in (signed | headers).items())
    return f"{method} /{at}{'?' + query_string(query) if query else ''} HTTP/1.1\r\n{lines}\r\n".encode()


@pytest.fixture
def server(tmp_path):
    """A server of its own: what it keeps for these clients is not what others are measured by."""
    with Server(tmp_path / "lake") as running:
        yield running


def test_stalled_clients_hold_up_nobody(server, repo):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    door, content, stalled = Door(server.port, timeout=30), os.urandom(4 << 20), []
    basic = f"host: {door.host}\r\nauthorization: {BASIC}\r\n"
    start = server.memory("VmRSS")
    large = {"content-length": str(10 << 20)}

    def connect():
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        stalled.append(connection)
        return connection

    def memory_is_bounded(what):
        each = (server.memory("VmRSS") - start - FIRST) // len(stalled)
        assert each < EACH, f"{what}: each of {len(stalled)} stalled clients costs {each >> 10} KiB"

    def others_are_served(what):
        for size in (100, 4 << 20):
            status, answer, _ = door.s3("PUT", f"{repo}/main/of-{size}", content[:size])
            assert status == 200, (what, answer)
            assert door.s3("GET", f"{repo}/main/of-{size}")[1] == content[:size]

    try:
        others_are_served("nobody")
        for n in range(STALLED):
            connect().sendall(request(door, "PUT", f"{repo}/main/{n}", large) + bytes(SENT))
            head = f"POST /api/v1/repositories/{repo}/branches/main/objects?path=rest/{n} HTTP/1.1\r\n{basic}"
            head += f"content-type: application/octet-stream\r\ncontent-length: {10 << 20}\r\n\r\n"
            connect().sendall(head.encode() + bytes(SENT))
        others_are_served("uploads")
        memory_is_bounded("uploads")
        for n in range(STALLED):
            at = f"GET /api/v1/repositories/{repo}/refs/main/objects?path=of-{4 << 20} HTTP/1.1\r\n{basic}\r\n"
            for asked in [request(door, "GET", f"{repo}/main/of-{4 << 20}", {}), at.encode()]:
                connection = connect()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(asked)
                assert connection.recv(1)
        others_are_served("downloads")
        memory_is_bounded("downloads")
    finally:
        for connection in stalled:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    others_are_served("those who went away")
    # What was cut off left nothing behind.
    status, listed, _ = door.s3("GET", repo, query={"list-type": "2", "prefix": "main/"})
    assert status == 200 and listed.count(b"<Key>") == 2
