"""The files to deploy with, by their linters and against what the server knows."""
import pathlib
import re
import subprocess
import sys

import yaml

from lakebed_server import ROOT

DEPLOY = ROOT / "deploy"


def tool(name):
    return str(pathlib.Path(sys.executable).parent / name)


def test_the_image():
    done = subprocess.run([tool("hadolint"), DEPLOY / "container" / "Containerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_yaml():
    rules = "{extends: relaxed, rules: {line-length: disable}}"
    files = [DEPLOY / "compose" / "compose.yaml", DEPLOY / "helm" / "lakebed" / "Chart.yaml", DEPLOY / "helm" / "lakebed" / "values.yaml"]
    done = subprocess.run([tool("yamllint"), "-s", "-d", rules, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def known_variables():
    keys = (ROOT / "crates" / "lakebed" / "src" / "config" / "keys.rs").read_text()
    return {"LAKEBED_" + name.upper().replace(".", "_") for name in re.findall(r'^    "([a-z0-9_.]+)" \w+ used;', keys, re.MULTILINE)}


def test_every_variable_is_a_key_of_the_server():
    for file in ("compose/compose.yaml", "helm/lakebed/templates/deployment.yaml"):
        named = set(re.findall(r"LAKEBED_[A-Z0-9_]+", (DEPLOY / file).read_text()))
        assert named and named <= known_variables(), (file, named - known_variables())


def test_the_composition_gives_servers_time_to_stop():
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    servers = [service for name, service in services.items() if name.startswith("server-")]
    assert len(servers) == 3
    # Grace, drain and closing.
    assert all(int(server["stop_grace_period"].removesuffix("s")) >= 5 + 30 + 20 for server in servers)
    balancer = (DEPLOY / "compose" / "haproxy.cfg").read_text()
    assert all(f"server {name} {name}:8000" in balancer for name in services if name.startswith("server-"))
