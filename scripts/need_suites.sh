#!/usr/bin/env bash
# The programs of public S3 suites, in .tools/: the S3 gateway of Versity with its tests, the functional tests of minio-go,
# s3s-e2e; and mc, MinIO's command line. All but s3s-e2e want a Go of 1.24 or later.
set -euo pipefail
minio_go=v7.4.1
s3s_e2e=0.14.1
# A state of March 2025: tags of this kind are no versions to Go.
mc=v0.0.0-20250313080218-cf909e1063a9
scripts/need.sh go=golang-go
scripts/need_versitygw.sh
if [ ! -x .tools/versitygw ]; then
    echo "the suites need Go 1.24 or later, here is $(go env GOVERSION): install one from https://go.dev/dl" >&2
    exit 1
fi
if [ ! -x .tools/minio-go-functional ]; then
    sources=$(go mod download -json "github.com/minio/minio-go/v7@$minio_go" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    # A named file is built whatever its build tags say; its own module has all that it needs.
    tools=$PWD/.tools
    (cd "$sources" && go build -o "$tools/minio-go-functional" functional_tests.go)
fi
if [ ! -x .tools/mc ]; then
    GOBIN="$PWD/.tools" go install "github.com/minio/mc@$mc"
fi
if [ ! -x .tools/bin/s3s-e2e ]; then
    cargo install -q --debug s3s-e2e --version "$s3s_e2e" --root .tools
fi
