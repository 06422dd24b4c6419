"""Both doors over plain sockets: one connection a thread, S3 requests signed by botocore. An answer, or NoAnswer."""
import base64
import http.client
import json
import urllib.parse

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lakebed_server import KEY, SECRET

BASIC = "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
SIGNER = S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")


class NoAnswer(Exception):
    """The request may have happened or not."""


class Door:
    """A client of one thread."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def send(self, method, url, body, headers):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self.connection.request(method, url, body=body, headers=headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(str(error)) from error
        if answer.getheader("Connection", "").lower() == "close":
            self.close()
        # Too much contention, or an outcome that the server does not know either.
        if answer.status in (429, 503):
            raise NoAnswer(f"{answer.status}: {content[:200]}")
        return answer.status, content, answer.headers

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def rest(self, method, at, body=None, **query):
        """(status, decoded body) of a REST call."""
        url = "/api/v1" + at + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {"Authorization": BASIC}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/octet-stream"
        elif body is not None:
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        status, content, answered = self.send(method, url, body, headers)
        is_json = "json" in answered.get("Content-Type", "") and content
        return status, json.loads(content) if is_json else content

    def s3(self, method, at, body=b"", query=None, headers=None):
        """(status, content, headers) of a signed S3 call."""
        url = f"http://127.0.0.1:{self.port}/" + urllib.parse.quote(at, safe="/~")
        if query:
            url += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        request = AWSRequest(method, url, data=body, headers=headers or {})
        SIGNER.add_auth(request)
        prepared = request.prepare()
        return self.send(method, prepared.url.removeprefix(f"http://127.0.0.1:{self.port}"), body, dict(prepared.headers))
