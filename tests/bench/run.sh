#!/usr/bin/env bash
# What `./dev bench` runs: the merge, then the demo job beside transformers. MERGANSER_PEER_PYTHON: a python with torch and
# transformers.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "== merge (tests/bench/merge_bench.cc)"
build/bin/bench/merge_bench --benchmark_min_time=0.2
echo "== the demo job (tests/bench/job_bench.py)"
python3 tests/bench/job_bench.py ${MERGANSER_PEER_PYTHON:+--peer-python "$MERGANSER_PEER_PYTHON"} "$@"
