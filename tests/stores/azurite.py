"""Azure Blob Storage on loopback: Azurite, which verifies every signature."""
import contextlib
import pathlib
import subprocess
import tempfile
import urllib.request
from email.utils import formatdate
import base64
import hashlib
import hmac

from gcs import free_port, wait_for

ACCOUNT = "devstoreaccount1"
# Known to all: the emulator has no other.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
DOMAIN = "blob.core.windows.net"
HOME = pathlib.Path(__file__).resolve().parent.parent.parent / "node_modules"


def request(endpoint, method, path, query=(), body=b"", **headers):
    """One call with the account's key; `endpoint` ends in the account."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"} | headers
    own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    pairs = "".join(f"\n{name}:{value}" for name, value in sorted(query))
    text = f"{method}\n\n\n{len(body) or ''}\n\n\n\n\n\n\n\n\n{own}/{ACCOUNT}/{ACCOUNT}{path}{pairs}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    url = f"{endpoint}{path}" + "".join(f"{'&' if n else '?'}{name}={value}" for n, (name, value) in enumerate(query))
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Type": ""}
    return urllib.request.urlopen(urllib.request.Request(url, body or None, headers, method=method), timeout=10)


@contextlib.contextmanager
def azurite(container):
    """The service with one container: its address, the account included."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        command = ["node", str(HOME / "azurite/dist/src/blob/main.js"), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", directory]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
            request(endpoint, "PUT", f"/{container}", [("restype", "container")]).close()
            yield endpoint
        finally:
            process.kill()
            process.wait()
