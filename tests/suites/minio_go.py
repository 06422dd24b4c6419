"""The functional tests of minio-go: a program that writes a line of JSON for each test."""
import json
import subprocess

# All of them together; most of the time goes into large bodies.
LONGEST_SECONDS = 3600


def run(tools, server, keys, directory, wanted):
    """{test: what went wrong, or None}. The program runs all tests or none."""
    variables = {
        "SERVER_ENDPOINT": f"127.0.0.1:{server.port}",
        "ACCESS_KEY": keys[0],
        "SECRET_KEY": keys[1],
        "ENABLE_HTTPS": "0",
        "MINT_MODE": "full",
        # Without it the first failure would end the run.
        "RUN_ON_FAIL": "1",
    }
    log = directory / "minio-go.log"
    with open(log, "wb") as out:
        subprocess.run([tools / "minio-go-functional"], env=variables, stdout=out, stderr=out, timeout=LONGEST_SECONDS, cwd=directory)
    return results(log.read_text(errors="replace"))


def results(output):
    found = {}
    for line in output.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict) or "status" not in record or "name" not in record:
            continue
        test = record["name"].split(": ", 1)[-1]
        error = None
        if record["status"] == "FAIL":
            error = " ".join(f"{record.get('message', '')} {record.get('error', '')}".split())[:300] or "failed"
        # A test of several records has failed if one of them has.
        found[test] = found.get(test) or error
    return found
