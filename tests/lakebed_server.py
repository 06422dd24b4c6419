"""Starts, stops and kills the built server. Standard library only, so that every client's environment can use it."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEY = "AKIAIOSFOLQUICKSTART"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def binary() -> pathlib.Path:
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(os.environ.get("LAKEBED_BINARY", target / "release" / "lakebed"))
    if not path.exists():
        sys.exit(f"{path} is missing: run 'make build' first, or name the binary in LAKEBED_BINARY")
    return path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One server over a directory. `set_up=False` leaves the administrator to be made by the test; `blockstore` and
    `database` are those sections of the configuration, if they are not to be the local ones, `logging` if more than what is
    of note is to be in the log; `blockstores` is that section, instead of `blockstore`; `variables` are those of its
    environment besides."""

    def __init__(self, directory, set_up=True, wrap=(), extra="", blockstore=None, database=None, logging=None, blockstores=None, variables=None):
        self.directory, self.port, self.wrap = pathlib.Path(directory), free_port(), list(wrap)
        self.variables = variables or {}
        self.directory.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = self.directory / "server.log"
        self.config = self.directory / "config.yaml"
        installation = f"""
installation:
  user_name: quickstart
  access_key_id: {KEY}
  secret_access_key: {SECRET}
"""
        engine = database or {"type": "local", "local": {"path": str(self.directory / "metadata")}}
        store = blockstore or {"type": "local", "local": {"path": str(self.directory / "data")}}
        stores = f"blockstores: {json.dumps(blockstores)}" if blockstores else f"blockstore: {json.dumps(store)}"
        self.config.write_text(f"""
listen_address: 127.0.0.1:{self.port}
logging: {json.dumps(logging or {"level": "INFO"})}
database: {json.dumps(engine)}
{stores}
auth:
  encrypt:
    secret_key: a secret of the tests, at least sixteen bytes
{installation if set_up else ""}
{extra}
""")
        self.process = None

    def start(self):
        self.launch()
        return self.wait_until_ready()

    def launch(self):
        """Starts the process; it does not serve yet."""
        out = open(self.log, "ab")
        command = [*self.wrap, str(binary()), "run", "--config", str(self.config)]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LAKEFS_", "LAKEBED_", "OTEL_"))} | self.variables
        self.process = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)
        out.close()

    def wait_until_ready(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(self.endpoint + "/_health", timeout=5) as answer:
                    if answer.status == 200:
                        return self
            time.sleep(0.02)
        raise AssertionError(f"the server does not answer:\n{self.tail()}")

    def kill(self):
        """As a crash: no warning, no clean-up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process = None
        text = self.log.read_text(errors="replace")
        assert code == 0, f"the server ended with {code}:\n{self.tail()}"
        assert "panicked" not in text, text[-4000:]

    def tail(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def memory(self, field="VmHWM"):
        """Peak (or `VmRSS`: present) resident memory in bytes."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(field)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rest(self, method, at, body=None, agent="lakebed-tests", **query):
        """One REST call: (status, decoded body)."""
        import base64
        import urllib.parse

        url = f"{self.endpoint}/api/v1{at}" + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {"User-Agent": agent, "Authorization": "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()}
        data = None
        if isinstance(body, bytes):
            data, headers["Content-Type"] = body, "application/octet-stream"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, decode(answer)
        except urllib.error.HTTPError as error:
            return error.code, decode(error)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if self.process and kind is not None:
            print(self.tail())
        self.stop()


def decode(answer):
    content = answer.read()
    if "json" in answer.headers.get("Content-Type", "") and content:
        return json.loads(content)
    return content
