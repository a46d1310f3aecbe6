#!/usr/bin/env bash
# run.sh BIN_DIR VENV: installs client/python as a user does into an environment that is kept at VENV, then runs its test there.
set -euo pipefail
BIN="$(cd "$1" && pwd)" VENV="$2"
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
command -v redis-server >/dev/null || { echo "skipped: no redis-server"; exit 77; }
PIP=("$VENV/bin/python" -m pip --disable-pip-version-check --quiet)
if ! "$VENV/bin/python" -c 'import grpc_tools, pandas, yaml, setuptools, wheel' 2>/dev/null; then
  rm -rf "$VENV"
  python3 -m venv "$VENV" || { echo "skipped: python3 makes no environment (Debian package python3-venv)"; exit 77; }
  "${PIP[@]}" install 'grpcio-tools>=1.62' 'pandas>=1.5' 'PyYAML>=5.4' 'setuptools>=64' wheel ||
    { rm -rf "$VENV"; echo "skipped: pip cannot load what the client needs"; exit 77; }
fi
# What the environment holds was made of these files.
WANTED="$(git ls-files -co --exclude-standard client/python proto common/base/version.h | xargs -d '\n' sha256sum | sha256sum)"
if [ "$(cat "$VENV/made-of" 2>/dev/null)" != "$WANTED" ]; then
  "${PIP[@]}" install --no-build-isolation --no-deps --force-reinstall ./client/python
  echo "$WANTED" >"$VENV/made-of"
fi
exec "$VENV/bin/python" tests/client/python/client_test.py "$BIN"
