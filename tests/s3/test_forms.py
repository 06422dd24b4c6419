"""Uploads by browsers' forms, as boto3 prepares them."""
import boto3
import botocore.client
import pytest
import requests

from lakebed_server import KEY, SECRET


@pytest.fixture(params=["s3", "s3v4"])
def version(request):
    return request.param


@pytest.fixture
def s3(server, version):
    config = botocore.client.Config(signature_version=version)
    pair = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    return boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", config=config, **pair)


@pytest.fixture
def form(s3, repo):
    conditions = [{"success_action_status": "201"}, ["starts-with", "$key", "main/"], ["content-length-range", 1, 1000]]
    return s3.generate_presigned_post(repo, "main/up/${filename}", Fields={"success_action_status": "201"}, Conditions=conditions)


def test_a_form_that_keeps_its_policy_is_stored(s3, repo, form):
    answer = requests.post(form["url"], data=form["fields"], files={"file": ("a.txt", b"by form")})
    assert answer.status_code == 201 and "<Key>main/up/a.txt</Key>" in answer.text
    assert s3.get_object(Bucket=repo, Key="main/up/a.txt")["Body"].read() == b"by form"


@pytest.mark.parametrize(
    "change, content, status, code",
    [
        ({}, b"x" * 1001, 400, "EntityTooLarge"),
        ({}, b"", 400, "EntityTooSmall"),
        ({"key": "other/x"}, b"x", 403, "AccessDenied"),
        ({"x-amz-meta-more": "1"}, b"x", 403, "AccessDenied"),
        ({"signature": "wrong"}, b"x", 403, "SignatureDoesNotMatch"),
    ],
)
def test_a_form_that_does_not_is_refused_and_leaves_nothing(s3, version, repo, form, change, content, status, code):
    if version == "s3v4" and "signature" in change:
        change = {"x-amz-signature": "0" * 64}
    answer = requests.post(form["url"], data=form["fields"] | change, files={"file": ("a.txt", content)})
    assert answer.status_code == status and f"<Code>{code}</Code>" in answer.text, answer.text
    assert s3.list_objects_v2(Bucket=repo, Prefix="main/up/")["KeyCount"] == 0
