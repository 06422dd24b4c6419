"""A collector of traces on this machine. Standard library only."""
import http.server
import struct
import threading
from dataclasses import dataclass, field


def fields(message):
    """The fields of a protobuf message: (number, value), values of length-delimited ones as bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            yield number, varint()
        elif kind == 1:
            yield number, struct.unpack_from("<Q", message, at)[0]
            at += 8
        elif kind == 5:
            yield number, struct.unpack_from("<I", message, at)[0]
            at += 4
        else:
            assert kind == 2, kind
            length = varint()
            assert at + length <= len(message)
            yield number, message[at:at + length]
            at += length


def all_of(message, number):
    return [value for found, value in fields(message) if found == number]


def one(message, number, default=b""):
    return next(iter(all_of(message, number)), default)


def attributes(pairs):
    """`KeyValue`s: texts, booleans and numbers."""
    found = {}
    for pair in pairs:
        kind, value = next(fields(one(pair, 2)), (1, b""))
        found[one(pair, 1).decode()] = {1: lambda v: v.decode(), 2: bool}.get(kind, lambda v: v)(value)
    return found


@dataclass
class Span:
    trace: str
    id: str
    parent: str
    name: str
    kind: int
    begun: int
    ended: int
    failed: bool
    links: list
    attributes: dict = field(repr=False)


def span(message):
    return Span(trace=one(message, 1).hex(), id=one(message, 2).hex(), parent=one(message, 4).hex(), name=one(message, 5).decode(),
                kind=one(message, 6, 0), begun=one(message, 7, 0), ended=one(message, 8, 0), failed=one(one(message, 15), 3, 0) == 2,
                links=[one(link, 1).hex() for link in all_of(message, 13)], attributes=attributes(all_of(message, 9)))


class Collector:
    """Takes what is posted to it, and answers with `status`."""

    def __init__(self, status=200):
        self.status, self.requests = status, []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def resources(self):
        return [attributes(all_of(one(group, 1), 1)) for _, _, body in self.requests for group in all_of(body, 1)]

    @property
    def spans(self):
        return [span(message) for _, _, body in self.requests for group in all_of(body, 1)
                for scope in all_of(group, 2) for message in all_of(scope, 2)]
