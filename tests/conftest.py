import pathlib
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from lakebed_server import Server  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server of this session's own; a suite ends with a clean stop and a log without panics."""
    with Server(tmp_path_factory.mktemp("lake")) as running:
        yield running


@pytest.fixture
def repo(server):
    """A fresh repository."""
    name = "repo-" + uuid.uuid4().hex[:12]
    status, made = server.rest("POST", "/repositories", {"name": name, "storage_namespace": f"local://{name}"})
    assert status == 201, made
    return name
