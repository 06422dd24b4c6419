#!/usr/bin/env python3
"""Runs the acceptance scripts of the published clients against the built server, each in the environment with its
package (`make venvs`). The scripts are beside this checkout, in ../shared/golden/clients; without them nothing is run.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lakebed_server import KEY, ROOT, SECRET, Server  # noqa: E402

SCRIPTS = ROOT.parent / "shared" / "golden" / "clients"
ENVIRONMENTS = {
    "sdk_1_86": "main",
    "python_0_16": "main",
    "fsspec_0_15": "main",
    "client_1_44": "client_1_44",
    "client_0_99": "client_0_99",
}


def main():
    if not SCRIPTS.exists():
        print("clients: no scripts beside this checkout (../shared/golden/clients): nothing run")
        print("0 passed, 0 failed, 1 skipped")
        return
    failed = []
    with tempfile.TemporaryDirectory() as directory, Server(pathlib.Path(directory) / "lake") as server:
        environment = {
            **os.environ,
            "LAKEBED_ENDPOINT": server.endpoint,
            "LAKEBED_ACCESS_KEY_ID": KEY,
            "LAKEBED_SECRET_ACCESS_KEY": SECRET,
        }
        for script, venv in ENVIRONMENTS.items():
            python = ROOT / ".venv" / venv / "bin" / "python"
            command = [str(python), str(SCRIPTS / f"{script}.py")]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
            if done.returncode != 0:
                failed.append(script)
                print(f"{script}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    print(f"{len(ENVIRONMENTS) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
