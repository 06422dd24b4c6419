"""What the tests of command-line tools share: how a tool is run, and what was committed."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from lakebed_server import KEY, SECRET

BIN = pathlib.Path(sys.executable).parent


class Failed(AssertionError):
    """A tool ended with something else than 0."""


def run(*command, text=True, input=None, timeout=300, **environment):
    """What a tool prints. Settings for the AWS of whoever runs the tests are not for this server."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_", "RESTIC_"))}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=text, input=input, env={**own, **environment}, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def installed(name, package):
    """Where a tool from Debian's packages is. The Makefile installs it."""
    return shutil.which(name, path=f"/usr/bin:/bin:{os.environ['PATH']}") or pytest.fail(f"{name} is missing: the Makefile installs it (apt-get install {package})")


@pytest.fixture
def aws_environment(tmp_path):
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def commit(server, repo):
    """Commits what is staged on a branch and gives the commit's id."""

    def commit(branch="main", message="by a tool"):
        status, made = server.rest("POST", f"/repositories/{repo}/branches/{branch}/commits", {"message": message})
        assert status == 201, made
        return made["id"]

    return commit


@pytest.fixture
def changes(server, repo):
    """How many changes of a branch are not committed: none after a sync that had nothing to do."""

    def changes(branch="main"):
        status, found = server.rest("GET", f"/repositories/{repo}/branches/{branch}/diff", amount=1000)
        assert status == 200, found
        return [change["path"] for change in found["results"]]

    return changes
