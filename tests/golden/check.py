#!/usr/bin/env python3
"""Replays the recorded conversations against the built server and judges the differences.

A scenario passes when every step agrees, or differs only where tests/golden/accepted.yaml gives the reason. Those listed
in tests/golden/not_yet.txt belong to later work and are left out (they wait long for what never comes), unless --all is
given: then they are expected to differ, and one that agrees must leave the list.

    tests/golden/check.py [--all] [SCENARIO ...]      needs requests, botocore, pyyaml and ../shared/golden
"""
import collections
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lakebed_server import ROOT, Server  # noqa: E402

GOLDEN = ROOT.parent / "shared" / "golden"

# Steps recorded within one second of the clock, whose answer is another one when a second ends in between. A scenario
# that differs at these alone is replayed again.
ONE_SECOND = {
    # Pull requests are listed later second first, and within a second in the order they were opened.
    "rest_pulls": {10},
}
TRIES = 4


def replay(server, scenario):
    """Differences by step number."""
    done = subprocess.run(
        [sys.executable, str(GOLDEN / "golden.py"), "check", "--endpoint", server.endpoint, scenario],
        capture_output=True, text=True, timeout=600,
    )
    steps, at = collections.defaultdict(list), None
    for line in done.stdout.splitlines():
        if match := re.match(rf"{re.escape(scenario)}\[(\d+)\]", line):
            at = int(match[1])
        elif line.startswith("    ") and at is not None and not re.match(r"\s*(wording|accepted) ", line):
            steps[at].append(line.strip())
    if done.returncode not in (0, 1) or (done.returncode == 1 and not steps):
        steps[-1].append((done.stderr or done.stdout)[-2000:])
    return {} if done.returncode == 0 else steps


def fresh(name):
    """Whether a scenario needs a server that was never set up."""
    return bool((yaml.safe_load((GOLDEN / "scenarios" / f"{name}.yaml").read_text()) or {}).get("fresh"))


def main():
    if not GOLDEN.exists():
        print("golden: no recordings beside this checkout (../shared/golden): nothing replayed")
        print("0 passed, 0 failed, 1 skipped")
        return
    not_yet = {line.split("#")[0].split()[0] for line in (HERE / "not_yet.txt").read_text().splitlines() if line.split("#")[0].strip()}
    accepted = yaml.safe_load((HERE / "accepted.yaml").read_text()) or {}
    every = "--all" in sys.argv
    names = [name for name in sys.argv[1:] if name != "--all"]
    if not names:
        names = sorted(path.stem for path in (GOLDEN / "scenarios").glob("*.yaml") if every or path.stem not in not_yet)
    good, bad = 0, []
    with tempfile.TemporaryDirectory() as directory, Server(pathlib.Path(directory) / "lake") as shared:

        def judge(name):
            if fresh(name):
                with Server(pathlib.Path(directory) / name, set_up=False) as own:
                    return replay(own, name)
            return replay(shared, name)

        def judge_again(name):
            for _ in range(TRIES):
                steps = judge(name)
                unexpected = set(steps) - set(accepted.get(name, {}))
                if not unexpected or unexpected - ONE_SECOND.get(name, set()):
                    break
            return steps

        # Each scenario has a repository of its own, and many of them wait most of the time.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            replayed = list(pool.map(judge_again, names))
    for name, steps in zip(names, replayed):
        reasons = accepted.get(name, {})
        left = {step: lines for step, lines in steps.items() if step not in reasons}
        stale = [step for step in reasons if step not in steps]
        if name in not_yet:
            if left:
                good += 1
            else:
                bad.append(name)
                print(f"{name}: agrees now, take it off tests/golden/not_yet.txt")
        elif left or stale:
            bad.append(name)
            for step, lines in sorted(left.items()):
                print(f"{name}[{step}]")
                for line in lines:
                    print(f"    {line}")
            for step in stale:
                print(f"{name}[{step}]: accepted as different, but it agrees: take it off accepted.yaml")
        else:
            good += 1
    print(f"golden: {len(bad)} scenarios disagree: {' '.join(bad)}" if bad else "golden: all agree")
    skipped = 0 if every else len(not_yet)
    print(f"{good} passed, {len(bad)} failed, {skipped} skipped")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
