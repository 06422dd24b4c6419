"""TLS on the server's own port."""
import http.client
import json
import socket
import ssl
import subprocess
import time

import boto3
import pytest

from certificates import self_signed
from doors import BASIC
from lakebed_server import KEY, SECRET, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("https")
    certificate, key = self_signed(directory)
    tls = {"enabled": True, "cert_file": str(certificate), "key_file": str(key)}
    server = Server(directory, extra=f"tls: {json.dumps(tls)}")
    server.certificate, server.endpoint = certificate, f"https://127.0.0.1:{server.port}"
    server.launch()
    deadline = time.monotonic() + 60
    while ask(server, "/_health/ready")[0] != 200:
        assert time.monotonic() < deadline and server.process.poll() is None, server.tail()
        time.sleep(0.02)
    yield server
    server.stop()


def ask(server, path, method="GET", body=None, **headers):
    """(status, body, headers); status 0: no connection."""
    context = ssl.create_default_context(cafile=server.certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": BASIC} | headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    except ConnectionRefusedError:
        return 0, b"", {}
    finally:
        connection.close()


def test_both_doors(server):
    made = json.dumps({"name": "lake", "storage_namespace": "local://lake"})
    assert ask(server, "/api/v1/repositories", "POST", made, **{"Content-Type": "application/json"})[0] == 201
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", verify=str(server.certificate),
                      aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    s3.put_object(Bucket="lake", Key="main/a", Body=b"x" * 300_000)
    assert s3.get_object(Bucket="lake", Key="main/a")["Body"].read() == b"x" * 300_000
    upload = s3.create_multipart_upload(Bucket="lake", Key="main/b")["UploadId"]
    tag = s3.upload_part(Bucket="lake", Key="main/b", UploadId=upload, PartNumber=1, Body=b"y")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    done = s3.complete_multipart_upload(Bucket="lake", Key="main/b", UploadId=upload, MultipartUpload=parts)
    assert done["Location"].startswith("https://")
    assert server.endpoint in ask(server, "/")[1].decode()


def test_the_cookie_of_a_login_is_for_encrypted_connections_alone(server):
    login = json.dumps({"access_key_id": KEY, "secret_access_key": SECRET})
    status, _, headers = ask(server, "/api/v1/auth/login", "POST", login, **{"Content-Type": "application/json"})
    assert status == 200 and "Secure" in headers["Set-Cookie"]


def test_plain_http_is_refused_and_told_why(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/api/v1/repositories", headers={"Authorization": BASIC})
    answer = connection.getresponse()
    assert answer.status == 400 and b"HTTPS" in answer.read()


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
def test_protocols_are_negotiated(server, offered, chosen):
    context = ssl.create_default_context(cafile=server.certificate)
    if offered:
        context.set_alpn_protocols(offered)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="127.0.0.1") as spoken:
        assert spoken.selected_alpn_protocol() == chosen
        assert spoken.version() in ("TLSv1.3", "TLSv1.2")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(server):
    context = ssl.create_default_context(cafile=server.certificate)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", server.port)) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_one_who_connects_and_says_nothing_keeps_nobody_waiting(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    assert ask(server, "/_health")[0] == 200
    for each in silent:
        each.close()


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", *arguments], capture_output=True, text=True)
    return done.stdout, done.stderr


def test_http2(server, tmp_path):
    at = f"{server.endpoint}/api/v1/repositories"
    assert curl("--http2", "--cacert", str(server.certificate), "-u", f"{KEY}:{SECRET}", at) == ("200 2", "")
    # Without TLS, for proxies that know it.
    with Server(tmp_path) as plain:
        at = f"{plain.endpoint}/api/v1/repositories"
        assert curl("--http2-prior-knowledge", "-u", f"{KEY}:{SECRET}", at) == ("200 2", "")


def test_files_that_are_missing_or_no_certificates_are_named(tmp_path):
    certificate, key = self_signed(tmp_path)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    other = self_signed(tmp_path, "other")[1]
    for files, says in [
        ({"cert_file": str(certificate)}, "tls.key_file"),
        ({"cert_file": str(tmp_path / "gone"), "key_file": str(key)}, "tls.cert_file"),
        ({"cert_file": str(nothing), "key_file": str(key)}, "tls.cert_file"),
        ({"cert_file": str(certificate), "key_file": str(nothing)}, "tls.key_file"),
        ({"cert_file": str(certificate), "key_file": str(other)}, "do not go together"),
    ]:
        server = Server(tmp_path / str(len(says)), extra=f"tls: {json.dumps({'enabled': True} | files)}")
        with pytest.raises(AssertionError, match=says):
            server.start()
