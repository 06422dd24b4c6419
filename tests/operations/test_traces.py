"""OpenTelemetry traces: what a collector is sent, and what a server does without one."""
import json
import re
import socket
import subprocess
import time

import pytest
import requests

from lakebed_server import KEY, SECRET, Server, binary
from otlp import Collector
from sigv4 import Signer

BASIC = (KEY, SECRET)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331"
LOGGING = {"format": "json", "level": "INFO", "audit_log_level": "INFO"}


def serve(at, collector, logging=LOGGING, extra="", **variables):
    """A server that exports to this collector, as the standard variables say."""
    known = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint} if collector else {}
    return Server(at, logging=logging, extra=extra, variables=known | variables)


def traceparent(flags="01"):
    return {"traceparent": f"{PARENT}-{flags}"}


def rest(server, method, at, headers=None, **more):
    return requests.request(method, f"{server.endpoint}/api/v1{at}", auth=BASIC, headers=headers, timeout=60, **more)


def make_repository(server, name):
    made = rest(server, "POST", "/repositories", json={"name": name, "storage_namespace": f"local://{name}"})
    assert made.status_code == 201, made.text


def get_object(server, path, headers):
    signed = Signer(KEY, SECRET).headers("GET", f"127.0.0.1:{server.port}", f"/{path}")
    return requests.get(f"{server.endpoint}/{path}", headers=headers | signed, timeout=60)


def below(spans, root):
    """Names of the spans under one, each with those under it."""
    children = [span for span in spans if span.parent == root.id]
    return {span.name: below(spans, span) for span in sorted(children, key=lambda span: span.begun)}


def test_the_spans_of_a_request_are_a_tree_in_the_senders_trace(tmp_path):
    with Collector() as collector:
        with serve(tmp_path, collector) as server:
            make_repository(server, "lake")
            at = "/repositories/lake/branches/main"
            answers = {
                "uploadObject": rest(server, "POST", f"{at}/objects", traceparent(), params={"path": "secret-path/a"}, data=b"x" * 100_000),
                "commit": rest(server, "POST", f"{at}/commits", traceparent(), json={"message": "m"}),
            }
        # A server that has no node in its memory reads them.
        with server:
            answers["s3 GetObject"] = get_object(server, "lake/main/secret-path/a", traceparent())
            log = [json.loads(line) for line in server.log.read_text().splitlines()]
        log = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [answer.status_code for answer in answers.values()] == [201, 201, 200]
    spans = [span for span in collector.spans if span.trace == TRACE]
    roots = {span.name: span for span in spans if span.parent == PARENT[-16:]}
    assert sorted(roots) == sorted(answers)
    ids = {span.id for span in spans}
    assert all(span.parent in ids for span in spans if span not in roots.values()) and len(ids) == len(spans)
    by_id = {span.id: span for span in spans}
    for span in spans:
        assert 0 < span.begun <= span.ended
        if span not in roots.values():
            assert by_id[span.parent].begun <= span.begun, span

    upload = below(spans, roots["uploadObject"])
    assert "kv get" in upload or "kv batch_get" in upload
    assert "blocks put" in upload and "kv transact" in upload["catalog stage"]
    commit = below(spans, roots["commit"])["catalog commit"]
    assert "blocks put" in commit and "kv transact" in commit["catalog publish"] and "catalog wait for turn" in commit
    read = below(spans, roots["s3 GetObject"])
    assert "blocks get" in read["node read"] and "blocks get" in read

    node = next(span for span in spans if span.name == "node read")
    assert node.attributes["lakebed.bytes"] > 0 and re.fullmatch("[0-9a-f]{64}", node.attributes["lakebed.node"])
    transact = next(span for span in spans if span.name == "kv transact")
    assert transact.attributes["db.system.name"] == "local" and transact.attributes["db.operation.name"] == "transact"
    assert {span.attributes["lakebed.record"] for span in spans if span.name == "kv transact"} >= {"staged", "ref"}
    put = next(span for span in spans if span.name == "blocks put")
    assert put.attributes["lakebed.store.type"] == "local"

    for name, root in roots.items():
        answer, of = answers[name], root.attributes
        assert root.kind == 2 and not root.failed
        assert of["http.request.method"] == answer.request.method and of["http.route"] == name
        assert of["http.response.status_code"] == answer.status_code
        assert (of["server.address"], of["server.port"], of["url.scheme"]) == ("127.0.0.1", server.port, "http")
        assert of["user_agent.original"].startswith("python-requests/")
        assert (of["lakebed.repository"], of["lakebed.ref"]) == ("lake", "main")
        request_id = answer.headers.get("x-amz-request-id") or answer.headers["X-Request-Id"]
        assert of["lakebed.request_id"] == request_id
        record = next(line for line in log if line.get("request_id") == request_id)
        assert (record["trace_id"], record["span_id"]) == (TRACE, root.id)
    assert all(resource["service.name"] == "lakebed" and resource["service.version"] for resource in collector.resources)


def test_no_secret_and_no_path_is_sent(tmp_path):
    with Collector() as collector:
        with serve(tmp_path, collector, OTEL_EXPORTER_OTLP_HEADERS="x-token=hidden-token") as server:
            make_repository(server, "lake")
            rest(server, "POST", "/repositories/lake/branches/main/objects", params={"path": "some-path/a"}, data=b"some-content")
            rest(server, "POST", "/repositories/lake/branches/main/commits", json={"message": "some-message", "metadata": {"k": "some-value"}})
            assert get_object(server, "lake/main/some-path/a", {}).content == b"some-content"
            rest(server, "POST", "/auth/login", json={"access_key_id": KEY, "secret_access_key": SECRET})
            url = f"{server.endpoint}/lake/main/some-path/a?X-Amz-Signature=some-signature&X-Amz-Algorithm=AWS4-HMAC-SHA256"
            assert requests.get(url, timeout=60).status_code in (400, 403)
    sent = b"".join(body for _, _, body in collector.requests)
    assert len(collector.spans) > 10
    for secret in (SECRET, "hidden-token", "some-path", "some-content", "some-message", "some-value", "some-signature", "Signature="):
        assert secret.encode() not in sent, secret
    assert "hidden-token" not in server.log.read_text()
    assert all(headers["x-token"] == "hidden-token" and headers["content-type"] == "application/x-protobuf" and path == "/v1/traces"
               for path, headers, _ in collector.requests)


