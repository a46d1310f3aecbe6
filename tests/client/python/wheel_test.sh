#!/usr/bin/env bash
# wheel_test.sh BUILD_DIR VENV: packaging/wheel.sh makes a wheel of the build; installed by pip into a fresh environment it runs a
# job. VENV (that of run.sh, made by it where it is missing) has what makes the wheel. The torch wheel of the build is linked into
# the fresh environment, as pip would have put it there, to spare its gigabytes.
set -euo pipefail
BUILD="$(cd "$1" && pwd)" VENV="$2"
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
"$VENV/bin/python" -c 'import grpc_tools, yaml, setuptools, wheel' 2>/dev/null ||
  { echo "skipped: no environment at $VENV; python_client_test makes it"; exit 77; }
TORCH="$(readlink -f "$(sed -n 's/^MERGANSER_TORCH_DIR:PATH=//p' "$BUILD/CMakeCache.txt")")"
[ -e "$TORCH/version.py" ] || { echo "skipped: $TORCH is not from a torch wheel"; exit 77; }
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-wheel-test.XXXXXX")"
trap 'rm -rf "$DIR"' EXIT
ok() { echo "ok: $1"; }
fail() { echo "FAILED: $1" >&2; exit 1; }

WHEEL="$(packaging/wheel.sh "$DIR" "$BUILD" "$VENV/bin/python")"
[ "$(stat -c %s "$WHEEL")" -lt 40000000 ] || fail "the wheel has no copy of torch: $(du -h "$WHEEL" | cut -f1)"
python3 - "$WHEEL" <<'PY' || fail "it asks for torch"
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
sys.exit("\nRequires-Dist: torch==" not in metadata)
PY
ok "$(basename "$WHEEL"), $(du -h "$WHEEL" | cut -f1)"

python3 -m venv "$DIR/venv"
SITE="$(echo "$DIR"/venv/lib/python3*/site-packages)"
ln -s "$TORCH" "$SITE/torch"
"$DIR/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index "$WHEEL"
cp examples/ja-math/job.yaml "$DIR"
for name in base ja math-en tasks lid.176.ftz; do ln -s "$PWD/examples/ja-math/$name" "$DIR/$name"; done
sed -i 's/candidates: 400/candidates: 12/; s/, data: tasks/, limit: 20, data: tasks/; s/^    data: tasks/    limit: 20\n&/' "$DIR/job.yaml"
cd "$DIR"
env -i PATH="$DIR/venv/bin:/usr/bin:/bin" HOME="$DIR" merganser run job.yaml --out out --device cpu >run.log 2>&1 ||
  { tail run.log >&2; fail "merganser run"; }
[ -s out/best/model.safetensors ] && [ -s out/summary.json ] || fail "merganser run leaves a checkpoint: $(ls out out/best)"
ok "merganser run, from the wheel, with the torch package's libraries"
env -i PATH="$DIR/venv/bin:/usr/bin:/bin" HOME="$DIR" merganser-coordinator --version | grep merganser-coordinator >/dev/null || fail "the coordinator"
CODE=0
env -i PATH="$DIR/venv/bin:/usr/bin:/bin" HOME="$DIR" merganser describe job-1 --server 127.0.0.1:1 >/dev/null 2>&1 || CODE=$?
[ $CODE -eq 6 ] || fail "exit codes pass through: $CODE"
ok "all three programs"
