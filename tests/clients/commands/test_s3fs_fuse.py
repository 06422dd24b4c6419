"""s3fs-fuse: a branch as a directory. Where the machine lets nobody mount, the test says so and is skipped."""
import os
import pathlib
import shutil
import subprocess
import time

import pytest
import trees
from conftest import installed, run

from lakebed_server import KEY, SECRET

pytestmark = pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="this machine does not allow FUSE (/dev/fuse)")


@pytest.fixture(params=["v4", "v2"])
def mount(request, server, repo, tmp_path):
    """Mounts a ref and gives the directory; all is unmounted at the end."""
    passwords = tmp_path / "passwords"
    passwords.write_text(f"{KEY}:{SECRET}")
    passwords.chmod(0o600)
    mounted = []

    def mount(ref):
        at = tmp_path / f"mounted-{len(mounted)}"
        at.mkdir()
        options = ["use_path_request_style", f"url={server.endpoint}", f"passwd_file={passwords}", "endpoint=eu-west-3", f"logfile={tmp_path / 'log'}"]
        options += ["sigv2"] if request.param == "v2" else ["sigv4"]
        try:
            run(installed("s3fs", "s3fs"), f"{repo}:/{ref}", at, "-o", ",".join(options))
        except AssertionError as error:
            if "Operation not permitted" in str(error):
                pytest.skip(f"this machine does not allow FUSE: {error}")
            raise
        mounted.append(at)
        deadline = time.monotonic() + 20
        while not os.path.ismount(at):
            assert time.monotonic() < deadline, pathlib.Path(tmp_path / "log").read_text()
            time.sleep(0.02)
        return at

    yield mount
    for at in mounted:
        subprocess.run(["fusermount", "-u", "-z", str(at)], check=False)


def test_a_branch_is_a_directory(mount, server, repo, tmp_path, commit):
    source = trees.make(tmp_path / "source", [name for name in trees.ODD if len(name) < 100], many=20, large=[12 << 20])
    branch = mount("main")
    shutil.copytree(source, branch / "files")
    assert trees.contents(branch / "files") == trees.contents(source)
    assert sorted(os.listdir(branch / "files")) == sorted(os.listdir(source))
    ref = commit()
    (branch / "files/many").rename(branch / "files/renamed")
    (branch / "files/empty").unlink()
    (branch / "files/large" / f"{12 << 20}.bin").chmod(0o640)
    with open(branch / "files/large" / f"{12 << 20}.bin", "r+b") as file:
        file.seek(5_000_000)
        file.write(b"in the middle")
    content = bytearray((source / "large" / f"{12 << 20}.bin").read_bytes())
    content[5_000_000:5_000_013] = b"in the middle"
    status, stored = server.rest("GET", f"/repositories/{repo}/refs/main/objects", path=f"files/large/{12 << 20}.bin")
    assert status == 200 and stored == bytes(content)
    assert trees.contents(branch / "files/renamed") == trees.contents(source / "many")
    # The commit, mounted beside its branch, is as it was.
    assert trees.contents(mount(ref) / "files") == trees.contents(source)
    shutil.rmtree(branch / "files")
    assert os.listdir(branch) == []
