"""What the suites of servers over a store share."""
import boto3
import pytest

from lakebed_server import KEY, SECRET


@pytest.fixture
def objects(server):
    """boto3 on the server's own S3 door."""
    return boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET)
