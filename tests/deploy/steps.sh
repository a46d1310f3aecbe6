# steps.sh: sourced by tests of deploy/ that go step by step.
ok() { echo "ok: $1 ($SECONDS s)"; }
fail() { echo "FAILED: $1" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# What reads from a pipe here and may fail the test reads to its end (`grep PATTERN >/dev/null`): with pipefail one that `grep -q` left
# in the middle of its writing has failed.
eventually() {  # WHAT COMMAND...: tried every 0.2 s, TRIES times (600)
  for _ in $(seq "${TRIES:-600}"); do
    if "${@:2}" >/dev/null 2>&1; then ok "$1"; return; fi
    sleep 0.2
  done
  fail "$1"
}
need() {  # PROGRAM...
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || { echo "skipped: no $program"; exit 77; }
  done
}
images_failed() {  # LOG WHAT: skips where Debian's packages cannot be had
  if grep -qE 'Could not resolve|Failed to fetch|Unable to fetch|unable to download' "$1"; then
    echo "skipped: Debian's packages cannot be loaded"
    exit 77
  fi
  fail "$2"
}
