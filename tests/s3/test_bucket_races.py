"""A bucket that is deleted while it is written to: either it is not empty, or nothing that was acknowledged was in it."""
import concurrent.futures
import threading
import uuid

import pytest

from doors import Door
from test_reading import code

WRITERS = 6
ROUNDS = 25


def put(door, at):
    return door.s3("PUT", at, b"acknowledged")


def upload(door, at):
    """In one part."""
    status, content, headers = door.s3("POST", at, query={"uploads": ""})
    if status != 200:
        return status, content, headers
    upload = content.split(b"<UploadId>")[1].split(b"<")[0].decode()
    status, content, headers = door.s3("PUT", at, b"acknowledged", {"partNumber": "1", "uploadId": upload})
    if status != 200:
        return status, content, headers
    parts = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{headers['ETag']}</ETag></Part></CompleteMultipartUpload>"
    return door.s3("POST", at, parts.encode(), {"uploadId": upload})


def copy(door, at):
    return door.s3("PUT", at, headers={"x-amz-copy-source": "source-of-copies/o"})


@pytest.mark.parametrize("write", [put, upload, copy])
def test_a_deletion_loses_nothing_that_was_acknowledged(flat, write):
    door = Door(flat.port)
    assert door.s3("PUT", "source-of-copies")[0] in (200, 409)
    assert door.s3("PUT", "source-of-copies/o", b"acknowledged")[0] == 200
    outcomes = set()
    for turn in range(ROUNDS):
        bucket = "b-" + uuid.uuid4().hex[:12]
        assert door.s3("PUT", bucket)[0] == 200
        begun = threading.Barrier(WRITERS + 1)

        def writer(n, bucket=bucket, begun=begun, late=turn % 3):
            mine = Door(flat.port)
            begun.wait()
            # In some rounds the writers come a little later than the deletion.
            for _ in range(late):
                mine.s3("HEAD", bucket)
            answer = code(write(mine, f"{bucket}/{n}"))
            mine.close()
            return answer

        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            written = [pool.submit(writer, n) for n in range(WRITERS)]
            begun.wait()
            status, name = code(door.s3("DELETE", bucket))
            answers = [each.result() for each in written]
        acknowledged = [n for n, answer in enumerate(answers) if answer[0] == 200]
        for answer in answers:
            assert answer[0] == 200 or answer in [(503, "SlowDown"), (404, "NoSuchBucket"), (404, "NoSuchUpload")], answer
        outcomes.add(status)
        if status == 204:
            assert acknowledged == [], answers
            assert code(door.s3("PUT", f"{bucket}/late", b"x")) == (404, "NoSuchBucket")
            continue
        assert (status, name) == (409, "BucketNotEmpty")
        for n in acknowledged:
            assert door.s3("GET", f"{bucket}/{n}")[1] == b"acknowledged"
        assert door.s3("PUT", f"{bucket}/late", b"x")[0] == 200, "and it takes more"
    assert outcomes <= {204, 409}
    door.close()
