#!/usr/bin/env bash
# Runs the acceptance scripts of the published clients, each in the environment with its package.
# usage: clients.sh ENDPOINT
set -euo pipefail
cd "$(dirname "$0")/../.."
scripts=../shared/golden/clients
if [ ! -d "$scripts" ]; then
    echo "clients: no scripts beside this checkout ($scripts): nothing run"
    exit 0
fi
export LAKEBED_ENDPOINT=$1
for pair in main:sdk_1_86 main:python_0_16 main:fsspec_0_15 client_1_44:client_1_44 client_0_99:client_0_99; do
    echo "${pair#*:}"
    ".venv/${pair%%:*}/bin/python" "$scripts/${pair#*:}.py"
done
