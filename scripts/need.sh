#!/usr/bin/env bash
# Makes sure that commands from Debian's packages are there: need.sh COMMAND=PACKAGE ...
# Installs what is missing when run as root on a machine with apt-get; says what to do elsewhere.
# `python-venv` as a command stands for Python's venv module, `postgres-server` for the programs that Debian keeps out of
# the path.
set -euo pipefail
missing=()
for pair in "$@"; do
    command=${pair%%=*}
    if [ "$command" = python-venv ]; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=("${pair#*=}")
    elif [ "$command" = postgres-server ]; then
        compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=("${pair#*=}")
    else
        command -v "$command" >/dev/null || missing+=("${pair#*=}")
    fi
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "missing on this machine: install ${missing[*]} (on Debian: sudo apt-get install ${missing[*]})" >&2
    exit 1
fi
