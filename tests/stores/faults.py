"""A proxy before an object service that does to its calls what networks and overloaded services do."""
import http.client
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

from gcs import Service


class Faults:
    """What happens to calls: `plan` takes method and path with query, and answers the name of a fault or None."""

    def __init__(self):
        self.plan = lambda method, path: None
        self.happened = []
        self.lock = threading.Lock()
        self.over = threading.Event()

    def first(self, count, fault, wanted=lambda method, path: True):
        """To the first `count` calls that are wanted."""
        left = [count]

        def plan(method, path):
            if not wanted(method, path):
                return None
            with self.lock:
                left[0] -= 1
                return fault if left[0] >= 0 else None

        self.happened, self.plan = [], plan

    def never(self):
        self.happened, self.plan = [], lambda method, path: None


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = faults = None

    def serve(self):
        fault = self.faults.plan(self.command, self.path)
        if fault:
            self.faults.happened.append((fault, self.command, self.path))
        length = int(self.headers.get("Content-Length", 0))
        if fault == "reset while sending":
            self.rfile.read(min(length // 2, 100_000))
            return self.cut()
        body = self.rfile.read(length)
        if len(body) < length:
            return self.cut()
        if fault == "slow down":
            return self.answer(503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>", [])
        if fault == "refused":
            return self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", [])
        if fault == "silence":
            self.faults.over.wait(30)
            return self.cut()
        upstream = http.client.HTTPConnection(self.upstream)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        upstream.request(self.command, self.path, body, headers)
        got = upstream.getresponse()
        content = got.read()
        upstream.close()
        if fault == "lost answer":
            return self.cut()
        if fault == "reset while reading" and len(content) > 1:
            return self.answer(got.status, content, got.getheaders(), len(content) // 2)
        self.answer(got.status, content, got.getheaders())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    def cut(self):
        self.close_connection = True

    def answer(self, status, content, headers, only=None):
        self.send_response(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:only])
        if only is not None:
            self.cut()

    def log_message(self, *_):
        pass


def before(endpoint):
    """A proxy before the service at `endpoint`: its address, and what it is told to do."""
    parts = urllib.parse.urlsplit(endpoint)
    faults = Faults()
    proxy = Service(("127.0.0.1", 0), type("Proxy", (Proxy,), {"upstream": parts.netloc, "faults": faults}))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{proxy.server_port}{parts.path}", faults
