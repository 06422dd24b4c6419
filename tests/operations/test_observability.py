"""What operators see: metrics and the records of requests."""
import json
import re

import boto3
import pytest
import requests
from botocore.config import Config

from lakebed_server import KEY, SECRET, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    logging = {"format": "json", "level": "INFO", "audit_log_level": "INFO"}
    with Server(tmp_path_factory.mktemp("lake"), logging=logging) as server:
        yield server


@pytest.fixture
def s3(server):
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="us-east-1",
                        aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                        config=Config(retries={"max_attempts": 1}))


def metrics(server):
    """Series by their text: `name{labels}` to value."""
    text = requests.get(f"{server.endpoint}/metrics", timeout=30).text
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}


def test_requests_are_counted_by_operation(server, repo, s3):
    before = metrics(server)
    for _ in range(3):
        assert server.rest("GET", f"/repositories/{repo}")[0] == 200
    assert server.rest("GET", "/repositories/none-of-these")[0] == 404
    s3.put_object(Bucket=repo, Key="main/a", Body=b"x" * 100_000)
    assert s3.get_object(Bucket=repo, Key="main/a")["Body"].read() == b"x" * 100_000
    after = metrics(server)

    def more(series):
        return after.get(series, 0) - before.get(series, 0)

    assert more('api_request_duration_seconds_count{code="200",operation="getRepository"}') == 3
    assert more('api_request_duration_seconds_count{code="404",operation="getRepository"}') == 1
    assert more('api_request_ttfb_duration_seconds_count{code="200",operation="getRepository"}') == 3
    assert more('api_requests_total{code="200",method="GET"}') == 3
    assert more('gateway_request_duration_seconds_count{code="200",operation="PutObject"}') == 1
    assert more('gateway_request_duration_seconds_count{code="200",operation="GetObject"}') == 1
    assert more('kv_request_duration_seconds_count{operation="transact",type="local"}') >= 1
    assert more('local_operation_duration_seconds_count{error="false",operation="put"}') >= 1
    assert after['process_resident_memory_bytes'] > 1 << 20
    assert after["api_connections"] == 0 and after["gateway_connections"] == 0


def test_caches_queues_and_conflicts_are_counted(server, repo):
    at = f"/repositories/{repo}/branches/main"
    before = metrics(server)
    assert server.rest("POST", f"{at}/objects", b"x", path="counted")[0] == 201
    assert server.rest("POST", f"{at}/commits", {"message": "m"})[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/tags", {"id": "t", "ref": "main"})[0] == 201
    assert server.rest("POST", f"/repositories/{repo}/tags", {"id": "t", "ref": "main"})[0] == 409
    for _ in range(3):
        assert server.rest("GET", f"/repositories/{repo}/refs/main/objects", path="counted")[0] == 200
    after = metrics(server)
    assert after["branch_queue_wait_seconds_count"] > before["branch_queue_wait_seconds_count"]
    assert after["branch_queue_depth"] == 0
    assert after['metadata_cache_hits{tier="branches"}'] > before['metadata_cache_hits{tier="branches"}']
    assert after['metadata_cache_hits{tier="nodes"}'] >= before['metadata_cache_hits{tier="nodes"}'] + 3
    assert after['metadata_cache_misses{tier="commits"}'] >= 1 and after['metadata_cache_bytes{tier="nodes"}'] > 0
    conflicts = 'kv_cas_conflicts_total{op="ref"}'
    assert after.get(conflicts, 0) >= before.get(conflicts, 0)


def test_no_client_makes_series(server, repo):
    """Neither with methods, nor with paths or names."""
    before = len(metrics(server))
    for method in ("BREW", "FROB", "XYZZY"):
        server.rest(method, f"/repositories/{repo}")
    for n in range(20):
        server.rest("GET", f"/repositories/none-{n}/branches/{n}")
        requests.get(f"{server.endpoint}/nowhere/{n}", timeout=30)
    series = metrics(server)
    assert len(series) - before < 200
    assert not [name for name in series if re.search("BREW|none-|nowhere", name)]


def test_a_record_of_each_request(server, repo, s3):
    assert server.rest("GET", f"/repositories/{repo}/branches/main", x="secret-query")[0] == 200
    s3.put_object(Bucket=repo, Key="main/recorded", Body=b"x")
    url = s3.generate_presigned_url("get_object", {"Bucket": repo, "Key": "main/recorded"})
    assert requests.get(url, timeout=30).status_code == 200
    log = server.log.read_text()
    records = [json.loads(line) for line in log.splitlines() if "HTTP call ended" in line]
    found = {(record["service_name"], record["operation_id"]): record for record in records if record["repository"] == repo}
    branch = found["rest_api", "getBranch"]
    assert branch["status_code"] == 200 and branch["ref"] == "main" and branch["method"] == "GET" and branch["user"]
    assert branch["msg"] == "HTTP call ended" and branch["log_audit"] is True and branch["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", branch["time"])
    assert branch["request_id"] and branch["source_ip"].startswith("127.0.0.1:")
    put = found["s3_gateway", "PutObject"]
    assert put["ref"] == "main" and put["path"] == f"/{repo}/main/recorded" and "Boto3" in put["client"]
    for secret in ("secret-query", SECRET, "X-Amz-Signature"):
        assert secret not in log
