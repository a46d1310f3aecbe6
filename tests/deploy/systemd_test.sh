#!/usr/bin/env bash
# systemd_test.sh BUILD_DIR: the quick start of docs/deploy.md ("Two hosts and more"), word for word, on two hosts that are containers
# in which systemd runs: the units are booted, and come back after what they run is killed. The programs are those of the tarball.
set -euo pipefail
BUILD="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/deploy/steps.sh
[ "$(id -u)" -eq 0 ] || { echo "skipped: containers with systemd need root"; exit 77; }
need mmdebstrap buildah podman
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-systemd-test.XXXXXX")"
NAME="merganser-systemd-$$"
A="$NAME-a" B="$NAME-b"   # hosts
finish() {
  local code=$?
  trap - EXIT
  if [ $code -ne 0 ] && [ $code -ne 77 ]; then
    for host in "$A" "$B"; do podman exec "$host" journalctl --no-pager -n 30 >&2 2>/dev/null || true; done
    tail -n 20 "$DIR"/*.log >&2 2>/dev/null || true
  fi
  podman rm -f -t 0 -v "$A" "$B" >/dev/null 2>&1 || true
  podman network rm -f "$NAME" >/dev/null 2>&1 || true
  buildah rmi -f "$NAME" >/dev/null 2>&1 || true
  rm -rf "$DIR"
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM
on() { podman exec -w /root "$@"; }   # HOST COMMAND...

cat >"$DIR/Dockerfile" <<'IMAGE'
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update && apt-get install -y --no-install-recommends systemd redis-server openssl
STOPSIGNAL SIGRTMIN+3
CMD ["/lib/systemd/systemd"]
IMAGE
export BUILDAH_ISOLATION=chroot
{ BASE="$(deploy/container/debian-images.sh --base)" &&
    buildah build --quiet --layers --pull-never --build-arg "DEBIAN=$BASE" --tag "$NAME" --file "$DIR/Dockerfile" "$DIR"; } >"$DIR/images.log" 2>&1 ||
  images_failed "$DIR/images.log" "the hosts' image is built"
source tests/deploy/podman.sh
use_podman "$DIR" "localhost/$NAME" >"$DIR/why" || { echo "skipped: $(cat "$DIR/why")"; exit 77; }

# docs/deploy.md, "Programs": the tarball, and a libtorch that was installed elsewhere.
cpack -G TGZ --config "$BUILD/CPackConfig.cmake" -B "$DIR/packages" >"$DIR/cpack.log" 2>&1 || fail "cpack"
mkdir "$DIR/merganser"
tar -xzf "$DIR"/packages/merganser-*.tar.gz -C "$DIR/merganser" --strip-components 1
TORCH="$(realpath "$(sed -n 's/^MERGANSER_TORCH_DIR:PATH=//p' "$BUILD/CMakeCache.txt")")"
ln -sfn "/opt/torch/$(basename "$TORCH")" "$DIR/merganser/lib/torch"
podman network create "$NAME" >/dev/null
for host in "$A" "$B"; do
  podman run -d --name "$host" --hostname "${host#"$NAME-"}" --systemd=always --network "$NAME" -v "$DIR/merganser:/opt/merganser:ro" \
    -v "$(dirname "$TORCH"):/opt/torch:ro" "localhost/$NAME" >/dev/null 2>"$DIR/run.log" || fail "a host starts"
done
booted() { [[ "$(on "$1" systemctl is-system-running 2>/dev/null)" =~ ^(running|degraded)$ ]]; }
for host in "$A" "$B"; do
  for _ in $(seq 600); do booted "$host" && break; sleep 0.2; done
  booted "$host" || { echo "skipped: systemd does not boot in a container here"; exit 77; }
done
# The package's own Redis is no part of it.
on "$A" systemctl disable --now redis-server >/dev/null 2>&1

# docs/deploy.md, "Two hosts and more", with HOST the first one's name.
deploy/systemd/make-secrets.sh "$A" "$DIR/merganser-secrets" 2>"$DIR/secrets.log"
podman cp "$DIR/merganser-secrets" "$A:/root/merganser-secrets"
podman cp "$DIR/merganser-secrets" "$B:/root/merganser-secrets"
commands() {  # HOST N: runs the N-th block of commands of that section that begins with useradd
  awk -v n="$2" '/^## /{in_it = /^## Two hosts and more/} in_it && /^    /{block = block substr($0, 5) "\n"; next}
                 in_it && block != "" {if (block ~ /^useradd/ && ++k == n) printf "%s", block; block = ""}' docs/deploy.md |
    sed 's/merganser-worker@0$/merganser-worker@cpu/' >"$DIR/commands.sh"
  grep -q 'systemctl enable --now' "$DIR/commands.sh" || fail "docs/deploy.md has the commands"
  podman cp "$DIR/commands.sh" "$1:/root/commands.sh"
  on "$1" bash -e commands.sh >"$DIR/commands.log" 2>&1 || fail "the commands of docs/deploy.md: $(tail -n 3 "$DIR/commands.log")"
}
commands "$A" 1
commands "$B" 2
active() { [ "$(on "$1" systemctl is-active "$2")" = active ]; }
for unit in merganser-redis merganser-coordinator; do eventually "$unit is active" active "$A" "$unit"; done
eventually "merganser-worker@cpu is active" active "$B" merganser-worker@cpu
cli() {
  on "$B" /opt/merganser/bin/merganser "$1" --server "$A:50051" --ca merganser-secrets/user/ca.pem --token-file merganser-secrets/user/token "${@:2}"
}
connected() { cli workers -o json | grep -q '"idle"'; }
eventually "the worker is connected, by TLS and token" connected
examples=/opt/merganser/share/merganser/examples/ja-math
sed "s|candidates: 400|candidates: 12|; s|^    data: tasks|    limit: 20\n&|; s|, data: tasks|, limit: 20, data: tasks|" examples/ja-math/job.yaml |
  sed "s|path: \([a-z]\)|path: $examples/\1|; s|data: tasks|data: $examples/tasks|" >"$DIR/job.yaml"
podman cp "$DIR/job.yaml" "$B:/root/job.yaml"
timeout 600 podman exec -w /root "$B" /opt/merganser/bin/merganser submit job.yaml --wait --server "$A:50051" \
  --ca merganser-secrets/user/ca.pem --token-file merganser-secrets/user/token >"$DIR/submit.log" 2>&1 || fail "the job succeeds"
ok "a job succeeds"

main_pid() { on "$1" systemctl show -p MainPID --value "$2"; }
restarted() { active "$1" "$2" && [ "$(main_pid "$1" "$2")" -gt 0 ] && [ "$(main_pid "$1" "$2")" != "$3" ]; }
for unit in merganser-redis merganser-coordinator; do
  before="$(main_pid "$A" "$unit")"
  on "$A" systemctl kill -s KILL "$unit"
  eventually "$unit is started again when it was killed" restarted "$A" "$unit" "$before"
done
kept() { cli jobs -o json | grep -qi succeeded; }
eventually "and the job is still there" kept
eventually "and the worker too" connected
on "$B" systemctl stop merganser-worker@cpu
[ "$(on "$B" systemctl show -p Result --value merganser-worker@cpu)" = success ] || fail "a stopped worker has not failed"
ok "a worker that is told to stop ends well"
for host in "$A" "$B"; do
  failed="$(on "$host" systemctl --failed --plain --no-legend 2>/dev/null | grep merganser || true)"
  [ -z "$failed" ] || fail "units have failed: $failed"
done
ok "no unit has failed"
