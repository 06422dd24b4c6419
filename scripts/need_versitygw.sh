#!/usr/bin/env bash
# A second S3 service to try the store on, in .tools/: built where there is a Go that can (1.24 and later; Debian 12's is
# older). Elsewhere the suite says that it was passed over.
set -euo pipefail
version=v1.8.0
[ -x .tools/versitygw ] && exit 0
minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
if [ "${minor:-0}" -ge 24 ]; then
    GOBIN="$PWD/.tools" go install "github.com/versity/versitygw/cmd/versitygw@$version"
fi