def test_paths_are_named_if_configured(tmp_path):
    with Collector() as collector:
        extra = f"tracing: {{paths: true, otlp: {{endpoint: '{collector.endpoint}'}}}}"
        with serve(tmp_path, None, extra=extra) as server:
            make_repository(server, "lake")
            rest(server, "POST", "/repositories/lake/branches/main/objects", params={"path": "dir/a b"}, data=b"x")
            get_object(server, "lake/main/dir/none", {})
    roots = {span.name: span.attributes for span in collector.spans if span.kind == 2}
    assert roots["uploadObject"]["lakebed.path"] == "dir/a b"
    assert roots["s3 GetObject"]["url.path"] == "/lake/main/dir/none"
    assert roots["s3 GetObject"]["http.response.status_code"] == 404


def test_a_sender_decides_what_is_traced(tmp_path):
    with Collector() as collector:
        with serve(tmp_path, collector) as server:
            for _ in range(5):
                assert rest(server, "GET", "/repositories", traceparent("00")).status_code == 200
            malformed = {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}
            assert rest(server, "GET", "/repositories", malformed).status_code == 200
        assert not [span for span in collector.spans if span.trace == TRACE]
        assert len([span for span in collector.spans if span.name == "listRepositories"]) == 1
        extra = "tracing: {sample_ratio: 0}"
        with serve(tmp_path / "none", collector, extra=extra) as server:
            collector.requests.clear()
            assert rest(server, "GET", "/repositories").status_code == 200
            assert rest(server, "GET", "/repositories", traceparent()).status_code == 200
    assert {span.trace for span in collector.spans} == {TRACE}, "only what its sender traces"


def test_a_task_is_a_trace_that_says_which_request_began_it(tmp_path):
    with Collector() as collector:
        with serve(tmp_path, collector) as server:
            make_repository(server, "lake")
            begun = rest(server, "POST", "/repositories/lake/dump", traceparent())
            assert begun.status_code == 202, begun.text
            task, done = begun.json()["id"], False
            deadline = time.monotonic() + 60
            while not done and time.monotonic() < deadline:
                done = rest(server, "GET", "/repositories/lake/dump", params={"task_id": task}).json()["done"]
            assert done
    task = next(span for span in collector.spans if span.name == "task Dump")
    assert task.trace != TRACE and task.parent == "" and task.links == [TRACE]
    assert any(span.parent == task.id for span in collector.spans)
    assert task.attributes["lakebed.repository"] == "lake"


@pytest.mark.parametrize("trouble", ["nobody listens", "it fails", "it is silent"])
def test_a_collector_in_trouble_is_nobody_elses(tmp_path, trouble):
    with Collector(status=500) as collector, socket.create_server(("127.0.0.1", 0)) as silent:
        if trouble == "nobody listens":
            with socket.create_server(("127.0.0.1", 0)) as gone:
                address = f"http://127.0.0.1:{gone.getsockname()[1]}"
        elif trouble == "it fails":
            address = collector.endpoint
        else:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "64",
                     "OTEL_EXPORTER_OTLP_TIMEOUT": "300"}
        with Server(tmp_path, logging=LOGGING, variables=variables) as server:
            for _ in range(200):
                assert rest(server, "GET", "/repositories").status_code == 200
            lost, deadline = {}, time.monotonic() + 60
            while lost.get("failed", 0) == 0 and time.monotonic() < deadline:
                text = requests.get(f"{server.endpoint}/metrics", timeout=30).text
                lost = {outcome: int(n) for outcome, n in re.findall(r'lakebed_trace_spans_total\{outcome="(\w+)"\} (\d+)', text)}
            assert lost["failed"] > 0 and lost["exported"] == 0
            if trouble == "it is silent":
                assert lost["dropped"] > 0, "the queue has a bound"
    complaints = [line for line in server.log.read_text().splitlines() if "does not take spans" in line]
    assert len(complaints) == 1


def test_nothing_is_sent_unless_asked_for(tmp_path):
    with Collector() as collector:
        with serve(tmp_path, None) as server:
            rest(server, "GET", "/repositories", traceparent())
            text = requests.get(f"{server.endpoint}/metrics", timeout=30).text
        with serve(tmp_path / "disabled", collector, OTEL_SDK_DISABLED="true") as disabled:
            rest(disabled, "GET", "/repositories", traceparent())
    assert collector.requests == [] and "lakebed_trace_spans_total" not in text
    assert "trace_id" not in server.log.read_text()


@pytest.mark.parametrize("variable, value, says", [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "http://collector:4318"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
    ("OTEL_TRACES_SAMPLER_ARG", "11", "from 0 (none) to 1 (all)"),
    ("LAKEBED_TRACING_SAMPLE_RATIO", "all", "from 0 (none) to 1 (all)"),
])
def test_what_is_malformed_is_refused_at_the_start(tmp_path, variable, value, says):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "traceidratio", variable: value}
    server = Server(tmp_path)
    ended = subprocess.run([binary(), "run", "--config", server.config], env=variables, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and says in ended.stderr, ended.stderr
