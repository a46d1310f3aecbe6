#!/usr/bin/env bash
# run.sh BIN_DIR: go test over deploy/kubernetes, with the flags of the programs in BIN_DIR. Go's own caches keep what it loads and
# compiles: minutes the first time, seconds after.
set -euo pipefail
export MERGANSER_BIN GOFLAGS=-mod=readonly GOTOOLCHAIN=local
MERGANSER_BIN="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")"
command -v go >/dev/null || { echo "skipped: no go"; exit 77; }
[ "$(printf '%s\n' 1.24 "$(go env GOVERSION | sed 's/^go//')" | sort -V | head -1)" = 1.24 ] || { echo "skipped: go is older than 1.24"; exit 77; }
go mod download >/dev/null 2>&1 || { echo "skipped: the Go modules cannot be loaded"; exit 77; }
exec go test -vet off -count 1 ./...
