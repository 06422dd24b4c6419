"""Clients that stop in the middle hold up nobody: there are more of them here than the server has threads for file work."""
import os
import resource
import socket

import pytest
from doors import Door
from lakebed_server import Server
from sigv4 import UNSIGNED, query_string

STALLED = 600
SENT = 200 << 10


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
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    door, content, stalled = Door(server.port, timeout=30), os.urandom(4 << 20), []

    def others_are_served(what):
        for size in (100, 4 << 20):
            status, answer, _ = door.s3("PUT", f"{repo}/main/of-{size}", content[:size])
            assert status == 200, (what, answer)
            assert door.s3("GET", f"{repo}/main/of-{size}")[1] == content[:size]

    try:
        others_are_served("nobody")
        for n in range(STALLED):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            stalled.append(connection)
            connection.sendall(request(door, "PUT", f"{repo}/main/{n}", {"content-length": str(10 << 20)}) + bytes(SENT))
        others_are_served("uploads")
        for n in range(STALLED):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            stalled.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request(door, "GET", f"{repo}/main/of-{4 << 20}", {}))
            assert connection.recv(1)
        others_are_served("downloads")
    finally:
        for connection in stalled:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    others_are_served("those who went away")
    # What was cut off left nothing behind.
    status, listed, _ = door.s3("GET", repo, query={"list-type": "2", "prefix": "main/"})
    assert status == 200 and listed.count(b"<Key>") == 2
