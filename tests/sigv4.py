"""Signatures of version 4, by hand, so that a test can also make them wrong on purpose. Standard library only."""
import datetime
import hashlib
import hmac
import urllib.parse

REGION = "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()


def escape(text, safe=""):
    """As the signature wants it: everything but the unreserved characters is escaped."""
    return urllib.parse.quote(text, safe=safe + "-_.~", errors="surrogateescape")


def query_string(query):
    return "&".join(f"{escape(name)}={escape(str(value))}" for name, value in sorted(dict(query or {}).items()))


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def now_stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")


class Signer:
    """Signs for one key pair."""

    def __init__(self, key, secret):
        self.key, self.secret, self.derived = key, secret, {}

    def signing_key(self, day):
        if day not in self.derived:
            key = ("AWS4" + self.secret).encode()
            for part in (day, REGION, "s3", "aws4_request"):
                key = digest(key, part)
            self.derived = {day: key}
        return self.derived[day]

    def headers(self, method, host, path, query=None, payload=b"", headers=None, stamp=None):
        """The headers of a signed request. `path` is escaped already; `payload` is the body, or the word for
        `x-amz-content-sha256`."""
        stamp = stamp or now_stamp()
        word = payload if isinstance(payload, str) else hashlib.sha256(payload).hexdigest()
        signed = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": word}
        signed.update({name.lower(): value for name, value in dict(headers or {}).items()})
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{' '.join(str(signed[name]).split())}\n" for name in sorted(signed))
        request = "\n".join([method, path, query_string(query), lines, names, word])
        scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = digest(self.signing_key(stamp[:8]), text).hex()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def chunks(self, pieces, seed_headers):
        """A signed `aws-chunked` body of these pieces, behind a request signed with `STREAMING`."""
        stamp = seed_headers["x-amz-date"]
        scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
        previous = seed_headers["authorization"].rsplit("Signature=", 1)[1]
        body = []
        for piece in [*pieces, b""]:
            text = "\n".join(
                ["AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, EMPTY, hashlib.sha256(piece).hexdigest()]
            )
            previous = digest(self.signing_key(stamp[:8]), text).hex()
            body += [f"{len(piece):x};chunk-signature={previous}\r\n".encode(), piece, b"\r\n"]
        return b"".join(body)
