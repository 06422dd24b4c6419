"""This server over what earlier versions stored, and over what a later one would."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import small_lake
from database import Postgres, program
from lakebed_server import binary
from stored import FixtureServer, unpack


def same(server, facts):
    """Sees what was seen when the fixture was written."""
    seen = json.loads(json.dumps(small_lake.look(server, facts["known"])))
    assert sorted(seen) == sorted(facts["seen"])
    for what, expected in facts["seen"].items():
        assert seen[what] == expected, what


def read_and_go_on(server, facts):
    with server:
        same(server, facts)
    # After a restart as well, and again after a crash.
    with server:
        same(server, facts)
        small_lake.go_on(server, facts["known"])
        server.kill()
        server.start()
        assert small_lake.ask(server, "GET", "/repositories/lake/branches/work/diff")["results"] == []
        log = small_lake.ask(server, "GET", "/repositories/lake/refs/main/commits", amount=100)["results"]
        assert log[-len(facts["seen"]["logs"]["main"]):] == facts["seen"]["logs"]["main"] or {c["id"] for c in facts["seen"]["logs"]["main"]} <= {c["id"] for c in log}


@pytest.fixture
def postgres(tmp_path):
    """A database with the dump of the first format."""
    with Postgres() as running:
        running.facts = unpack("format_1_postgres", tmp_path)
        load = [program("psql"), "-XqtA", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(running.port), "-U", "lakebed", "-d", "postgres", "-f", str(tmp_path / "dump.sql")]
        done = subprocess.run(load, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield running


def test_the_first_format_of_the_embedded_engine(tmp_path):
    facts = unpack("format_1_local", tmp_path)
    read_and_go_on(FixtureServer(tmp_path), facts)


def test_the_first_format_on_postgres(tmp_path, postgres):
    read_and_go_on(FixtureServer(tmp_path, database=postgres.section()), postgres.facts)


def migrate(server, *arguments):
    done = subprocess.run([binary(), "migrate", *arguments, "--config", server.config], capture_output=True, text=True)
    return done.returncode, done.stdout.strip() + done.stderr.strip()


def test_a_later_format_is_refused_and_left_alone(tmp_path, postgres):
    server = FixtureServer(tmp_path, database=postgres.section())
    with server:
        code, said = migrate(server, "status")
        assert code == 0 and "Data format: 1 (this binary reads 1 to 1)" in said and said.count("\nServer: lakebed ") == 1, said
        assert migrate(server, "finalize") == (0, "Nothing to finalize: the data has format 1.")
    # As a later version leaves it: format 2, in field 1.
    postgres.query("UPDATE lakebed_kv SET value = '\\x0802', version = nextval('lakebed_versions') WHERE key = '\\x46'")
    assert postgres.query("SELECT encode(value, 'hex') FROM lakebed_kv WHERE key = '\\x46'") == "0802"

    def everything():
        return postgres.query("SELECT count(*), md5(string_agg(key || value || version::text::bytea, '' ORDER BY key)) FROM lakebed_kv")

    before = everything()
    with pytest.raises(AssertionError, match="the data has format 2, this version reads up to 1"):
        server.start()
    code, said = migrate(server, "finalize")
    assert code == 1 and "format 2" in said, said
    assert everything() == before


def test_a_running_server_that_was_taken_for_dead_stops(tmp_path, postgres):
    """It slept while the others went on to a format it does not know."""
    server = FixtureServer(tmp_path, database=postgres.section()).start()
    server.process.send_signal(signal.SIGSTOP)
    postgres.query("UPDATE lakebed_kv SET value = '\\x0802', version = nextval('lakebed_versions') WHERE key = '\\x46'")
    server.process.send_signal(signal.SIGCONT)
    assert server.process.wait(timeout=60) == 1
    assert "the data has format 2" in server.tail() and "stopping at once" in server.tail()


def test_a_record_of_a_later_version_is_refused_not_rewritten(tmp_path, postgres):
    """Rows with a field more, as a later version writes them: nothing of them is lost."""
    server = FixtureServer(tmp_path, database=postgres.section())
    work = "key >= '\\x72' AND key < '\\x73' AND right(encode(key, 'escape'), 4) = 'work'"
    postgres.query(f"UPDATE lakebed_kv SET value = value || '\\xc00c01' WHERE {work}")
    row = postgres.query(f"SELECT count(*), min(encode(value, 'hex')) FROM lakebed_kv WHERE {work}")
    assert row.startswith("1|")
    with server:
        at = "/repositories/lake/branches/work"
        for method, path, body in [("GET", at, None), ("POST", at + "/commits", {"message": "m"}), ("POST", at + "/objects", b"x"), ("PUT", at, {"type": "reset"}), ("DELETE", at, None)]:
            status, said = server.rest(method, path, body, **({"path": "p"} if path.endswith("objects") else {}))
            assert status == 500, (method, path, status, said)
        assert server.log.read_text().count("stored ref was written by a newer version: upgrade this server") == 5
        # All the rest is as ever.
        assert server.rest("GET", "/repositories/lake/branches/main")[0] == 200
    assert postgres.query(f"SELECT count(*), min(encode(value, 'hex')) FROM lakebed_kv WHERE {work}") == row


def test_two_binaries_share_one_database(tmp_path, postgres):
    """The second is a build of its own file, as during a roll-out; LAKEBED_OTHER_BINARY names one of another version."""
    other = pathlib.Path(os.environ.get("LAKEBED_OTHER_BINARY", binary()))
    copy = tmp_path / "other" / "lakebed"
    copy.parent.mkdir()
    shutil.copy(other, copy)
    store = {"type": "mem"}
    one = FixtureServer(tmp_path / "one", database=postgres.section(), blockstore=store)
    two = FixtureServer(tmp_path / "two", database=postgres.section(), blockstore=store)
    with one:
        os.environ["LAKEBED_BINARY"], before = str(copy), os.environ.get("LAKEBED_BINARY")
        try:
            two.launch()
        finally:
            os.environ.pop("LAKEBED_BINARY")
            if before is not None:
                os.environ["LAKEBED_BINARY"] = before
        two.wait_until_ready()
        at = "/repositories/lake/branches"
        small_lake.ask(one, "POST", at, {"name": "b1", "source": "main"})
        small_lake.ask(two, "POST", at, {"name": "b2", "source": "b1"})
        names = [{branch["id"] for branch in small_lake.ask(server, "GET", at)["results"]} for server in (one, two)]
        assert names[0] == names[1] and {"b1", "b2"} <= names[0]
        assert migrate(one, "status")[1].count("Server: ") == 2
        two.stop()
        deadline = time.monotonic() + 10
        while migrate(one, "status")[1].count("Server: ") != 1:
            assert time.monotonic() < deadline
