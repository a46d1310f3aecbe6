#!/usr/bin/env bash
# slurm_test.sh BIN_DIR: deploy/slurm on Debian's Slurm, whose daemons run here as one cluster of one node: a job is submitted
# to one worker, scaled to four, one of them is cancelled, one preempted, the coordinator requeued, and nothing is lost.
set -euo pipefail
BIN="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" -eq 0 ] || { echo "skipped: slurmd needs root"; exit 77; }
. tests/deploy/steps.sh
need munged slurmctld slurmd sbatch redis-server openssl python3
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-slurm-test.XXXXXX")"
PIDS=()
finish() {
  local code=$?
  trap - EXIT
  if [ $code -ne 0 ]; then
    tail -n 25 "$DIR"/*.log "$DIR"/fleet/logs/*.log >&2 2>/dev/null || true
    timeout 5 squeue >&2 || true
  fi
  timeout 5 scancel --full --signal KILL -u root >/dev/null 2>&1 || true
  timeout 5 scancel -u root >/dev/null 2>&1 || true
  for _ in $(seq 50); do [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break; sleep 0.2; done
  kill "${PIDS[@]}" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "${PIDS[@]}" 2>/dev/null || break; sleep 0.1; done
  kill -9 "${PIDS[@]}" 2>/dev/null || true   # slurmd waits for jobs that will not end
  rm -rf "$DIR"
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

# A cluster of this machine alone: its own munge key and socket, its own configuration, nothing in /etc or /var. A requeued
# job waits for cred_expire (120 s unless set).
HOST="$(hostname)"
export SLURM_CONF="$DIR/slurm.conf"
(umask 077; head -c 1024 /dev/urandom >"$DIR/munge.key")
cat >"$SLURM_CONF" <<CONF
ClusterName=merganser
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket=$DIR/munge.socket,cred_expire=5
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.pid
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
MinJobAge=300
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=6 State=UNKNOWN
PartitionName=low Nodes=$HOST Default=YES PriorityTier=1 GraceTime=15 State=UP
PartitionName=high Nodes=$HOST PriorityTier=10 State=UP PreemptMode=OFF
CONF
mkdir -p "$DIR/state" "$DIR/slurmd"
munged --foreground --force --socket "$DIR/munge.socket" --key-file "$DIR/munge.key" --pid-file "$DIR/munge.pid" \
  --log-file "$DIR/munge.log" --seed-file "$DIR/munge.seed" >"$DIR/munged.log" 2>&1 &
PIDS+=($!)
TRIES=1500 eventually "munge answers" test -S "$DIR/munge.socket"
slurmctld -D -f "$SLURM_CONF" >"$DIR/slurmctld.log" 2>&1 &
PIDS+=($!)
slurmd -D -N "$HOST" -f "$SLURM_CONF" >"$DIR/slurmd.log" 2>&1 &
PIDS+=($!)
node_is_idle() { [ "$(sinfo -h -p low -o %t)" = idle ]; }
eventually "Slurm has an idle node" node_is_idle

export MERGANSER_BIN="$BIN" MERGANSER_SLURM_DIR="$DIR/fleet" MERGANSER_SLURM_GRACE=20
fleet() { deploy/slurm/merganser-slurm "$@"; }
fleet start --workers 1 --device cpu --worker-flags "--threads 1" --coordinator-sbatch "--partition high" \
  --coordinator-flags "--client-rate 2000"
sed "s|path: \([a-z]\)|path: $PWD/examples/ja-math/\1|; s|data: tasks|data: $PWD/examples/ja-math/tasks|" examples/ja-math/job.yaml >"$DIR/job.yaml"
JOB="$(fleet cli submit "$DIR/job.yaml")"
ok "submitted as $JOB"
number() {  # FIELD of the job, 0 if there is none (or no coordinator just now)
  timeout 60 deploy/slurm/merganser-slurm cli describe "$JOB" -o json 2>/dev/null |
    python3 -c "import json, sys; print(int(json.load(sys.stdin).get('$1', 0)))" 2>/dev/null || echo 0
}
finished() { [ "$(number search_finished)" -ge "$1" ]; }
workers() {  # that are connected
  timeout 60 deploy/slurm/merganser-slurm cli workers -o json 2>/dev/null |
    python3 -c 'import json, sys; print(sum(w["state"] in ("idle", "busy") for w in json.load(sys.stdin).get("workers", [])))'
}
work() { [ "$(workers)" -eq "$1" ]; }
tasks() { squeue -h -r -p low -t "${1:-RUNNING}" -o %F_%K; }
restarts() { scontrol show job "$1" | grep -o 'Restarts=[0-9]*' | grep -qv '=0'; }
TRIES=1500 eventually "the first result is there" finished 1
grep -q "^$BIN/merganser-coordinator .*$DIR/fleet.* --client-rate 2000" <<<"$(ps -eo args)" || fail "the coordinator has its flags"

fleet scale 4
TRIES=1500 eventually "four workers are connected, the first one still among them" work 4
fleet scale 4 2>&1 | grep 'there are 4 workers' >/dev/null || fail "scale is safe to repeat"

GONE="$(tasks | tail -n 1)"
scancel "$GONE"
TRIES=1500 eventually "a cancelled worker leaves" work 3
grep -hq 'draining' "$DIR"/fleet/logs/worker-"$GONE".log || fail "the cancelled worker drained"

# Six CPUs: the coordinator, three workers, and now somebody more important who wants three.
sbatch --parsable -p high -n 3 -o /dev/null --wrap 'sleep 5' >/dev/null
preempted() { local t; for t in $(squeue -h -r -p low -o %F_%K); do restarts "$t" && return; done; return 1; }
TRIES=1500 eventually "a preempted worker is queued again" preempted
TRIES=1500 eventually "and works again" work 3

BEFORE="$(number search_finished)"
scancel --batch --signal USR1 -n "$(squeue -h -p high -o %j | grep coordinator)"   # what Slurm sends near the time limit
moved() { restarts "$(squeue -h -p high -o %i)" && work 3; }
TRIES=1500 eventually "a coordinator at its time limit is queued again, and the workers find it" moved
TRIES=300 eventually "no result is lost" finished "$BEFORE"
fleet status >"$DIR/status" || fail "status"

CODE=0
timeout 1500 deploy/slurm/merganser-slurm cli wait "$JOB" --timeout 1490s >/dev/null || CODE=$?
[ $CODE -eq 0 ] || fail "the job finishes (exit code $CODE)"
ok "the job finishes"
TRIES=300 eventually "every candidate of the budget has its result" finished 400
[ "$(number failed)" -eq 0 ] || fail "no candidate failed"
fleet scale 1
TRIES=1500 eventually "scaled down to one worker" work 1
fleet stop
nothing_left() { [ -z "$(squeue -h)" ]; }
eventually "stop leaves no Slurm job behind" nothing_left
