"""The AWS SDK for Java, version 2, with its default settings. Run by `make test-java`, which fetches it."""
import pathlib
import subprocess
import sys

from lakebed_server import KEY, SECRET

HERE = pathlib.Path(__file__).parent
JARS = pathlib.Path(sys.prefix).parent / "java_sdk" / "jars"


def test_a_day_with_the_sdk(server, repo, tmp_path):
    jars = f"{JARS}/*"
    subprocess.run(["javac", "-d", tmp_path, "-cp", jars, HERE / "S3Day.java"], check=True)
    ran = subprocess.run(
        ["java", "-cp", f"{tmp_path}:{jars}", "S3Day", server.endpoint, KEY, SECRET, repo],
        capture_output=True, text=True, timeout=300,
    )
    assert ran.returncode == 0 and ran.stdout.endswith("all well\n"), ran.stdout + ran.stderr
    status, listed = server.rest("GET", f"/repositories/{repo}/refs/main/objects/ls", prefix="larg", amount=10)
    assert status == 200 and [entry["size_bytes"] for entry in listed["results"]] == [23 << 20] * 2
