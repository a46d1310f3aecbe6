#!/usr/bin/env bash
# container_test.sh BUILD_DIR: the images that deploy/container/debian-images.sh makes, and a coordinator and a worker run from them,
# which work on a job whose models the worker alone sees.
set -euo pipefail
BUILD="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/deploy/steps.sh
[ "$(id -u)" -eq 0 ] || { echo "skipped: mmdebstrap and buildah need root"; exit 77; }
need mmdebstrap buildah redis-server python3
export BUILDAH_ISOLATION=chroot
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-container-test.XXXXXX")"
NAME="merganser-test-$$"
PIDS=() GROUPS_STARTED=()
finish() {
  local code=$?
  trap - EXIT
  [ $code -eq 0 ] || tail -n 20 "$DIR"/*.log >&2 2>/dev/null || true
  # buildah, its chroot and the program are one process group; the worker goes first.
  for ((i = ${#GROUPS_STARTED[@]} - 1; i >= 0; i--)); do kill -TERM -- "-${GROUPS_STARTED[$i]}" 2>/dev/null || true; done
  [ ${#PIDS[@]} -eq 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  for container in "$NAME-coordinator" "$NAME-worker"; do buildah rm "$container" >/dev/null 2>&1 || true; done
  buildah rmi -f "$NAME:cuda" "$NAME:cpu" "$NAME:coordinator" >/dev/null 2>&1 || true
  rm -rf "$DIR"
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM
run_in() {  # CONTAINER FLAGS... -- COMMAND...: in the background, a process group of its own
  setsid buildah run "${@:2:$#-1}" >"$DIR/$1.log" 2>&1 &
  GROUPS_STARTED+=($!)
}

deploy/container/debian-images.sh "$BUILD" "$NAME" >"$DIR/images.log" 2>&1 ||
  images_failed "$DIR/images.log" "the images are built"
ok "images of Debian's packages and this build: $(grep '^localhost/' "$DIR/images.log" | sed 's|^localhost/[^:]*:||' | paste -sd, | tr -s ' ')"
buildah from --pull-never --name "$NAME-coordinator" "$NAME:coordinator" >/dev/null
buildah from --pull-never --name "$NAME-worker" "$NAME:cpu" >/dev/null
for container in "$NAME-coordinator" "$NAME-worker"; do
  [ "$(buildah run "$container" -- id -u)" = 10001 ] || fail "$container is not root"
  buildah run "$container" -- touch /var/lib/merganser/spooled || fail "$container writes to its home"
  if buildah run "$container" -- touch /opt/merganser/bin/merganser 2>/dev/null; then fail "$container cannot change its programs"; fi
done
buildah run "$NAME-coordinator" -- sh -c 'test ! -e /opt/merganser/lib' || fail "the coordinator's image has no libtorch"
buildah run "$NAME-worker" -- sh -c '! ls /opt/merganser/lib/torch/lib | grep -q cuda' || fail "the worker's image has no CUDA"
ok "neither runs as root, and each holds no more than it needs"

# The CUDA stage as it is, upon `cpu` and with a file for its 3.8 GB of libtorch (debian-images.sh --cuda copies them).
mkdir -p "$DIR/build/opt/torch-cuda/lib/torch/lib"
echo libtorch >"$DIR/build/opt/torch-cuda/lib/torch/lib/libtorch_cuda.so"
sed "s|^FROM worker AS cuda$|FROM localhost/$NAME:cpu AS cuda|" deploy/container/Dockerfile >"$DIR/Dockerfile"
buildah build --quiet --pull-never --skip-unused-stages --build-context "build=$DIR/build" --target cuda --tag "$NAME:cuda" \
  --file "$DIR/Dockerfile" "$DIR/build" >"$DIR/cuda.log" 2>&1 || fail "the stage with CUDA is built"
configured="$(buildah inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Env}} {{.OCIv1.Config.Cmd}}' "$NAME:cuda")"
for part in 10001:10001 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility "--device cuda:0]"; do
  [[ "$configured" == *"$part"* ]] || fail "the image with CUDA says $part: $configured"
done
ok "the stage with CUDA configures what NVIDIA's runtime asks for"

REDIS=127.0.0.1:$(free_port) USERS=127.0.0.1:$(free_port) WORKERS=127.0.0.1:$(free_port)
redis-server --bind 127.0.0.1 --port "${REDIS#*:}" --dir "$DIR" --save "" >"$DIR/redis.log" 2>&1 &
PIDS+=($!)
eventually "redis answers" redis-cli -p "${REDIS#*:}" ping
run_in coordinator "$NAME-coordinator" -- merganser-coordinator --store "redis://$REDIS" --listen "$USERS" --worker-listen "$WORKERS" \
  --http "127.0.0.1:$(free_port)"
run_in worker -v "$PWD/examples:/models:ro" "$NAME-worker" -- merganser-worker --device cpu --threads 1 --coordinator "$WORKERS" \
  --store "redis://$REDIS" --http "127.0.0.1:$(free_port)" --spool-dir /var/lib/merganser/spool --model-root /models
export MERGANSER_SERVER="$USERS"
connected() { "$BUILD/bin/merganser" workers -o json | grep -q '"idle"'; }
eventually "the worker's container is connected to the coordinator's" connected
sed "s|path: \([a-z]\)|path: /models/ja-math/\1|; s|candidates: 400|candidates: 8|; s|^    data: tasks|    limit: 20\n&|; s|, data: tasks|, limit: 20, data: tasks|" \
  examples/ja-math/job.yaml | sed "s|data: tasks|data: /models/ja-math/tasks|" >"$DIR/job.yaml"
[ ! -e /models/ja-math ] || fail "/models is the worker's alone"
timeout 200 "$BUILD/bin/merganser" submit "$DIR/job.yaml" --wait >"$DIR/submit.log" 2>&1 || fail "the job succeeds"
ok "a job succeeds whose models only the worker's container sees"
