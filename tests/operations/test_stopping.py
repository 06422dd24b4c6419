"""How a server stops: what is in flight is finished, load balancers are told first, a second signal ends everything."""
import contextlib
import http.client
import json
import signal
import socket
import time
import uuid

import pytest

from doors import BASIC
from lakebed_server import KEY, SECRET, Server
from sigv4 import Signer

SIZE = 1 << 20


def started(directory, shutdown):
    server = Server(directory, extra=f"shutdown: {json.dumps(shutdown)}").start()
    name = "repo-" + uuid.uuid4().hex[:12]
    assert server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})[0] == 201
    return server, name


def refuses(server):
    """Whether the port is closed. A connection that was taken is closed again."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rest_head(server, repo):
    return f"POST /api/v1/repositories/{repo}/branches/main/objects?path=slow HTTP/1.1", {"Authorization": BASIC, "Content-Type": "application/octet-stream"}


def s3_head(server, repo):
    path = f"/{repo}/main/slow"
    headers = Signer(KEY, SECRET).headers("PUT", f"127.0.0.1:{server.port}", path, None, "UNSIGNED-PAYLOAD", None)
    return f"PUT {path} HTTP/1.1", headers


class Upload:
    """An upload that is sent piece by piece. It is under way when this returns: the server has asked for the body."""

    def __init__(self, server, repo, head):
        line, headers = head(server, repo)
        headers = {"host": f"127.0.0.1:{server.port}", "Content-Length": str(SIZE), "Expect": "100-continue"} | headers
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.file = self.socket.makefile("rb")
        self.socket.sendall("\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode())
        said = self.file.readline()
        assert said.startswith(b"HTTP/1.1 100"), said + self.file.read(2000)
        assert self.file.readline() == b"\r\n"
        self.socket.sendall(b"x" * (SIZE // 2))

    def finish(self):
        """(status, headers)"""
        self.socket.sendall(b"x" * (SIZE // 2))
        status = int(self.file.readline().split()[1])
        headers = http.client.parse_headers(self.file)
        self.socket.close()
        return status, headers


def test_uploads_in_flight_are_finished_through_both_doors(tmp_path):
    """Nobody asked for readiness, so nobody is waited for: the port is closed at once."""
    server, repo = started(tmp_path, {"grace": "1h"})
    uploads = [Upload(server, repo, rest_head), Upload(server, repo, s3_head)]
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    idle.request("GET", "/_health")
    assert idle.getresponse().read()
    server.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(server))
    # A connection that waits for a request is closed, those with one are not.
    assert idle.sock.recv(1) == b""
    assert server.process.poll() is None
    for upload, expected in zip(uploads, (201, 200)):
        status, headers = upload.finish()
        assert (status, headers["Connection"]) == (expected, "close")
    assert server.process.wait(timeout=30) == 0
    server.start()
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="slow")[1]["size_bytes"] == SIZE
    server.stop()


def test_who_watches_is_told_first(tmp_path):
    server, repo = started(tmp_path, {"grace": "3s"})
    upload = Upload(server, repo, rest_head)
    watching = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ready(connection):
        connection.request("GET", "/_health/ready")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers["Connection"]

    ok = {"ready": True, "draining": False, "database": "ok", "blockstore": "ok"}
    assert ready(watching) == (200, ok, None)
    begun = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    until(lambda: ready(watching)[0] == 503)
    # Not ready, but whoever has not noticed yet is served, and told that the connection ends.
    late = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    assert ready(late) == (503, {"ready": False, "draining": True, "database": "not asked", "blockstore": "not asked"}, "close")
    late.request("GET", f"/api/v1/repositories/{repo}", headers={"Authorization": BASIC})
    answer = late.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    for live in ("/_health", "/_health/live"):
        late.request("GET", live)
        assert late.getresponse().read().startswith(b"alive!")
    until(lambda: refuses(server))
    assert time.monotonic() - begun > 2.9
    assert upload.finish()[0] == 201
    assert server.process.wait(timeout=30) == 0


def test_a_second_signal_ends_it_at_once(tmp_path):
    server, repo = started(tmp_path, {"drain_timeout": "1h"})
    upload = Upload(server, repo, rest_head)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(server))
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=10) == 0
    with contextlib.suppress(ConnectionResetError):
        assert upload.file.read() == b""
    server.start()
    assert server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="slow")[0] == 404
    server.stop()


@pytest.mark.parametrize("head", [rest_head, s3_head])
def test_a_drain_ends(tmp_path, head):
    server, repo = started(tmp_path, {"drain_timeout": "500ms"})
    upload = Upload(server, repo, head)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=20) == 0
    with contextlib.suppress(ConnectionResetError):
        assert upload.file.read() == b""
    assert "broken off" in server.tail()
