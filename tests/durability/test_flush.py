"""No success answer leaves before the flush that it rests on (invariant 1), on the key-value engine and on object bytes:
the server's own system calls say so."""
import re
import shutil

import pytest

from doors import Door
from lakebed_server import Server
from syscalls import CALLS, events, unflushed

SMALL, LARGE, PART = b"small", b"large" * 100_000, b"p" * (5 << 20)


def needed(path):
    """What the server writes and its answers rest on. Files of small objects rest on the log, tables on the journal."""
    if re.search(r"/metadata/.*\.jnl$", path) or "/data/.lakebed/log/" in path:
        return "content"
    if "/data/.lakebed/tmp/" in path:
        return "named"
    if "/data/.lakebed/multipart/" in path:
        return "created"
    return None


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The lines of a trace, and how many successes were asked for by each kind of request."""
    assert shutil.which("strace"), "strace is missing: the Makefile installs it (apt-get install strace)"
    directory = tmp_path_factory.mktemp("traced")
    out = directory / "trace"
    strace = ["strace", "-D", "-f", "-y", "-s", "256", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(out)]
    with Server(directory / "lake", wrap=strace) as server:
        door = Door(server.port)
        at = "/repositories/flushed"

        def ok(status, *_):
            assert status in (200, 201, 204), (status, _)

        ok(*door.rest("POST", "/repositories", {"name": "flushed", "storage_namespace": "local://flushed"}))
        objects = f"{at}/branches/main/objects"
        ok(*door.rest("POST", objects, SMALL, path="rest/small"))
        ok(*door.rest("POST", objects, LARGE, path="rest/large"))
        ok(*door.s3("PUT", "flushed/main/s3/small", SMALL))
        ok(*door.s3("PUT", "flushed/main/s3/large", LARGE))
        ok(*door.s3("PUT", "flushed/main/s3/copy", headers={"x-amz-copy-source": "flushed/main/s3/large"}))
        status, made, _ = door.s3("POST", "flushed/main/s3/parts", query={"uploads": ""})
        upload = made.split(b"<UploadId>")[1].split(b"<")[0].decode()
        etags = ""
        for number, body in enumerate([PART, SMALL], 1):
            status, _, headers = door.s3("PUT", "flushed/main/s3/parts", body, {"partNumber": number, "uploadId": upload})
            ok(status)
            etags += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['ETag']}</ETag></Part>"
        whole = f"<CompleteMultipartUpload>{etags}</CompleteMultipartUpload>".encode()
        ok(*door.s3("POST", "flushed/main/s3/parts", whole, {"uploadId": upload}))
        ok(*door.rest("POST", f"{at}/branches/main/commits", {"message": "m"}))
        ok(*door.rest("POST", f"{at}/branches", {"name": "dev", "source": "main"}))
        ok(*door.s3("DELETE", "flushed/dev/s3/small"))
        ok(*door.rest("POST", f"{at}/branches/dev/commits", {"message": "m"}))
        ok(*door.rest("POST", f"{at}/refs/dev/merge/main"))
        ok(*door.rest("POST", f"{at}/tags", {"id": "v1", "ref": "main"}))
        ok(*door.rest("DELETE", objects, path="rest/small"))
    return out.read_text(errors="replace").splitlines()


def test_every_success_waits_for_its_flush(traced):
    found = events(traced)
    assert unflushed(found, needed) == []
    # The trace shows what it is about: the content itself, in what is flushed.
    successes = [event for event in found if event.kind == "answer" and "HTTP/1.1 20" in event.text]
    assert len(successes) >= 18
    written = [event for event in found if event.kind == "write" and needed(event.path)]
    assert any("small" in event.text and "/log/" in event.path for event in written)
    assert any("largelarge" in event.text and "/tmp/" in event.path for event in written)
    assert any(event.path.endswith(".jnl") for event in written)


@pytest.mark.parametrize(
    "without",
    [r"(fdatasync|fsync|syncfs)", r"fdatasync\(\d+</[^>]*\.jnl", r"fdatasync\(\d+</[^>]*/log/", r"(fdatasync|fsync)\(\d+</[^>]*/tmp/", r"fsync\(\d+</[^>]*/(flushed|multipart)/"],
    ids=["nothing is flushed", "the journal is not", "the log is not", "large bodies are not", "directories are not"],
)
def test_a_missing_flush_would_be_noticed(traced, without):
    doctored = [line for line in traced if not re.search(without, line)]
    assert len(doctored) < len(traced), "the trace has no such flush"
    assert unflushed(events(doctored), needed)
