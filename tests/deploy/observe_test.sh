#!/usr/bin/env bash
# observe_test.sh BIN_DIR: Prometheus itself over a real coordinator and two real workers. A search runs, one worker is
# killed, and the series and the alerts are read through Prometheus' API.
set -euo pipefail
BIN="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/deploy/steps.sh
need prometheus promtool redis-server
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-observe.XXXXXX")"
declare -A PID=()

finish() {
  local code=$?
  trap - EXIT
  if [ $code -ne 0 ]; then tail -n 20 "$DIR"/*.log >&2 || true; fi
  kill "${PID[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$DIR"
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

start() {  # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$DIR/$name.log" 2>&1 &
  PID[$name]=$!
}
# True if Prometheus answers EXPR with at least one sample.
sees() { [ -n "$(promtool query instant "http://$PROMETHEUS" "$1")" ]; }

REDIS=127.0.0.1:$(free_port) WORKER1=127.0.0.1:$(free_port) WORKER2=127.0.0.1:$(free_port) PROMETHEUS=127.0.0.1:$(free_port)
start redis redis-server --bind 127.0.0.1 --port "${REDIS#*:}" --dir "$DIR" --save ""
eventually "redis answers" redis-cli -p "${REDIS#*:}" ping
start coordinator "$BIN/merganser-coordinator" --store "redis://$REDIS" --listen 127.0.0.1:0 --worker-listen 127.0.0.1:0 \
  --http 127.0.0.1:0 --port-file "$DIR/ports"
eventually "the coordinator listens" test -s "$DIR/ports"
address() { awk -v name="$1" '$1 == name {print $2}' "$DIR/ports"; }
worker() {  # NAME HTTP
  start "$1" "$BIN/merganser-worker" --coordinator "$(address worker)" --store "redis://$REDIS" --device cpu --threads 1 \
    --http "$2" --spool-dir "$DIR/spool-$1"
}
worker worker1 "$WORKER1"
worker worker2 "$WORKER2"

# The shipped files, but for the clock: a scrape each half second, and alerts that fire after seconds. One that takes longer
# than half a second has failed, as a few do on a busy machine: an alert needs ten of them.
cp -r deploy/prometheus "$DIR/prometheus"
echo "- targets: [\"$(address http)\"]" >"$DIR/prometheus/targets/coordinators.yml"
echo "- targets: [\"$WORKER1\", \"$WORKER2\"]" >"$DIR/prometheus/targets/workers.yml"
sed -i 's/_interval: 15s/_interval: 500ms/' "$DIR/prometheus/prometheus.yml"
sed -i 's/for: 1m$/for: 5s/' "$DIR/prometheus/alerts.yml"
start prometheus prometheus --config.file "$DIR/prometheus/prometheus.yml" --storage.tsdb.path "$DIR/data" \
  --web.listen-address "$PROMETHEUS"
eventually "all three are scraped" sees 'count(up == 1) == 3'
eventually "one coordinator leads" sees 'job:merganser_leader:sum == 1'
eventually "both workers are idle" sees 'merganser_workers{state="idle"} == 2'

export MERGANSER_SERVER
MERGANSER_SERVER="$(address user)"
JOB="$("$BIN/merganser" submit examples/ja-math/job.yaml)"
eventually "the job is active" sees "merganser_job_active{job_id=\"$JOB\"} == 1"
eventually "something is dispatched" sees 'merganser_attempts_running > 0'
eventually "the store's commits are timed" sees 'merganser_store_commit_seconds_count{op="append"} > 0'
eventually "demand is recorded" sees 'job:merganser_demand:sum > 0'
eventually "a result is committed" sees 'merganser_result_records_total{disposition="committed"} > 0'
eventually "the worker counts its phases" sees 'merganser_worker_phase_seconds_total{phase="decode"} > 0'
for http in "$(address http)" "$WORKER1"; do
  curl -fsS "http://$http/metrics" | promtool check metrics
  echo "ok: promtool finds nothing to improve in the metrics of $http"
done
if sees 'ALERTS{alertname=~"MerganserWorkersLost|MerganserTargetDown", alertstate="firing"}'; then
  echo "FAILED: an alert before anything broke" >&2
  exit 1
fi

kill -9 "${PID[worker2]}"
eventually "the coordinator sees the loss" sees 'merganser_workers{state="lost"} == 1'
eventually "MerganserWorkersLost fires" sees 'ALERTS{alertname="MerganserWorkersLost", alertstate="firing"}'
eventually "MerganserTargetDown fires for the killed one" \
  sees "ALERTS{alertname=\"MerganserTargetDown\", alertstate=\"firing\", instance=\"$WORKER2\"}"

"$BIN/merganser" cancel "$JOB" >/dev/null
eventually "the job's end is counted" sees 'merganser_jobs_finished_total{state="cancelled"} == 1'
eventually "an ended job has no series" sees "absent(merganser_job_active{job_id=\"$JOB\"})"
