"""What S3 refuses in requests that are almost right, and in which words."""
import hashlib
import html

import pytest
import requests

from plain_buckets import fill, refused


def word(content, element):
    """The text of an element, if the document has it."""
    start, end = f"<{element}>".encode(), f"</{element}>".encode()
    return html.unescape(content.split(start)[1].split(end)[0].decode()) if start in content else None


def test_a_checksum_of_another_algorithm_than_announced(raw, bucket):
    headers = {"x-amz-sdk-checksum-algorithm": "SHA256", "x-amz-checksum-crc32": "DUoRhQ=="}
    status, content, _ = raw.s3("PUT", f"{bucket}/k", b"hello world", headers=headers)
    assert (status, word(content, "Code")) == (400, "InvalidRequest"), content
    assert word(content, "Message") == "Value for x-amz-sdk-checksum-algorithm header is invalid."
    status, _, _ = raw.s3("PUT", f"{bucket}/k", b"hello world", headers=headers | {"x-amz-sdk-checksum-algorithm": "crc32"})
    assert status == 200


@pytest.mark.parametrize("tagging", ["=", "=v", "key%", "key%2", "key%zz", "a=1&a=2"])
def test_a_header_of_tags_that_is_no_query(raw, bucket, tagging):
    status, content, _ = raw.s3("PUT", f"{bucket}/k", b"", headers={"x-amz-tagging": tagging})
    assert (status, word(content, "Code")) == (400, "InvalidArgument"), content


def test_a_header_of_tags_with_nothing_between(client, raw, bucket):
    status, _, _ = raw.s3("PUT", f"{bucket}/k", b"", headers={"x-amz-tagging": "&key&&b=%2F&"})
    assert status == 200
    tags = client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert tags == [{"Key": "b", "Value": "/"}, {"Key": "key", "Value": ""}]


def test_a_range_with_a_space_is_none(raw, client, bucket):
    fill(client, bucket, "key")
    for header in ("bytes= -1", "bytes= 0-1", "bytes=0 -1"):
        status, content, _ = raw.s3("GET", f"{bucket}/key", headers={"Range": header})
        assert (status, content) == (200, b"key"), header


def test_attributes_must_be_named(raw, client, bucket):
    fill(client, bucket, "key")
    for headers, code in (({}, "InvalidRequest"), ({"x-amz-object-attributes": ""}, "InvalidRequest"), ({"x-amz-object-attributes": "Owner"}, "InvalidArgument")):
        status, content, _ = raw.s3("GET", f"{bucket}/key", query={"attributes": ""}, headers=headers)
        assert (status, word(content, "Code")) == (400, code), content


def test_an_upload_that_was_begun_at_another_time_stays(client, raw, bucket):
    query = {"uploadId": client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}

    def abort(time):
        return raw.s3("DELETE", f"{bucket}/k", query=query, headers={"x-amz-if-match-initiated-time": time})[0]

    begun = client.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"]
    assert abort("Tue, 01 Jan 2019 00:00:00 GMT") == 412
    assert abort("nonsense") == 412
    # S3 takes a time to come for no condition.
    assert abort("Thu, 01 Jan 2099 00:00:00 GMT") == 204
    upload = client.create_multipart_upload(Bucket=bucket, Key="k")
    query = {"uploadId": upload["UploadId"]}
    begun = client.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"]
    assert abort(begun.strftime("%a, %d %b %Y %H:%M:%S GMT")) == 204
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize(
    "part, answer",
    [
        ("<PartNumber>0</PartNumber><ETag>{etag}</ETag>", (400, "InvalidArgument")),
        ("<PartNumber>-4</PartNumber><ETag>{etag}</ETag>", (400, "InvalidArgument")),
        ("<PartNumber>x</PartNumber><ETag>{etag}</ETag>", (400, "MalformedXML")),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32>bad</ChecksumCRC32>", (400, "InvalidArgument")),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>", (400, "InvalidPart")),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>", (400, "BadDigest")),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag>", (200, None)),
    ],
)
def test_what_a_completion_says_of_a_part(client, raw, bucket, part, answer):
    made = client.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")
    upload = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    etag = client.upload_part(**upload, PartNumber=1, Body=b"x", ChecksumAlgorithm="CRC32")["ETag"].strip('"')
    document = f"<CompleteMultipartUpload><Part>{part.format(etag=etag)}</Part></CompleteMultipartUpload>".encode()
    status, content, _ = raw.s3("POST", f"{bucket}/k", document, query={"uploadId": made["UploadId"]})
    assert (status, word(content, "Code")) == answer, content
    if status != 200:
        client.abort_multipart_upload(**upload)


