"""A server whose database goes says so, stays alive, and is ready again when the database is, without a restart."""
import json
import time
import urllib.error
import urllib.request

from database import Postgres
from lakebed_server import Server


def ask(server, path):
    try:
        with urllib.request.urlopen(server.endpoint + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until_ready(server, wanted, seconds):
    """How long it took until readiness had this status; what it said then."""
    begun = time.monotonic()
    while True:
        status, said = ask(server, "/_health/ready")
        took = time.monotonic() - begun
        if status == wanted:
            return took, json.loads(said)
        assert took < seconds, said
        time.sleep(0.05)


def test_readiness_follows_the_database(tmp_path):
    with Postgres() as postgres, Server(tmp_path, database=postgres.section()) as server:
        assert server.rest("POST", "/repositories", {"name": "lake", "storage_namespace": "local://lake"})[0] == 201
        alive = ask(server, "/_health")
        assert alive[0] == 200 and alive[1].startswith("alive! ")
        until_ready(server, 200, 5)
        process = server.process.pid
        for stop in (postgres.crash, postgres.freeze):
            stop()
            took, said = until_ready(server, 503, 5)
            assert said["database"] == "the key-value engine does not answer" and not said["draining"], said
            assert ask(server, "/_health") == alive
            assert ask(server, "/_health/live")[0] == 200
            if stop == postgres.crash:
                postgres.start()
            else:
                postgres.thaw()
            took, said = until_ready(server, 200, 30)
            assert said["database"] == "ok"
            assert server.rest("GET", "/repositories/lake")[0] == 200
        assert server.process.pid == process


def test_many_probes_are_few_writes(tmp_path):
    with Postgres() as postgres, Server(tmp_path, database=postgres.section()) as server:
        until_ready(server, 200, 5)

        def versions():
            return int(postgres.query("SELECT last_value FROM lakebed_versions"))

        before, begun = versions(), time.monotonic()
        for _ in range(200):
            assert ask(server, "/_health/ready")[0] == 200
        # One a second is the probe's; the rest is what the server does in the background.
        assert versions() - before <= 10 + 2 * (time.monotonic() - begun)
