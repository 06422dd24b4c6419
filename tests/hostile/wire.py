"""Requests by hand, byte for byte, each on a connection of its own; and what a clear answer of each door is."""
import http.client
import json
import re
import socket
import xml.etree.ElementTree as ET

TIMEOUT = 30


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:400]!r}"


def to_bytes(text):
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")


def head(method, target, headers):
    lines = [to_bytes(method) + b" " + to_bytes(target) + b" HTTP/1.1"]
    lines += [to_bytes(name) + b": " + to_bytes(value) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def exchange(port, sent, method="GET", half_close=False):
    """Sends bytes; the first answer, or None if the connection ends without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        try:
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before it was whole: an answer may be there all the same
        answer = http.client.HTTPResponse(connection, method=method)
        try:
            answer.begin()
            return Answer(answer.status, answer.headers, answer.read())
        except TimeoutError:
            raise AssertionError(f"no answer within {TIMEOUT} s: {sent[:500]!r}") from None
        except (OSError, http.client.HTTPException):
            return None


def request(port, method, target, headers=(), body=b"", half_close=False):
    """A request that is whole by HTTP's rules gets an answer."""
    headers = [("Host", f"127.0.0.1:{port}"), *headers]
    if body and not any(to_bytes(name).lower() in (b"content-length", b"transfer-encoding") for name, _ in headers):
        headers.append(("Content-Length", len(body)))
    return exchange(port, head(method, target, headers) + body, method, half_close)


def check_rest(answer, shown, method="GET"):
    """No fault of the server, and a refusal in JSON. 501 is for what the API description has and this server not yet."""
    assert answer is not None, f"no answer: {shown}"
    assert answer.status < 500 or answer.status == 501, f"{answer}: {shown}"
    if answer.status < 400:
        return
    kind = answer.headers.get("Content-Type", "")
    if method == "HEAD":
        assert answer.body == b"", f"{answer}: {shown}"
    elif answer.status == 400 and kind.startswith("text/plain"):
        assert answer.body.startswith(b"Invalid format for parameter"), f"{answer}: {shown}"
    elif answer.body or answer.status != 404:
        # One deprecated operation answers 404 without a body.
        assert kind.startswith("application/json") and json.loads(answer.body)["message"], f"{answer}: {shown}"


def error_code(answer):
    """The code of an S3 error. Control characters stand in it as S3 shows them, though XML has no place for them."""
    root = ET.fromstring(re.sub(rb"&#(x[0-9a-fA-F]+|\d+);", b"?", answer.body))
    assert root.tag == "Error", answer
    assert root.findtext("Message") and root.findtext("RequestId"), answer
    return root.findtext("Code")


def check_s3(answer, shown, method="GET"):
    assert answer is not None, f"no answer: {shown}"
    if answer.status >= 400:
        if method == "HEAD":
            assert answer.body == b"", f"{answer}: {shown}"
            assert answer.status < 500 or answer.status == 501, f"{answer}: {shown}"
        else:
            # A method that S3 has no operation for at that place gets a bare status, as lakeFS gives it.
            if answer.status in (404, 405) and not answer.body:
                return
            assert answer.body, f"a refusal without a document: {answer}: {shown}"
            code = error_code(answer)
            assert answer.status < 500 or (answer.status, code) == (501, "NotImplemented"), f"{answer}: {shown}"
