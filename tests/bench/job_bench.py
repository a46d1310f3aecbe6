"""Candidates per minute of the demo job, where the time goes, and the same evaluation by transformers beside it.

    python3 tests/bench/job_bench.py [--candidates 120] [--threads N] [--merge-ahead on|off] [--peer-python PYTHON]

Runs build/bin/merganser, then tests/bench/transformers_peer.py with a python that has torch and transformers (--peer-python, else
this one if it has them; without one the peer is left out and the output says so).
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ja-math"


def run_job(candidates, threads, merge_ahead, folder):
    job = (EXAMPLE / "job.yaml").read_text(encoding="utf-8")
    job = job.replace("{path: ", "{path: %s/" % EXAMPLE).replace("data: tasks/", "data: %s/tasks/" % EXAMPLE)
    job = job.replace("{candidates: 400}", "{candidates: %d}" % candidates)
    job = job[:job.index("held_out:")]  # only the search is measured
    path = pathlib.Path(folder) / "job.yaml"
    path.write_text(job, encoding="utf-8")
    start = time.perf_counter()
    subprocess.run([ROOT / "build" / "bin" / "merganser", "run", path, "--out", pathlib.Path(folder) / "out", "--device", "cpu",
                    "--threads", str(threads), "--merge-ahead", merge_ahead], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    summary = json.loads((pathlib.Path(folder) / "out" / "summary.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in open(pathlib.Path(folder) / "out" / "candidates.jsonl", encoding="utf-8")]
    return seconds, summary, rows


def transformers_rate(python, threads):
    command = [python, ROOT / "tests" / "bench" / "transformers_peer.py", EXAMPLE / "math-en", "--tasks",
               EXAMPLE / "tasks" / "ja_math.train.jsonl", "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])["best_samples_per_second"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidates", type=int, default=120)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--merge-ahead", default="auto", choices=["auto", "on", "off"])
    parser.add_argument("--peer-python", default=sys.executable)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        seconds, summary, rows = run_job(args.candidates, args.threads, args.merge_ahead, folder)
    evaluated = [row for row in rows if row["state"] == "succeeded" and row["kind"] != "prepare"]
    phases = {}
    for row in evaluated:
        for phase, value in row["timings"].items():
            phases[phase] = phases.get(phase, 0.0) + value
    phases.pop("record", None)
    inside = sum(phases.values())
    samples = 200 * len(evaluated)
    print("%d candidates x 200 samples, %d threads, whole process %.1f s" % (len(evaluated), args.threads, seconds))
    print("  %.0f candidates/min, %.0f samples/s (evaluation alone: %.0f samples/s)"
          % (60 * len(evaluated) / seconds, samples / seconds, samples / inside))
    print("  %-22s %9s %8s" % ("phase", "ms/cand.", "share"))
    # What is neither merge nor evaluation: start, loading, store, reports, export.
    phases["report and the rest"] = max(0.0, seconds - inside)
    for phase, value in phases.items():
        print("  %-22s %9.2f %7.1f%%" % (phase, 1000 * value / len(evaluated), 100 * value / seconds))

    rate = transformers_rate(args.peer_python, args.threads)
    if rate is None:
        print("transformers: not measured (%s has no torch and transformers)" % args.peer_python)
        return
    print("transformers generate, one batch of 200, fp32, same threads: %.0f samples/s" % rate)
    print("ratio: %.1f x" % (samples / inside / rate))


if __name__ == "__main__":
    main()
