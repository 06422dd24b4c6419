"""The end-to-end tests of s3s: a program that writes a report in JSON."""
import json
import subprocess

# Two dozen tests of a few requests each.
LONGEST_SECONDS = 600


def run(tools, server, keys, directory, wanted):
    """{test: what went wrong, or None}; what the program itself leaves out is left out."""
    report = directory / "s3s-e2e.json"
    variables = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_REGION": "us-east-1",
    }
    command = [tools / "bin" / "s3s-e2e", "--json", report] + (["--filter", wanted] if wanted else [])
    log = directory / "s3s-e2e.log"
    with open(log, "wb") as out:
        subprocess.run(command, env=variables, stdout=out, stderr=out, timeout=LONGEST_SECONDS, cwd=directory)
    if not report.exists():
        raise SystemExit(f"s3s-e2e wrote no report:\n{log.read_text(errors='replace')[-4000:]}")
    found = {}
    for suite in json.loads(report.read_text())["suites"]:
        found |= outcome(suite, suite["name"])
        for fixture in suite["fixtures"]:
            name = f"{suite['name']}/{fixture['name']}"
            found |= outcome(fixture, name)
            found |= {f"{name}/{case['name']}": error(case["run"]) for case in fixture["cases"] if not case["ignored"]}
    return found


def outcome(group, name):
    """What setting a group up or tearing it down came to, if it failed."""
    return {f"{name} ({step})": error(group[step]) for step in ("setup", "teardown") if group[step] and error(group[step])}


def error(summary):
    """`Ok`, `Panicked`, or `{"Err": ...}`."""
    result = summary["result"] if summary else "it was not run"
    if result == "Ok":
        return None
    return " ".join(str(result["Err"] if isinstance(result, dict) else result).split())[:300]
