#!/usr/bin/env bash
# compose_test.sh BUILD_DIR: deploy/container/compose.yaml brought up by podman-compose, from images of Debian's packages and this
# build: a job over its published port, Prometheus over its own names, a store that outlives the containers. Grafana is not among
# Debian's packages and is left out.
set -euo pipefail
BUILD="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/deploy/steps.sh
[ "$(id -u)" -eq 0 ] || { echo "skipped: mmdebstrap, buildah and a network of containers need root"; exit 77; }
need mmdebstrap buildah podman podman-compose curl python3
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-compose-test.XXXXXX")"
NAME="merganser-compose-$$"
LABEL="label=io.podman.compose.project=$NAME"
remove_containers() {  # with the volumes that have no name
  # Twice: a container that is just starting again is missed.
  for _ in 1 2; do podman ps -aq --filter "$LABEL" 2>/dev/null | xargs -r podman rm -f -t "$1" -v >/dev/null 2>&1 || true; done
}
finish() {
  local code=$?
  trap - EXIT
  if [ $code -ne 0 ] && [ $code -ne 77 ]; then
    tail -n 20 "$DIR"/*.log >&2 2>/dev/null || true
    for container in $(podman ps -aq --filter "$LABEL" 2>/dev/null); do podman logs --tail 10 "$container" >&2 2>&1 || true; done
  fi
  remove_containers 0
  podman volume ls -q --filter "$LABEL" 2>/dev/null | xargs -r podman volume rm -f >/dev/null 2>&1 || true
  podman network rm -f "${NAME}_default" >/dev/null 2>&1 || true
  buildah rmi -f "$NAME:cpu" "$NAME:coordinator" "$NAME:redis" "$NAME:prometheus" >/dev/null 2>&1 || true
  rm -rf "$DIR"
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

deploy/container/debian-images.sh --services "$BUILD" "$NAME" >"$DIR/images.log" 2>&1 ||
  images_failed "$DIR/images.log" "the images are built"

source tests/deploy/podman.sh
use_podman "$DIR" "localhost/$NAME:coordinator" >"$DIR/why" || { echo "skipped: $(cat "$DIR/why")"; exit 77; }

export MERGANSER_IMAGE="localhost/$NAME" MERGANSER_REDIS_IMAGE="localhost/$NAME:redis"
export MERGANSER_PROMETHEUS_IMAGE="localhost/$NAME:prometheus"
MERGANSER_PORT="$(free_port)" MERGANSER_HTTP_PORT="$(free_port)" MERGANSER_PROMETHEUS_PORT="$(free_port)"
export MERGANSER_PORT MERGANSER_HTTP_PORT MERGANSER_PROMETHEUS_PORT MERGANSER_SERVER="127.0.0.1:$MERGANSER_PORT"
up() {
  timeout 300 podman-compose -p "$NAME" -f deploy/container/compose.yaml up -d --no-build redis coordinator worker prometheus \
    >"$DIR/up.log" 2>&1 || fail "podman-compose up"
}
two_workers() { [ "$("$BUILD/bin/merganser" workers -o json | grep -c '"idle"')" -eq 2 ]; }
up
eventually "two workers are connected to the coordinator" two_workers
for service in coordinator worker redis prometheus; do
  [ "$(podman exec "${NAME}_${service}_1" id -u)" -ne 0 ] || fail "$service is not root"
done
for service in coordinator worker; do
  if podman exec "${NAME}_${service}_1" touch /opt/merganser/written 2>/dev/null; then fail "$service changes its image"; fi
  podman exec "${NAME}_${service}_1" grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status || fail "$service has no capabilities"
done
ok "none runs as root; programs are read-only and without capabilities"

sed "s|path: \([a-z]\)|path: /models/ja-math/\1|; s|candidates: 400|candidates: 8|; s|^    data: tasks|    limit: 20\n&|; s|, data: tasks|, limit: 20, data: tasks|" \
  examples/ja-math/job.yaml | sed "s|data: tasks|data: /models/ja-math/tasks|" >"$DIR/job.yaml"
timeout 600 "$BUILD/bin/merganser" submit "$DIR/job.yaml" --wait >"$DIR/submit.log" 2>&1 || fail "the job succeeds"
ok "a job succeeds that was submitted at the published port"
curl -fsS "127.0.0.1:$MERGANSER_HTTP_PORT/" | grep -i '<html' >/dev/null || fail "the dashboard answers"
ok "the dashboard answers at its published port"
query() { curl -fsS --data-urlencode "query=$1" "127.0.0.1:$MERGANSER_PROMETHEUS_PORT/api/v1/query"; }
scraped() { query 'sum(up)' | grep -q '"3"\]'; }
eventually "Prometheus scrapes the coordinator and both workers" scraped
counted() { query 'sum(merganser_candidates_finished_total{state="succeeded"}) >= 8' | grep -q '"value"'; }
eventually "and knows the job's candidates" counted

remove_containers 10
up
kept() { "$BUILD/bin/merganser" jobs -o json | grep -qi '"state": *"[A-Z_]*succeeded"'; }
eventually "the job is still there when every container was removed and made again" kept
