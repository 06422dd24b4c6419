"""What the tests of plain buckets share (`gateways.s3.flat_mode`)."""
import boto3
import botocore.config
import botocore.exceptions
import pytest

from lakebed_server import KEY, SECRET

PART = 5 << 20  # the least size of a part that is not the last


def boto(server, **config):
    settings = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}} | config
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=botocore.config.Config(**settings),
    )


def refused(call, *args, **kwargs):
    """(status, code) of a call that must fail."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*args, **kwargs)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def fill(client, bucket, *keys):
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