def test_a_completion_with_a_checksum_that_is_none(client, raw, bucket):
    made = client.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    etag = client.upload_part(Bucket=bucket, Key="k", UploadId=made["UploadId"], PartNumber=1, Body=b"x", ChecksumAlgorithm="CRC32")["ETag"]
    document = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>".encode()
    for value, code in (("bad", "InvalidRequest"), ("AAAAAA==", "BadDigest")):
        status, content, _ = raw.s3("POST", f"{bucket}/k", document, query={"uploadId": made["UploadId"]}, headers={"x-amz-checksum-crc32": value})
        assert (status, word(content, "Code")) == (400, code), content
    client.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=made["UploadId"])


def test_kinds_of_checksums_in_any_case(client, raw, bucket):
    headers = {"x-amz-checksum-algorithm": "crc32", "x-amz-checksum-type": "full_object"}
    status, content, answered = raw.s3("POST", f"{bucket}/k", query={"uploads": ""}, headers=headers)
    assert (status, answered["x-amz-checksum-type"]) == (200, "FULL_OBJECT")
    client.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=word(content, "UploadId"))


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\n",
        b"5\r\n5\r\nhello\r\n0\r\n\r\n",
        b"size\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\nJ\r\n\r\n",
    ],
)
def test_a_body_whose_framing_does_not_hold(raw, client, bucket, body):
    headers = {"x-amz-decoded-content-length": "5"}
    status, content, _ = raw.s3("PUT", f"{bucket}/k", body, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert (status, word(content, "Code")) == (400, "IncompleteBody"), content
    assert refused(client.head_object, Bucket=bucket, Key="k")[0] == 404


def test_a_post_that_is_no_form(flat, bucket):
    answer = requests.post(f"{flat.endpoint}/{bucket}", data=b"x", headers={"Content-Type": "text/plain"}, timeout=30)
    assert (answer.status_code, word(answer.content, "Code")) == (412, "PreconditionFailed")


def test_a_preflight_that_does_not_ask(flat, bucket):
    for headers in ({}, {"Origin": "http://a.example"}):
        answer = requests.options(f"{flat.endpoint}/{bucket}", headers=headers, timeout=30)
        assert (answer.status_code, word(answer.content, "Code")) == (400, "BadRequest"), headers


def test_a_head_that_is_too_long_is_said_before_its_bucket(raw):
    status, content, _ = raw.s3("GET", "No_Bucket/k", headers={"x-amz-meta-long": "x" * (17 << 10)})
    assert (status, word(content, "Code")) == (400, "RequestHeaderSectionTooLarge"), content


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: "AWS4-HMAC-SHA256 Credential=x", "the authorization header requires three components: Credential, SignedHeaders, and Signature."),
        (lambda text: text.replace("SignedHeaders=", "SignedHeaders-"), None),
        (lambda text: text.replace("Credential=", "Other="), "missing Credential."),
        (lambda text: text.replace("Signature=", "Other="), "missing Signature."),
        (lambda text: text.replace("/s3/", "/ec2/"), 'incorrect service "ec2". This endpoint belongs to "s3".'),
        (
            lambda text: text.replace("aws4_request", "extra/things"),
            'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        ),
        (lambda text: text.replace("aws4_request", "aws_request"), 'incorrect terminal "aws_request". This endpoint uses "aws4_request".'),
    ],
)
def test_words_about_a_malformed_signature(raw, bucket, change, message):
    signed = raw.signer.headers("GET", raw.host, f"/{bucket}", payload=b"")
    signed["authorization"] = change(signed["authorization"])
    status, content, _ = raw.send("GET", f"/{bucket}", None, signed)
    assert (status, word(content, "Code")) == (400, "AuthorizationHeaderMalformed"), content
    if message:
        assert word(content, "Message") == f"The authorization header is malformed; {message}"


@pytest.mark.parametrize(
    "header, message, value",
    [
        ("nonsense", "Authorization header is invalid -- one and only one ' ' (space) required", "nonsense"),
        ("Digest x", "Unsupported Authorization Type", "Digest x"),
        ("AWS2-HMAC-SHA1 Credential=x", "Unsupported Authorization Type", "AWS2-HMAC-SHA1"),
    ],
)
def test_an_unknown_scheme_at_the_list_of_buckets(raw, header, message, value):
    status, content, _ = raw.send("GET", "/", None, {"Authorization": header})
    assert (status, word(content, "Code"), word(content, "Message")) == (400, "InvalidArgument", message), content
    assert (word(content, "ArgumentName"), word(content, "ArgumentValue")) == ("Authorization", value)


