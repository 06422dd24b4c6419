"""Metadata in the bucket: two servers without a disk, one active, one that stands by; whoever dies, sleeps or stops."""
import http.client
import os
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest

from emulators import KEY as STORE_KEY, SECRET as STORE_SECRET, moto, s3_client
from lakebed_server import Server

BUCKET = "the-lake"
PREFIX = "_lakebed_meta"
LEASE = 2.0


def section(name, **more):
    return {"type": "object", "object": {"prefix": f"s3://{BUCKET}/{PREFIX}", "lease": f"{LEASE}s", "server_name": name} | more}


def server(root, store, name, **more):
    s3 = {"endpoint": store, "force_path_style": True, "region": "us-east-1", "credentials": {"access_key_id": STORE_KEY, "secret_access_key": STORE_SECRET}}
    return Server(root / name, blockstore={"type": "s3", "s3": s3}, database=section(name, **more))


def get(server, at):
    """(status, text); status 0: no answer."""
    try:
        with urllib.request.urlopen(server.endpoint + at, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_active(server):
    return get(server, "/api/v1/healthcheck")[0] == 204


def stands_by(server, behind):
    return get(server, "/_health") == (200, f"alive! standing by: '{behind}' is active")


class Writer(threading.Thread):
    """Rewrites its own object with growing numbers, through the other server when one does not acknowledge."""

    def __init__(self, servers, me, stop):
        super().__init__()
        self.servers, self.me, self.stop, self.done, self.tried, self.problems = servers, me, stop, 0, 0, []

    def run(self):
        at = 0
        while not self.stop.is_set():
            self.tried += 1
            try:
                status, said = self.servers[at % 2].rest("POST", "/repositories/lake/branches/main/objects", str(self.tried).encode(), path=f"w{self.me}")
            except (OSError, http.client.HTTPException):
                status, said = 0, None
            if status == 201:
                self.done = self.tried
            else:
                if status not in (0, 500, 503):
                    self.problems.append((status, said))
                at += 1
                time.sleep(0.05)


def test_the_active_server_dies_sleeps_and_stops(tmp_path):
    with moto(BUCKET) as store:
        one, two = server(tmp_path, store, "one"), server(tmp_path, store, "two")
        one.start()
        two.launch()
        until(lambda: stands_by(two, "one"))
        status, said = get(two, "/api/v1/repositories")
        assert status == 503 and "standing by: 'one' is active" in said
        assert one.rest("POST", "/repositories", {"name": "lake", "storage_namespace": f"s3://{BUCKET}/lake"})[0] == 201
        stop = threading.Event()
        writers = [Writer((one, two), me, stop) for me in range(3)]
        for writer in writers:
            writer.start()

        def more(n=8):
            floors = [writer.done + n for writer in writers]
            until(lambda: all(writer.done >= floor for writer, floor in zip(writers, floors)))

        def sees_all(server, floors):
            for writer, floor in zip(writers, floors):
                status, content = server.rest("GET", "/repositories/lake/refs/main/objects", path=f"w{writer.me}")
                assert status == 200 and floor <= int(content) <= writer.tried, (status, content, floor)

        try:
            more()
            # Killed: the other takes over when the lease has run out, with everything that was acknowledged.
            floors = [writer.done for writer in writers]
            one.kill()
            killed = time.monotonic()
            until(lambda: is_active(two))
            assert time.monotonic() - killed < 3 * LEASE + 2
            sees_all(two, floors)
            one.launch()
            until(lambda: stands_by(one, "two"))
            more()
            # Stopped in its tracks: the other takes over; when it wakes it acknowledges nothing, shows nothing, and ends.
            os.killpg(two.process.pid, signal.SIGSTOP)
            until(lambda: is_active(one))
            floors = [writer.done for writer in writers]
            late = []

            def knock():
                try:
                    late.append(two.rest("POST", "/repositories/lake/branches/main/objects", b"late", path="late")[0])
                except (OSError, http.client.HTTPException):
                    late.append(0)

            knocking = [threading.Thread(target=knock) for _ in range(3)]
            for thread in knocking:
                thread.start()
            time.sleep(0.2)
            os.killpg(two.process.pid, signal.SIGCONT)
            assert two.process.wait(timeout=60) != 0
            assert "another server, 'one', has taken over" in two.tail() and "panicked" not in two.tail()
            for thread in knocking:
                thread.join()
            assert set(late) <= {0, 500, 503} and len(late) == 3, late
            assert one.rest("GET", "/repositories/lake/refs/main/objects", path="late")[0] == 404
            sees_all(one, floors)
            two.launch()
            until(lambda: stands_by(two, "one"))
            more()
            # Stopped as it should be: the other takes over at once, not when the lease has run out.
            one.stop()
            stopped = time.monotonic()
            until(lambda: is_active(two))
            assert time.monotonic() - stopped < LEASE + 1
            more()
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert not any(writer.problems for writer in writers), [writer.problems[:3] for writer in writers]
        assert two.rest("POST", "/repositories/lake/branches/main/commits", {"message": "all of it"})[0] == 201
        two.stop()
        # One that stands by and is told to stop does so, well.
        with server(tmp_path, store, "three") as three:
            sees_all(three, [writer.done for writer in writers])
            four = server(tmp_path, store, "four")
            four.launch()
            until(lambda: stands_by(four, "three"))
            four.stop()
        listed = s3_client(store).list_objects_v2(Bucket=BUCKET, Prefix=PREFIX)["Contents"]
        assert listed and not [item for item in listed if "/probes/" in item["Key"]]


@pytest.mark.parametrize("prefix", ["", "meta", "gs://bucket/meta", f"s3://{BUCKET}"])
def test_a_wrong_prefix_is_named(tmp_path, prefix):
    wrong = server(tmp_path, "http://127.0.0.1:9", "wrong", prefix=prefix)
    with pytest.raises(AssertionError, match="database.object.prefix.*s3://bucket/lakebed-metadata"):
        wrong.start()


def test_metadata_in_local_files(tmp_path):
    """One server only: the directory is locked. What was acknowledged is there after a crash."""
    local = Server(tmp_path, database={"type": "object", "object": {"prefix": "local://meta/lakebed", "lease": "1s"}})
    local.start()
    assert local.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})[0] == 201
    assert local.rest("POST", "/repositories/lake/branches/main/objects", b"kept", path="a")[0] == 201
    local.kill()
    with local:
        until(lambda: is_active(local))
        assert local.rest("GET", "/repositories/lake/refs/main/objects", path="a") == (200, b"kept")
    assert not (tmp_path / "metadata").exists()
