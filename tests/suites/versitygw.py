"""The tests that the S3 gateway of Versity has for itself: its own command line runs them on any endpoint.

Each is run by itself: the program gives up at the first answer that one of its tests did not think of. They name their
buckets alike, and one that fails leaves them behind: what is there after a test is deleted.
"""
import re
import subprocess

import boto3

# Of other servers of theirs: accounts, other modes of the gateway, web sites. Versions are switched on there first.
ELSEWHERE = re.compile(r"(S3)?IAM|AccessControl_|NoAclMode_|WebsiteHosting_|Versioning_")

# A test is a few requests.
LONGEST_SECONDS = 120


def tests(program):
    """The names of all tests."""
    said = subprocess.run([program, "test", "--help"], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^ +(\S+) +Runs \S+ integration test$", said, re.MULTILINE)
    # The list of buckets first, while no test that failed has left one.
    return sorted((name for name in names if not ELSEWHERE.match(name)), key=lambda name: (not name.startswith("ListBuckets"), name))


def run(tools, server, keys, directory, wanted):
    """{test: what went wrong, or None}"""
    program, found = tools / "versitygw", {}
    client = boto3.client("s3", endpoint_url=server.endpoint, aws_access_key_id=keys[0], aws_secret_access_key=keys[1], region_name="us-east-1")
    for name in tests(program):
        if wanted and not re.search(wanted, name):
            continue
        command = [program, "test", "-a", keys[0], "-s", keys[1], "-e", server.endpoint, name]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, cwd=directory)
            found[name] = error(said.stdout, said.stderr)
        except subprocess.TimeoutExpired:
            found[name] = "it did not end"
        for bucket in client.list_buckets()["Buckets"]:
            empty(client, bucket["Name"])
            client.delete_bucket(Bucket=bucket["Name"])
    return found


def empty(client, bucket):
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        objects = [{"Key": found["Key"]} for found in page.get("Contents", [])]
        if objects:
            client.delete_objects(Bucket=bucket, Delete={"Objects": objects})


def error(out, err):
    """What the program says went wrong; `None` if it says that the test passed."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.splitlines()]
    failed = [line for line in lines if line.startswith("FAIL")]
    if failed:
        return " ".join(" ".join(failed).split(": ", 1)[-1].split())
    if any(line.startswith("PASS") for line in lines):
        return None
    return "the suite's program ended: " + (err.strip().splitlines() or ["it says nothing"])[0]