def test_a_hash_that_is_none_is_named(raw, bucket):
    status, content, _ = raw.s3("PUT", f"{bucket}/k", b"x", payload="nonsense")
    assert (status, word(content, "Code")) == (400, "InvalidArgument"), content
    assert (word(content, "ArgumentName"), word(content, "ArgumentValue")) == ("x-amz-content-sha256", "nonsense")


@pytest.mark.parametrize(
    "headers, answer",
    [
        ({"x-amz-tagging": "a%21=b"}, (400, "InvalidTag", "The TagKey you have provided is invalid")),
        ({"x-amz-tagging": "a=%21"}, (400, "InvalidTag", "The TagValue you have provided is invalid")),
        ({"x-amz-tagging": f"{'k' * 129}=b"}, (400, "InvalidTag", "The TagKey you have provided is invalid")),
    ],
)
def test_words_about_tags(raw, bucket, headers, answer):
    status, content, _ = raw.s3("PUT", f"{bucket}/k", b"x", headers=headers)
    assert (status, word(content, "Code"), word(content, "Message")) == answer, content
    assert "letters, digits, spaces" in word(content, "Detail")


def test_words_about_ranges_and_amounts(raw, client, bucket):
    fill(client, bucket, "key")
    status, content, _ = raw.s3("GET", f"{bucket}/key", headers={"Range": "bytes=100-"})
    assert (status, word(content, "Message")) == (416, "The requested range is not satisfiable")
    status, content, _ = raw.s3("GET", "", query={"max-buckets": "0"})
    assert (status, word(content, "Message")) == (400, "Argument max-buckets must be an integer between 1 and 10000.")
    upload = client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for size, what in (("-1", "less than zero"), ("x", "invalid")):
        done = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"
        status, content, _ = raw.s3("POST", f"{bucket}/k", done, query={"uploadId": upload}, headers={"x-amz-mp-object-size": size})
        message = word(content, "Message")
        assert (status, message) == (400, f"Value for x-amz-mp-object-size header is {what}: '{size}'"), content
    client.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)


def test_words_about_chunks_that_end_early(raw, bucket):
    headers = {"x-amz-decoded-content-length": "5", "content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32"}
    status, content, _ = raw.s3("PUT", f"{bucket}/k", b"5\r\nhello\r\n", headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert (status, word(content, "Code"), word(content, "Message")) == (400, "IncompleteBody", "The request body terminated unexpectedly"), content


def test_words_about_forms(flat, bucket):
    url = f"{flat.endpoint}/{bucket}"
    post = lambda data, kind: requests.post(url, data=data, headers={"Content-Type": kind}, timeout=60)  # noqa: E731
    said = lambda answer: (answer.status_code, word(answer.content, "Code"), word(answer.content, "Message"))  # noqa: E731
    answer = post("x", "text/plain")
    assert said(answer) == (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    assert word(answer.content, "Condition") == "Bucket POST must be of the enclosure-type multipart/form-data"
    assert said(post("x", "multipart/form-data")) == (400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")

    def form(**fields):
        return requests.post(url, data={name.replace("_", "-"): value for name, value in fields.items()}, files={"file": b"x"}, timeout=60)

    assert said(form(key="k")) == (403, "AccessDenied", "Access Denied.")
    answer = form(key="k", x_amz_signature="00")
    assert said(answer) == (400, "InvalidArgument", "Bucket POST must contain a field named 'policy'.  If it is specified, please check the order of the fields.")
    assert (word(answer.content, "ArgumentName"), word(answer.content, "ArgumentValue")) == ("policy", "")
    answer = requests.post(url, files={"key": (None, b"k")}, timeout=60)
    assert said(answer) == (400, "InvalidArgument", "POST requires exactly one file upload per request.")


def test_a_part_that_is_not_there_is_said_as_s3_says_it(client, bucket):
    upload = {"Bucket": bucket, "Key": "k", "UploadId": client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}
    parts = [{"PartNumber": 1, "ETag": hashlib.md5(b"").hexdigest()}]
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidPart" and error["Message"].startswith("One or more of the specified parts could not be found.  The part")
    assert "part 1" in error["Detail"]
    client.abort_multipart_upload(**upload)
