#!/usr/bin/env python3
"""Many writers through both doors while the server is killed at random moments; nothing acknowledged may be lost.

    tests/torture/torture.py --kills 50 --writers 64 [--seed N] [--doors rest,s3]

`writers.py` says who does what, `judge.py` what must hold after every start, `history.py` how that follows from the times
of requests and answers. The seed fixes what the writers do and when the server is killed; how their requests interleave
is the machine's.
"""
import argparse
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from doors import Door  # noqa: E402
from judge import Judge  # noqa: E402
from lake import REPO, Stage, now  # noqa: E402
from lakebed_server import Server  # noqa: E402
from writers import crowd  # noqa: E402


def torture(directory, kills, writers, seed, doors=("rest", "s3"), pause=(0.1, 2.5), before_check=lambda door: None):
    """`before_check` may spoil something between a start and its check, to see that the judge notices."""
    rng = random.Random(seed)
    server = Server(directory).start()
    stage = Stage(server, doors)
    door = Door(server.port)
    status, answer = door.rest("POST", "/repositories", {"name": REPO, "storage_namespace": f"local://{REPO}"})
    assert status == 201, answer
    status, first = door.rest("POST", f"/repositories/{REPO}/branches", {"name": "trunk", "source": "main"})
    assert status == 201, first
    door.close()
    people = crowd(writers, seed, stage)
    judge = Judge(stage, people, rng, first.decode())
    for writer in people:
        writer.start()
    try:
        for kill in range(kills):
            stage.failed.wait(rng.uniform(*pause))
            stage.down = now()
            server.kill()
            stage.wait_until_parked(writers)
            stage.down = now()
            judge.hand.door.close()
            begun = time.monotonic()
            if rng.random() < 0.25:
                # Killed again before it serves.
                server.launch()
                time.sleep(rng.uniform(0, 0.2))
                server.kill()
            server.start()
            started = time.monotonic() - begun
            before_check(judge.hand.door)
            last = kill == kills - 1
            judge.check(everything=last)
            print(f"kill {kill + 1}: served again after {started:.2f} s, checked in {time.monotonic() - begun - started:.1f} s; {tally(people)} acknowledged", flush=True)
            if not last:
                stage.go_on()
        judge.hand.door.close()
        server.stop()
        server.start()
        judge.check(everything=True)
        judge.walk()
    except BaseException:
        print(f"seed {seed}\n{server.tail()}", flush=True)
        raise
    finally:
        stage.go_on(over=True)
        if server.process is not None:
            judge.hand.door.close()
            server.stop()
    return summary(people, judge)


def tally(people):
    return sum(sum(writer.acknowledged.values()) for writer in people)


def summary(people, judge):
    kinds = {}
    for writer in people:
        for kind, count in writer.acknowledged.items():
            kinds[kind] = kinds.get(kind, 0) + count
    return {
        "acknowledged": tally(people), "refused for contention": sum(writer.refused for writer in people),
        "commits on main": len(judge.main.commits), "merges into trunk": len(judge.trunk.commits), **dict(sorted(kinds.items())),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--doors", default="rest,s3")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        done = torture(pathlib.Path(directory) / "lake", options.kills, options.writers, options.seed, options.doors.split(","))
    for what, count in done.items():
        print(f"{what}: {count}")


if __name__ == "__main__":
    main()
