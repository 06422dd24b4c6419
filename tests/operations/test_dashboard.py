"""The dashboard asks for what a server really exports."""
import json
import re

import boto3
import pytest
import requests

from lakebed_server import KEY, ROOT, SECRET

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "lakebed.json").read_text())
WORDS = {"sum", "by", "rate", "le", "histogram_quantile", "label_values", "instance"}
LABELS = re.compile(r'([a-z_]+)(=~|=|!=|!~)"([^"]*)"')


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.fixture(scope="module")
def exported(server):
    """metric name -> names of its labels, after something of everything happened."""
    server.rest("POST", "/repositories", {"name": "dash", "storage_namespace": "local://dash"})
    at = "/repositories/dash/branches/main"
    server.rest("POST", f"{at}/objects", b"x", path="a")
    server.rest("POST", f"{at}/commits", {"message": "m"})
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    s3.put_object(Bucket="dash", Key="main/b", Body=b"x")
    found = {}
    for line in requests.get(f"{server.endpoint}/metrics", timeout=30).text.splitlines():
        if line and not line.startswith("#"):
            name = re.match(r"[a-zA-Z_:]+", line)[0]
            found.setdefault(name, set()).update(label for label, _, _ in LABELS.findall(line))
        elif line.startswith("# TYPE"):
            # One with labels may have no series yet.
            _, _, name, kind = line.split()
            for suffix in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
                found.setdefault(name + suffix, set())
    return found


def test_every_metric_of_it_is_there(exported):
    asked = list(expressions())
    assert len(asked) >= 30
    for title, expression in asked:
        by_name = [wanted for label, _, wanted in LABELS.findall(expression) if label == "__name__"]
        labels = {label for label, _, _ in LABELS.findall(expression)} - {"__name__", "instance"}
        bare = re.sub(r'by \([^)]*\)|\{[^}]*\}|\[[^\]]*\]|"[^"]*"', " ", expression)
        names = [word for word in re.findall(r"[a-z_]{3,}", bare) if word not in WORDS]
        names += [name for wanted in by_name for name in exported if re.fullmatch(wanted, name)]
        assert names, (title, expression)
        for name in names:
            assert name in exported, (title, name)
            assert not exported[name] or labels <= exported[name], (title, name, labels)


def test_panels_do_not_overlap():
    taken, ids = set(), set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        ids.add(panel["id"])
    assert len(ids) == len(DASHBOARD["panels"])
