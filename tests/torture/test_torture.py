"""The short form of `make torture`."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from torture import torture  # noqa: E402


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}: torture.py --kills 4 --writers 64 --seed {seed}")
    done = torture(tmp_path / "lake", kills=4, writers=64, seed=seed)
    assert done["acknowledged"] > 500 and done["merges"] > 0, done
