"""A PostgreSQL server of a suite's own: its port, its directory, and the user postgres if we are root, which it refuses."""
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    path = found[-1] if found else shutil.which(name)
    assert path, f"{name} is missing: make test-engines installs PostgreSQL"
    return path


class Postgres:
    def __init__(self, **settings):
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lakebed-postgres-"))
        if self.user:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # The tests end processes, never the machine.
        self.settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": self.port} | settings
        subprocess.run(
            [program("initdb"), "--no-sync", "--auth=trust", "--username=lakebed", "--encoding=UTF8", "--locale=C", "-D", self.directory / "data"],
            check=True, stdout=subprocess.DEVNULL, **self.identity(),
        )
        self.process = None
        self.start()

    def identity(self):
        if not self.user:
            return {"cwd": "/"}
        return {"cwd": "/", "user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def start(self):
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen([program("postgres"), "-D", self.directory / "data", *options], stdout=log, stderr=log, **self.identity())
        deadline = time.monotonic() + 60
        while self.query("SELECT 1") != "1":
            assert self.process.poll() is None and time.monotonic() < deadline, (self.directory / "log").read_text()[-4000:]
            time.sleep(0.02)

    def crash(self):
        """Ends at once, whatever is going on; the next start recovers."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def freeze(self):
        """Takes connections and says nothing any more, until it is thawed."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self):
        self.signal_all(signal.SIGCONT)

    def signal_all(self, which):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for process in [self.process.pid, *map(int, children)]:
            os.kill(process, which)

    def query(self, statement):
        command = [program("psql"), "-XqtA", "-h", "127.0.0.1", "-p", str(self.port), "-U", "lakebed", "-d", "postgres", "-c", statement]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()

    def section(self, **more):
        """The section of a server's configuration."""
        address = f"postgres://lakebed@127.0.0.1:{self.port}/postgres?sslmode=disable"
        return {"type": "postgres", "postgres": {"connection_string": address, "max_open_connections": 12} | more}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.crash()
        shutil.rmtree(self.directory, ignore_errors=True)
