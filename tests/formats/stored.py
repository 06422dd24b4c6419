"""Servers over what an earlier version stored."""
import json
import pathlib
import tarfile
import urllib.request

from lakebed_server import Server

HERE = pathlib.Path(__file__).resolve().parent


class FixtureServer(Server):
    def alive(self):
        with urllib.request.urlopen(self.endpoint + "/_health", timeout=30) as answer:
            return answer.read().decode()


def unpack(name, to):
    """The facts that are stored beside a fixture."""
    with tarfile.open(HERE / f"{name}.tar.xz") as tar:
        tar.extractall(to, filter="data")
    return json.loads((to / "facts.json").read_text())
