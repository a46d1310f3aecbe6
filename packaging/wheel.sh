#!/usr/bin/env bash
# wheel.sh [OUT_DIR] [BUILD_DIR] [PYTHON]: a Python wheel with the three programs, the libraries they need and the Python client. It
# uses the libraries of the torch wheel, of the version the build was linked with, instead of a copy of its own.
#
#   packaging/wheel.sh out/packages && pip install out/packages/merganser-*.whl && merganser run job.yaml
#
# PYTHON, if given, must have what client/python/pyproject.toml asks for; else pip loads that into an environment of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
OUT="${1:-out/packages}" BUILD="${2:-.build/release}" PYTHON="${3:-}"
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ -x "$BUILD/bin/merganser-worker" ] || die "$BUILD holds no build: ./dev build first, or name the folder"
TORCH="$(sed -n 's/^MERGANSER_TORCH_DIR:PATH=//p' "$BUILD/CMakeCache.txt")"
TORCH_VERSION="$(sed -n "s/^__version__ = '\([0-9]*\.[0-9]*\)\..*/\1/p" "$TORCH/version.py" 2>/dev/null)" ||
  die "$TORCH is not from a torch wheel (no version.py); a wheel of ours needs one"
STAGE="$(mktemp -d "${TMPDIR:-/tmp}/merganser-wheel.XXXXXX")"
trap 'rm -rf "$STAGE"' EXIT

for component in merganser libraries; do
  cmake --install "$BUILD" --prefix "$STAGE" --strip --component $component >"$STAGE/log" || { tail "$STAGE/log" >&2; die "cmake --install"; }
done
rm -rf "$STAGE/share" "$STAGE/log"
# A wheel holds no links: each library once, under the name that it is loaded by.
for library in "$STAGE"/lib/merganser/*; do
  [ -L "$library" ] || continue
  target="$(readlink -f "$library")"
  rm "$library"
  cp -l "$target" "$library"
  echo "$target" >>"$STAGE/targets"
done
if [ -e "$STAGE/targets" ]; then
  sort -u "$STAGE/targets" | while read -r target; do rm -f "$target"; done
  rm "$STAGE/targets"
fi
mkdir -p "$OUT"
export MERGANSER_STAGE="$STAGE" MERGANSER_TORCH_REQUIREMENT="torch==$TORCH_VERSION.*"
if [ -n "$PYTHON" ]; then
  "$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w "$OUT" ./client/python
else
  python3 -m pip wheel --quiet --disable-pip-version-check --no-deps -w "$OUT" ./client/python
fi
ls -1 "$OUT"/merganser-*.whl
