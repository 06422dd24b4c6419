"""The look into the process: for administrators, and only where it is switched on."""
import threading

import pytest
import requests

from lakebed_server import KEY, SECRET, Server

PATHS = ["/_debug/runtime", "/_debug/pprof/profile?seconds=1"]


@pytest.fixture(scope="module")
def open_to_admins(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("debug"), extra="debug: {enabled: true}") as server:
        yield server


def get(server, path, auth=(KEY, SECRET), method="GET"):
    return requests.request(method, server.endpoint + path, auth=auth, timeout=120)


@pytest.mark.parametrize("path", PATHS)
def test_it_is_not_there_unless_switched_on(server, path):
    assert get(server, path).status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_nobody_else_may_look(open_to_admins, path):
    assert get(open_to_admins, path, auth=None).status_code == 401
    assert get(open_to_admins, path, auth=(KEY, "wrong")).status_code == 401


def test_figures(open_to_admins):
    figures = get(open_to_admins, "/_debug/runtime").json()
    assert figures["workers"] >= 1 and figures["tasks"] >= 1 and figures["connections"] >= 1
    assert {cache["tier"] for cache in figures["caches"]} == {"nodes", "commits", "branches", "repositories"}


def test_wrong_questions(open_to_admins):
    for query in ("seconds=0", "seconds=61", "seconds=x"):
        assert get(open_to_admins, f"/_debug/pprof/profile?{query}").status_code == 400
    assert get(open_to_admins, "/_debug/other").status_code == 404
    assert get(open_to_admins, "/_debug/runtime", method="POST").status_code == 405


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            assert tag & 7 == 2, tag
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        yield tag >> 3, value


def test_a_profile_says_where_the_time_goes(open_to_admins):
    answers = []
    taking = threading.Thread(target=lambda: answers.append(get(open_to_admins, "/_debug/pprof/profile?seconds=2")))
    taking.start()
    while not answers:
        assert requests.get(open_to_admins.endpoint + "/metrics", timeout=30).status_code == 200
    taking.join()
    assert answers[0].status_code == 200, answers[0].text
    found = list(fields(answers[0].content))
    strings = [value.decode() for number, value in found if number == 6]
    assert strings[0] == "" and {"samples", "cpu", "nanoseconds", "thread"} <= set(strings)
    assert [number for number, _ in found].count(2) >= 1, "no samples"
    assert any("lakebed" in name or "prometheus" in name for name in strings), strings[:50]
