#!/usr/bin/env python3
"""Fails if a dependency's licence is not allowed by deny.toml."""
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parent.parent


def allowed(expression: str, accepted: set[str]) -> bool:
    """Evaluates an SPDX expression of OR, AND and parentheses."""
    tokens = re.findall(r"\(|\)|\bOR\b|\bAND\b|[A-Za-z0-9.\-+]+(?: WITH [A-Za-z0-9.\-]+)?", expression.replace("/", " OR "))
    python = [
        {"OR": "or", "AND": "and", "(": "(", ")": ")"}.get(token, str(token in accepted)) for token in tokens
    ]
    return bool(eval(" ".join(python), {"__builtins__": {}}))  # only True, False, and, or, parentheses


def main() -> None:
    accepted = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    metadata = json.loads(
        subprocess.run(["cargo", "metadata", "--format-version=1", "--locked"], cwd=ROOT, check=True, capture_output=True).stdout
    )
    bad = [
        f"{package['name']} {package['version']}: {package.get('license')}"
        for package in metadata["packages"]
        if not package.get("license") or not allowed(package["license"], accepted)
    ]
    for line in bad:
        print(line)
    print(f"licences: {len(metadata['packages'])} packages, {len(bad)} not allowed")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
