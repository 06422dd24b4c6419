"""Clients that go away, or say and take nothing for too long: no fault of the server, and said to be that in the records of
requests and the metrics."""
import http.client
import json
import socket
import time
import urllib.request
import uuid

import pytest

from doors import BASIC, Door
from lakebed_server import KEY, SECRET, Server
from sigv4 import UNSIGNED, Signer

LARGE = 32 << 20
LOGGED = {"format": "json", "level": "INFO", "audit_log_level": "INFO"}


@pytest.fixture(scope="module")
def silent():
    """Another S3 server, which takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


@pytest.fixture(scope="module")
def server(tmp_path_factory, silent):
    behind = f"http://127.0.0.1:{silent.getsockname()[1]}"
    extra = f"gateways: {{s3: {{fallback_url: '{behind}'}}}}"
    with Server(tmp_path_factory.mktemp("lake"), logging=LOGGED, extra=extra) as running:
        yield with_lake(running)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server that does not wait for long."""
    extra = "connections: {receive_timeout: 300ms, send_timeout: 1s}"
    with Server(tmp_path_factory.mktemp("impatient"), logging=LOGGED, extra=extra) as running:
        yield with_lake(running)


def with_lake(server):
    """A repository with a large object."""
    door = Door(server.port)
    assert door.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})[0] == 201
    assert door.s3("PUT", "lake/main/large", bytes(LARGE))[0] == 200
    door.close()
    return server


class Asked:
    """A request over a connection of its own, which its record is known by."""

    def __init__(self, server, method, path, query="", rest=False, length=0, room=None, kind="application/json"):
        self.server, self.agent = server, f"client-{uuid.uuid4().hex}"
        self.connection = socket.socket()
        if room:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.connection.settimeout(60)
        self.connection.connect(("127.0.0.1", server.port))
        host = f"127.0.0.1:{server.port}"
        headers = {"host": host, "authorization": BASIC} if rest else Signer(KEY, SECRET).headers(method, host, path, None, UNSIGNED, {})
        headers |= {"user-agent": self.agent, "content-length": str(length), "content-type": kind}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.connection.sendall(f"{method} {path}{query} HTTP/1.1\r\n{lines}\r\n".encode())

    def answer(self):
        """(status, body) of the whole answer."""
        answer = http.client.HTTPResponse(self.connection)
        answer.begin()
        return answer.status, answer.read()

    def record(self):
        return record(self.server, self.agent)


