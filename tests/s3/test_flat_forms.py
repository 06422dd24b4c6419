"""Forms signed by hand with version 2: what a policy may say, and what becomes of forms that break it."""
import base64
import datetime
import hashlib
import hmac
import json

import pytest
import requests

from plain_buckets import fill
from lakebed_server import KEY, SECRET


def moment(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def usual(bucket):
    """A policy, and a form that keeps it."""
    conditions = [
        {"bucket": bucket},
        ["starts-with", "$key", "foo"],
        {"acl": "private"},
        ["starts-with", "$Content-Type", "text/plain"],
        ["content-length-range", 0, 1024],
    ]
    fields = {"key": "foo.txt", "acl": "private", "Content-Type": "text/plain"}
    return {"expiration": moment(minutes=10), "conditions": conditions}, fields


def post(flat, bucket, policy, fields, content=b"bar", filename="file.txt", names=("AWSAccessKeyId", "signature", "policy")):
    encoded = base64.b64encode(json.dumps(policy).encode()).decode()
    signature = base64.b64encode(hmac.new(SECRET.encode(), encoded.encode(), hashlib.sha1).digest()).decode()
    signed = dict(zip(names, (KEY, signature, encoded)))
    fields = {name: value for name, value in (signed | fields).items() if value is not None}
    return requests.post(f"{flat.endpoint}/{bucket}", data=fields, files={"file": (filename, content)}, allow_redirects=False, timeout=30)


def test_a_form_that_keeps_its_policy(flat, client, bucket):
    policy, fields = usual(bucket)
    answer = post(flat, bucket, policy, fields)
    assert answer.status_code == 204 and answer.headers["ETag"] == f'"{hashlib.md5(b"bar").hexdigest()}"'
    got = client.get_object(Bucket=bucket, Key="foo.txt")
    assert (got["Body"].read(), got["ContentType"]) == (b"bar", "text/plain")


def test_a_form_larger_than_one_read(flat, client, bucket):
    policy, fields = usual(bucket)
    policy["conditions"][-1] = ["content-length-range", 0, 5 << 20]
    content = bytes(range(256)) * (3 << 12)
    assert post(flat, bucket, policy, fields, content).status_code == 204
    assert client.get_object(Bucket=bucket, Key="foo.txt")["Body"].read() == content


def test_what_a_form_may_say_besides(flat, client, bucket):
    policy, fields = usual(bucket)
    assert post(flat, bucket, policy, fields | {"key": "${filename}"}, filename="foo-2.txt").status_code == 204
    assert client.get_object(Bucket=bucket, Key="foo-2.txt")["Body"].read() == b"bar"
    assert post(flat, bucket, policy, fields | {"x-ignore-foo": "bar"}).status_code == 204
    policy["conditions"] += [["starts-with", "$x-amz-meta-foo", "bar"], ["starts-with", "$tagging", ""], ["starts-with", "$x-amz-checksum-sha256", ""]]
    more = {
        "x-amz-meta-foo": "barclamp",
        "tagging": "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"bar").digest()).decode(),
    }
    assert post(flat, bucket, policy, fields | more).status_code == 204
    assert client.head_object(Bucket=bucket, Key="foo.txt")["Metadata"] == {"foo": "barclamp"}
    assert client.get_object_tagging(Bucket=bucket, Key="foo.txt")["TagSet"] == [{"Key": "k", "Value": "v"}]
    wrong = base64.b64encode(bytes(32)).decode()
    assert post(flat, bucket, policy, fields | more | {"key": "foo-3", "x-amz-checksum-sha256": wrong}).status_code == 400
    fill(client, bucket, "end")
    assert "foo-3" not in [entry["Key"] for entry in client.list_objects(Bucket=bucket)["Contents"]]


def test_names_are_read_in_any_case(flat, bucket):
    conditions = [{"bUcKeT": bucket}, ["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"}, ["StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"], ["content-length-range", 0, 1024]]
    fields = {"kEy": "foo.txt", "aCl": "private", "Content-Type": "text/plain"}
    answer = post(flat, bucket, {"expiration": moment(minutes=1), "conditions": conditions}, fields, names=("aWSAccessKeyId", "signature", "pOLICy"))
    assert answer.status_code == 204


def test_a_backslash_is_a_backslash(flat, client, bucket):
    policy, fields = usual(bucket)
    policy["conditions"][1] = ["starts-with", "$key", "\\$foo"]
    assert post(flat, bucket, policy, fields | {"key": "\\$foo.txt"}).status_code == 204
    assert client.get_object(Bucket=bucket, Key="\\$foo.txt")["Body"].read() == b"bar"


@pytest.mark.parametrize(
    "asked, status",
    [({"success_action_status": "200"}, 200), ({"success_action_status": "201"}, 201), ({"success_action_status": "404"}, 204), ({"success_action_redirect": "http://localhost/done?x=1"}, 303), ({"success_action_redirect": "nowhere"}, 204)],
)
def test_what_a_success_looks_like(flat, bucket, asked, status):
    policy, fields = usual(bucket)
    policy["conditions"] += [["starts-with", f"${name}", ""] for name in asked]
    answer = post(flat, bucket, policy, fields | asked)
    assert answer.status_code == status
    if status == 201:
        assert f"<Bucket>{bucket}</Bucket><Key>foo.txt</Key>" in answer.text and "<PostResponse>" in answer.text
    if status == 303:
        etag = hashlib.md5(b"bar").hexdigest()
        assert answer.headers["Location"] == f"http://localhost/done?x=1&bucket={bucket}&key=foo.txt&etag=%22{etag}%22"


@pytest.mark.parametrize(
    "change, status",
    [
        ({"AWSAccessKeyId": "foo"}, 403),
        ({"signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, 403),
        ({"signature": None}, 400),
        ({"key": None}, 400),
        ({"key": "other.txt"}, 403),
        ({"acl": None}, 403),
        ({"acl": "public-read"}, 403),
        ({"Content-Type": "image/png"}, 403),
        ({"policy": None}, 400),
        ({"policy": "%"}, 403),
        ({"x-amz-meta-extra": "1"}, 403),
    ],
)
def test_a_form_that_breaks_its_policy(flat, client, bucket, change, status):
    policy, fields = usual(bucket)
    assert post(flat, bucket, policy, fields | change).status_code == status
    assert "Contents" not in client.list_objects(Bucket=bucket)


@pytest.mark.parametrize(
    "change, status",
    [
        (lambda p: p.update(expiration=moment(minutes=-1)), 403),
        (lambda p: p.update(expiration=str(datetime.datetime.now())), 400),
        (lambda p: p.pop("expiration"), 400),
        (lambda p: p.pop("conditions"), 400),
        (lambda p: p.update(conditions=[]), 400),
        (lambda p: p.update(conditions=[{}]), 400),
        (lambda p: p.update(EXPIRATION=p.pop("expiration")), 400),
        (lambda p: p.update(CONDITIONS=p.pop("conditions")), 400),
        (lambda p: p["conditions"].pop(0), 403),
        (lambda p: p["conditions"].__setitem__(0, {"bucket": "another"}), 403),
        (lambda p: p["conditions"].__setitem__(4, ["content-length-range", 0, 0]), 400),
        (lambda p: p["conditions"].__setitem__(4, ["content-length-range", 512, 1000]), 400),
        (lambda p: p["conditions"].__setitem__(4, ["content-length-range", 0]), 400),
        (lambda p: p["conditions"].__setitem__(4, ["content-length-range", -1, 0]), 400),
    ],
)
def test_a_policy_that_does_not_hold(flat, client, bucket, change, status):
    policy, fields = usual(bucket)
    change(policy)
    assert post(flat, bucket, policy, fields).status_code == status
    assert "Contents" not in client.list_objects(Bucket=bucket)


def test_a_form_to_no_bucket(flat):
    policy, fields = usual("there-is-none")
    answer = post(flat, "there-is-none", policy, fields)
    assert answer.status_code == 404 and "<Code>NoSuchBucket</Code>" in answer.text
