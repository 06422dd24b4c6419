"""Both doors over plain connections: REST with Basic auth, S3 with signatures. One `Door` for each thread.

Nothing is ever sent twice. A request without a whole answer raises `NoAnswer`: it may have happened or not. Standard
library only.
"""
import base64
import http.client
import json
import socket
import urllib.parse

from lakebed_server import KEY, SECRET
from sigv4 import Signer, escape, query_string

BASIC = "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()


class NoAnswer(Exception):
    """The request may have happened or not."""


class Door:
    """A client of one thread."""

    def __init__(self, port, timeout=60):
        self.port, self.timeout, self.connection = port, timeout, None
        self.host = f"127.0.0.1:{port}"
        self.signer = Signer(KEY, SECRET)

    def send(self, method, url, body=None, headers=None):
        """(status, content, headers)."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection.request(method, url, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(f"{method} {url}: {error!r}") from error
        if answer.will_close:
            self.close()
        return answer.status, content, answer.headers

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def rest(self, method, at, body=None, headers=None, **query):
        """(status, decoded body) of a REST call."""
        url = "/api/v1" + at + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")
        sent = {"Authorization": BASIC}
        if isinstance(body, bytes):
            sent["Content-Type"] = "application/octet-stream"
        elif body is not None:
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        status, content, answered = self.send(method, url, body, sent | (headers or {}))
        is_json = "json" in answered.get("Content-Type", "") and content
        return status, json.loads(content) if is_json else content

    def s3(self, method, at, body=b"", query=None, headers=None, payload=None):
        """(status, content, headers) of a signed S3 call on `bucket/key`. `payload` is the word to send in
        `x-amz-content-sha256` instead of the body's hash."""
        path = "/" + escape(at, "/")
        signed = self.signer.headers(method, self.host, path, query, body if payload is None else payload, headers)
        url = path + ("?" + query_string(query) if query else "")
        return self.send(method, url, body if body or method in ("PUT", "POST") else None, signed)