def record(server, agent):
    """The only record of a request that is known by its `User-Agent`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if agent in line]
        if lines:
            assert len(lines) == 1, lines
            return lines[0]
    raise AssertionError(f"no record:\n{server.tail()}")


def counted(server, name, **labels):
    with urllib.request.urlopen(f"{server.endpoint}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [line for line in lines if line.startswith(name + "{") and all(label in line for label in wanted)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


DOWNLOADS = {
    "s3": ("gateway", "GetObject", lambda server, **how: Asked(server, "GET", "/lake/main/large", **how)),
    "rest": ("api", "getObject", lambda server, **how: Asked(server, "GET", "/api/v1/repositories/lake/refs/main/objects", "?path=large", rest=True, **how)),
}


@pytest.mark.parametrize("door", DOWNLOADS)
def test_in_the_middle_of_a_download(server, door):
    prefix, operation, ask = DOWNLOADS[door]
    name = f"{prefix}_request_duration_seconds_count"
    gone, whole = (counted(server, name, operation=operation, code=code) for code in (499, 200))
    asked = ask(server)
    assert b" 200 " in asked.connection.recv(1000)
    asked.connection.close()
    record = asked.record()
    assert (record["status_code"], record["operation_id"]) == (499, operation)
    assert 0 < record["sent_bytes"] < LARGE
    assert counted(server, name, operation=operation, code=499) == gone + 1
    assert counted(server, name, operation=operation, code=200) == whole


@pytest.mark.parametrize("door", DOWNLOADS)
def test_who_read_everything_has_not_gone_away(server, door):
    operation, ask = DOWNLOADS[door][1:]
    asked = ask(server)
    assert asked.answer() == (200, bytes(LARGE))
    asked.connection.close()
    record = asked.record()
    assert (record["status_code"], record["operation_id"], record["sent_bytes"]) == (200, operation, LARGE)


@pytest.mark.parametrize("method, path, status", [("HEAD", "/lake/main/large", 200), ("HEAD", "/lake/main/none", 404), ("GET", "/lake/main/none", 404), ("DELETE", "/lake/main/none", 204)])
def test_answers_of_a_few_bytes_or_none(server, method, path, status):
    asked = Asked(server, method, path)
    head = asked.connection.recv(4096)
    assert int(head.split()[1]) == status
    asked.connection.close()
    assert asked.record()["status_code"] == status


UPLOADS = {
    "s3": lambda server: Asked(server, "PUT", "/lake/main/half", length=1 << 20),
    "rest": lambda server: Asked(server, "POST", "/api/v1/repositories/lake/branches/main/objects", "?path=half", rest=True, length=1 << 20),
}


@pytest.mark.parametrize("door", UPLOADS)
def test_in_the_middle_of_an_upload(server, door):
    asked = UPLOADS[door](server)
    asked.connection.sendall(bytes(1000))
    asked.connection.close()
    record = asked.record()
    assert record["status_code"] == 499
    assert record["operation_id"] == {"s3": "PutObject", "rest": "uploadObject"}[door]


def test_before_there_is_an_answer(server, silent):
    asked = Asked(server, "GET", "/elsewhere/key")
    behind, _ = silent.accept()
    with behind:
        assert behind.recv(1000).startswith(b"GET /elsewhere/key")
        asked.connection.close()
        record = asked.record()
    assert record["status_code"] == 499
    assert counted(server, "gateway_request_duration_seconds_count", code=499) >= 1
    assert counted(server, "gateway_request_duration_seconds_count", code="5") == 0


@pytest.mark.parametrize("door", UPLOADS)
def test_who_says_nothing_is_told(impatient, door):
    asked = UPLOADS[door](impatient)
    asked.connection.sendall(bytes(1000))
    status, said = asked.answer()
    if door == "s3":
        assert status == 400 and b"<Code>RequestTimeout</Code>" in said
    else:
        assert status == 408 and "send the request again" in json.loads(said)["message"]
    assert asked.record()["status_code"] == status


def test_who_says_nothing_in_a_document_or_a_form_is_told(impatient):
    document = Asked(impatient, "POST", "/api/v1/repositories", rest=True, length=100)
    document.connection.sendall(b'{"name": ')
    status, said = document.answer()
    assert status == 408 and "send the request again" in json.loads(said)["message"]
    form = Asked(impatient, "POST", "/api/v1/repositories/lake/branches/main/objects", "?path=form", rest=True, length=1000, kind="multipart/form-data; boundary=b")
    form.connection.sendall(b'--b\r\nContent-Disposition: form-data; name="content"\r\n\r\nhal')
    status, said = form.answer()
    assert status == 408 and "send the request again" in json.loads(said)["message"]


@pytest.mark.parametrize("door", DOWNLOADS)
def test_who_takes_nothing_is_cut_off(impatient, door):
    asked = DOWNLOADS[door][2](impatient, room=4096)
    record = asked.record()
    assert record["status_code"] == 499 and 0 < record["sent_bytes"] < LARGE
    with pytest.raises(ConnectionResetError):
        while asked.connection.recv(1 << 20):
            pass


def frame(kind, flags, stream, payload=b""):
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header as HPACK has it at its simplest."""
    return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def test_a_stream_of_http_2_that_is_not_taken_is_cut_off(impatient):
    agent = f"client-{uuid.uuid4().hex}"
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        # The window of each stream is empty, so nothing can be sent of an answer's body, while the connection is read.
        settings = b"\x00\x04" + (0).to_bytes(4, "big")
        headers = {":method": "GET", ":scheme": "http", ":path": "/api/v1/repositories/lake/refs/main/objects?path=large"}
        headers |= {":authority": f"127.0.0.1:{impatient.port}", "authorization": BASIC, "user-agent": agent}
        block = b"".join(literal(name, value) for name, value in headers.items())
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, settings) + frame(1, 0x05, 1, block))
        came = b""
        try:
            while piece := connection.recv(1 << 16):
                came += piece
        except ConnectionResetError:
            pass
    assert came, "there was no answer at all"
    said = record(impatient, agent)
    assert (said["status_code"], said["operation_id"]) == (499, "getObject") and said["sent_bytes"] < LARGE
