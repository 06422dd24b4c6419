#!/usr/bin/env python3
"""Runs a public S3 suite against the built server, as a black box, and compares with the failures that are known.

`run.py SUITE [FILTER]`: a server in flat mode is started, the suite's own program is run on it, and each test's result is
printed. It fails if a test fails that is not listed in `SUITE.yaml`, or if one that is listed passes or is not there.
With a filter only these tests are run, as far as the program can choose, and nothing is compared.
"""
import os
import pathlib
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lakebed_server import KEY, ROOT, SECRET, Server  # noqa: E402

import minio_go  # noqa: E402
import s3s_e2e  # noqa: E402
import versitygw  # noqa: E402

SUITES = {"versitygw": versitygw, "s3s-e2e": s3s_e2e, "minio-go": minio_go}

# What the suites need of a server: buckets that come and go.
FLAT = "gateways: {s3: {flat_mode: true}}"


def known_failures(name):
    """{test: reason} of what is listed."""
    known = {}
    for group in yaml.safe_load((HERE / f"{name}.yaml").read_text()) or []:
        for test in group["tests"]:
            assert test not in known, f"{name}.yaml lists {test} twice"
            known[test] = group["reason"].strip()
    return known


def run(suite, directory, wanted):
    """{test: what went wrong, or None} of a run over a fresh server."""
    # Settings of the machine's own for SDKs: the suites bring their own, and some SDKs read no bundle for a plain client.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with Server(directory / "server", extra=FLAT) as server:
        return suite.run(ROOT / ".tools", server, (KEY, SECRET), directory, wanted)


def compare(results, known):
    """What differs from what is listed, in words."""
    news = [f"new failure: {test}: {error}" for test, error in sorted(results.items()) if error and test not in known]
    news += [f"listed, but passes: {test}" for test in sorted(known) if test in results and not results[test]]
    news += [f"listed, but there is no such test: {test}" for test in sorted(known) if test not in results]
    return news


def main(name, wanted=None):
    suite = SUITES[name]
    with tempfile.TemporaryDirectory(prefix=f"suite-{name}-") as directory:
        results = run(suite, pathlib.Path(directory), wanted)
    if not results:
        sys.exit(f"{name} ran no test")
    known = known_failures(name)
    for test, error in sorted(results.items()):
        print(f"{'failed' if error else 'passed'} {test}{': ' + error if error else ''}")
    failed = sum(1 for error in results.values() if error)
    print(f"{name}: {len(results) - failed} passed, {failed} failed, {len(known)} failures listed")
    if wanted:
        return 0
    news = compare(results, known)
    for line in news:
        print(line)
    return 1 if news else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in SUITES:
        sys.exit(f"usage: run.py {'|'.join(SUITES)} [FILTER]")
    sys.exit(main(*sys.argv[1:]))
