#!/usr/bin/env bash
# cluster.sh [--observe] [JOB.yaml] [OUT]
#
# A fleet on this machine: redis-server, a coordinator and two workers as separate processes on free loopback ports, and the
# example's job over them. Ends with the table of scores, or with Ctrl-C; everything it started ends with it. --observe adds
# Prometheus with deploy/prometheus, and stays until Ctrl-C. MERGANSER_BIN names the programs' folder, build/bin unless set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OBSERVE=no
if [ "${1:-}" = --observe ]; then
  OBSERVE=yes
  shift
fi
BIN="${MERGANSER_BIN:-$PWD/build/bin}"
JOB="${1:-examples/ja-math/job.yaml}"
OUT="${2:-out/cluster}"
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-cluster.XXXXXX")"
PIDS=()

BOLD='' PLAIN=''
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\033[1m' PLAIN=$'\033[0m'; fi
say() { printf '%s== %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

finish() {
  local code=$?
  trap - EXIT
  # Workers first: they hand back what they hold. Redis last: the others still write.
  for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
    kill "${PIDS[$i]}" 2>/dev/null || true
    wait "${PIDS[$i]}" 2>/dev/null || true
  done
  if [ $code -eq 0 ]; then rm -rf "$DIR"; else say "logs are in $DIR"; fi
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

start() {  # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$DIR/$name.log" 2>&1 &
  PIDS+=($!)
}

wait_for() {  # WHAT COMMAND...
  local what=$1
  shift
  for _ in $(seq 100); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  cat "$DIR"/*.log >&2
  die "$what did not come up in 10 seconds"
}

# For those that take no port 0, or that others must know before they start.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

REDIS_PORT="$(free_port)"
STORE="redis://127.0.0.1:$REDIS_PORT"
start redis redis-server deploy/redis/redis.conf --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$DIR" --aclfile "" --daemonize no
wait_for redis-server redis-cli -p "$REDIS_PORT" ping

start coordinator "$BIN/merganser-coordinator" --store "$STORE" --listen 127.0.0.1:0 --worker-listen 127.0.0.1:0 \
  --http 127.0.0.1:0 --port-file "$DIR/ports"
wait_for merganser-coordinator test -s "$DIR/ports"
address() { awk -v name="$1" '$1 == name {print $2}' "$DIR/ports"; }

THREADS=$((($(nproc) + 1) / 2))
WORKER_HTTP=()
for n in 1 2; do
  WORKER_HTTP+=("127.0.0.1:$(free_port)")
  start "worker$n" "$BIN/merganser-worker" --coordinator "$(address worker)" --store "$STORE" --name "worker$n" --device cpu \
    --threads "$THREADS" --http "${WORKER_HTTP[-1]}" --spool-dir "$DIR/spool$n"
done
if [ $OBSERVE = yes ]; then
  PROMETHEUS="127.0.0.1:$(free_port)"
  cp -r deploy/prometheus "$DIR/prometheus"
  printf -- '- targets: ["%s"]\n' "$(address http)" >"$DIR/prometheus/targets/coordinators.yml"
  printf -- '- targets: ["%s", "%s"]\n' "${WORKER_HTTP[@]}" >"$DIR/prometheus/targets/workers.yml"
  # A search of a few minutes has few points at the 15 seconds that suit one of days.
  sed -i 's/^  \(scrape\|evaluation\)_interval: 15s/  \1_interval: 2s/' "$DIR/prometheus/prometheus.yml"
  start prometheus prometheus --config.file "$DIR/prometheus/prometheus.yml" --storage.tsdb.path "$DIR/prometheus-data" \
    --web.listen-address "$PROMETHEUS"
  wait_for prometheus promtool query instant "http://$PROMETHEUS" up
fi
export MERGANSER_SERVER
MERGANSER_SERVER="$(address user)"
say "redis-server     $STORE"
say "coordinator      $MERGANSER_SERVER"
say "dashboard        http://$(address http)/"
say "workers          2, $THREADS threads each, dialling $(address worker)"
if [ $OBSERVE = yes ]; then
  say "metrics          coordinator http://$(address http)/metrics, workers http://${WORKER_HTTP[0]}/metrics http://${WORKER_HTTP[1]}/metrics"
  say "Prometheus       http://$PROMETHEUS/graph, its alerts http://$PROMETHEUS/alerts"
fi
say "ask it yourself  export MERGANSER_SERVER=$MERGANSER_SERVER; $BIN/merganser jobs"

job="$("$BIN/merganser" submit "$JOB")"
"$BIN/merganser" watch "$job"
"$BIN/merganser" workers
"$BIN/merganser" candidates "$job" --kind held_out
"$BIN/merganser" export "$job" --out "$OUT/best" --overwrite
if [ $OBSERVE = yes ]; then
  say "all of it runs on until Ctrl-C"
  trap 'exit 0' INT  # the way to end it: nothing went wrong, so no logs are kept
  wait
fi
