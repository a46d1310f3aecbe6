#!/usr/bin/env bash
# two_hosts_test.sh BIN_DIR: the units of deploy/systemd as systemd checks them, and what they start on two hosts, which are two
# network namespaces: Redis and a coordinator on one, a worker, a user and a stand-by on the other, with TLS, tokens and passwords.
set -euo pipefail
BIN="$(cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/deploy/steps.sh
[ "$(id -u)" -eq 0 ] || { echo "skipped: network namespaces need root"; exit 77; }
for program in ip redis-server openssl; do
  command -v "$program" >/dev/null || { echo "skipped: no $program (Debian packages iproute2, redis-server, openssl)"; exit 77; }
done
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-two-hosts.XXXXXX")"
A="mga$$" B="mgb$$"   # hosts
PIDS=()
finish() {
  local code=$?
  trap - EXIT
  [ $code -eq 0 ] || [ $code -eq 77 ] || tail -n 20 "$DIR"/*.log >&2 2>/dev/null || true
  [ ${#PIDS[@]} -eq 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  ip netns delete "$A" 2>/dev/null || true
  ip netns delete "$B" 2>/dev/null || true
  rm -rf "$DIR"
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

if command -v systemd-analyze >/dev/null; then
  mkdir "$DIR/units"
  for unit in deploy/systemd/*.service; do
    sed "s|/opt/merganser/bin|$BIN|; s|^User=merganser|User=daemon|" "$unit" >"$DIR/units/$(basename "$unit")"
  done
  mv "$DIR/units/merganser-worker@.service" "$DIR/units/merganser-worker@0.service"
  complaints="$(systemd-analyze verify --man=no "$DIR"/units/*.service 2>&1 | grep units/ || true)"
  [ -z "$complaints" ] || fail "systemd-analyze verify: $complaints"
  systemd-analyze security --offline=true --threshold=30 --no-pager "$DIR"/units/merganser-{coordinator,redis}.service >"$DIR/security.log" 2>&1 ||
    { tail -n 3 "$DIR/security.log" >&2; fail "systemd-analyze security: more than 3.0"; }
  ok "systemd finds nothing in the units, and the exposure of coordinator and Redis below 3.0"
else
  echo "no systemd-analyze: the units are not checked"
fi

ip netns add "$A" 2>/dev/null || { echo "skipped: no network namespaces here"; exit 77; }
ip netns add "$B"
ip link add "$A" netns "$A" type veth peer name "$B" netns "$B"
ip -n "$A" addr add 10.77.0.1/24 dev "$A"
ip -n "$B" addr add 10.77.0.2/24 dev "$B"
for host in "$A" "$B"; do ip -n "$host" link set "$host" up; ip -n "$host" link set lo up; done
on() { ip netns exec "$@"; }
start() {  # HOST NAME COMMAND...
  ip netns exec "$1" "${@:3}" >"$DIR/$2.log" 2>&1 &
  PIDS+=($!)
}

deploy/systemd/make-secrets.sh 10.77.0.1,10.77.0.2 "$DIR/secrets"
mkdir "$DIR/redis"
# As the units start them, but for the folders.
S="$DIR/secrets"
flags() { sed "s|^MERGANSER_FLAGS=||; s|/etc/merganser|$S/$1|g" "$S/$1/${2:-$1}.env"; }
start "$A" redis redis-server "$S/coordinator/redis.conf" --dir "$DIR/redis" --aclfile "$S/coordinator/users.acl"
read -ra COORDINATOR <<<"$(flags coordinator)"
start "$A" coordinator "$BIN/merganser-coordinator" --store-wait 5m "${COORDINATOR[@]}"
LEADER=${PIDS[-1]}
read -ra WORKER <<<"$(flags worker)"
start "$B" worker "$BIN/merganser-worker" --device cpu --threads 1 --spool-dir "$DIR/spool" --store-wait 5m "${WORKER[@]}"
cli() { on "$B" "$BIN/merganser" "$1" --server 10.77.0.1:50051,10.77.0.2:50051 --ca "$S/user/ca.pem" --token-file "$S/user/token" "${@:2}"; }
connected() { cli workers -o json | grep -q '"idle"'; }
eventually "a worker on the other host is connected" connected

sed "s|path: \([a-z]\)|path: $PWD/examples/ja-math/\1|; s|candidates: 400|candidates: 12|; s|^    data: tasks|    limit: 20\n&|; s|, data: tasks|, limit: 20, data: tasks|
  " examples/ja-math/job.yaml | sed "s|data: tasks|data: $PWD/examples/ja-math/tasks|" >"$DIR/job.yaml"
timeout 600 ip netns exec "$B" "$BIN/merganser" submit "$DIR/job.yaml" --wait --server 10.77.0.1:50051 --ca "$S/user/ca.pem" \
  --token-file "$S/user/token" >/dev/null || fail "the job succeeds"
ok "a job, submitted and worked on from the other host"

refused() {  # WHAT EXIT_CODE FLAGS...
  local code=0
  on "$B" timeout 120 "$BIN/merganser" jobs --server 10.77.0.1:50051 "${@:3}" >/dev/null 2>&1 || code=$?
  [ $code -eq "$2" ] || fail "$1: exit code $code"
  ok "$1"
}
refused "nobody without a token" 5 --ca "$S/user/ca.pem"
refused "nobody without TLS" 6
[[ "$(on "$B" redis-cli -h 10.77.0.1 keys '*' 2>&1)" == *NOAUTH* ]] || fail "Redis asks for a password"
ok "Redis asks for a password"

read -ra STANDBY <<<"$(flags coordinator standby)"
start "$B" standby "$BIN/merganser-coordinator" --store-wait 5m "${STANDBY[@]}"
standing_by() { grep -q "standing by" "$DIR/standby.log"; }
eventually "a coordinator on the other host stands by" standing_by
kill -9 "$LEADER"
eventually "the worker is connected to it once the first one is gone" connected
[[ "$(cli jobs -o json)" == *'"succeeded"'* ]] || fail "it leads, and has the job"
ok "it leads, and has the job"
