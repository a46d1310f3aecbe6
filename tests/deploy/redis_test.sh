#!/usr/bin/env bash
# redis_test.sh: deploy/redis with its users. What is written in a function survives a restart (as whom Redis replays its log is
# the default user, who is off), nobody comes in without a password, a worker writes results and nothing else, and none of them can
# stall, empty or reconfigure the server.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/../../deploy/redis"
command -v redis-server >/dev/null || { echo "skipped: no redis-server"; exit 77; }
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-redis.XXXXXX")"
PID=
trap 'kill $PID 2>/dev/null || true; wait; rm -rf "$DIR"' EXIT
PORT="$(free_port)"
as() {  # USER COMMAND...: nobody without a password
  if [ "$1" = nobody ]; then redis-cli -p "$PORT" "${@:2}" 2>&1; return; fi
  REDISCLI_AUTH="change-me-$1" redis-cli -p "$PORT" --user "mg-$1" "${@:2}" 2>&1
}
expect() {  # WHAT PATTERN COMMAND...
  local got
  got="$("${@:3}")" || true
  [[ $got == $2 ]] || { echo "FAILED: $1: $got" >&2; exit 1; }
  echo "ok: $1"
}
start() {
  redis-server redis.conf --bind 127.0.0.1 --port "$PORT" --dir "$DIR" --aclfile "$PWD/users.acl" --daemonize no >>"$DIR/log" &
  PID=$!
  for _ in $(seq 600); do [ "$(as coordinator ping)" != PONG ] || return 0; sleep 0.1; done
  tail "$DIR/log" >&2
  exit 1
}
start
expect "a coordinator brings its functions" twice as coordinator -x function load replace <<<"#!lua name=twice
redis.register_function('twice', function(keys) redis.call('SET', keys[1], 'x') redis.call('SET', keys[2], 'x') return 'done' end)"
expect "and writes in one" done as coordinator fcall twice 2 mg:a mg:b
# The store's own functions: the coordinator leads by them, and a worker calls none.
expect "a coordinator brings the store's functions" mg as coordinator -x function load replace <../../common/store/redis/functions.lua
expect "and leads" $'OK\n1*' as coordinator fcall mg_lead 1 mg:leader one 60000 nonce
expect "and keeps its fleet" OK as coordinator fcall mg_fleet 2 mg:leader mg:fleet 1 quarantines
expect "which an earlier leader does not" $'STALE\n1*' as coordinator fcall mg_fleet 2 mg:leader mg:fleet 0 others
for user in worker reader; do
  expect "a $user changes no fleet" '*NOPERM*' as "$user" fcall mg_fleet 2 mg:leader mg:fleet 1 none
done
expect "a worker reads no fleet" '*NOPERM*' as worker get mg:fleet
expect "nobody comes in without a password" '*NOAUTH*' as nobody get mg:a
expect "a worker writes a result" 1 as worker setnx mg:result:1 x
expect "a worker writes nothing else" '*NOPERM*' as worker setnx mg:a y
for user in worker reader; do
  for command in "client pause 1000" "client kill id 1" "client list" "client no-evict on" "function flush" "config get dir" "flushall" \
    "shutdown nosave" "acl list" "subscribe mg" "info"; do
    expect "a $user is refused: $command" '*NOPERM*' as "$user" $command
  done
done
for command in "client pause 1000" "client kill id 1" "config set maxmemory 1" "flushall" "shutdown nosave" "acl setuser x on nopass" "keys *"; do
  set -f
  expect "a coordinator is refused: $command" '*NOPERM*' as coordinator $command
  set +f
done
expect "a coordinator reads no key that is not its own" '*NOPERM*' as coordinator get other
expect "a worker reads nothing" '*NOPERM*' as worker get mg:result:1
kill "$PID"
wait "$PID" || true
start
expect "all of it is there after a restart" $'x\nx\nx' as coordinator mget mg:a mg:b mg:result:1
if grep -q CRITICAL "$DIR/log"; then
  grep CRITICAL "$DIR/log" >&2
  exit 1
fi
