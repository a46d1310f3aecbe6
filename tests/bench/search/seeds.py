#!/usr/bin/env python3
"""Runs a job over several seeds and prints the held-out scores of each, with their 95 % intervals.

    tests/bench/search/seeds.py build/bin/merganser examples/ja-paths/job.yaml --seeds 1 2 3

Results stay in OUT/NAME-SEED. A job that was run already is not run again, one that was interrupted goes on.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import time


def run(merganser, job, seed, out):
    with open(job, encoding="utf-8") as file:
        text = re.sub(r"(?m)^seed: .*$", f"seed: {seed}", file.read())
    # Beside the job, because its paths are relative to it.
    with tempfile.NamedTemporaryFile("w", prefix=".seed-", suffix=".yaml", dir=os.path.dirname(os.path.abspath(job)), encoding="utf-8") as file:
        file.write(text)
        file.flush()
        start = time.monotonic()
        resume = ["--resume"] if os.path.exists(f"{out}/run.db") else []  # it was interrupted
        done = subprocess.run([merganser, "run", file.name, "--out", out, *resume], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"seed {seed}: {done.stdout[-2000:]}")
        return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merganser")
    parser.add_argument("job")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", default="out/seeds")
    options = parser.parse_args()
    name = os.path.splitext(os.path.basename(options.job))[0]
    name = os.path.basename(os.path.dirname(os.path.abspath(options.job))) if name == "job" else name
    os.makedirs(options.out, exist_ok=True)
    rows = {}
    for seed in options.seeds:
        out = os.path.join(options.out, f"{name}-{seed}")
        seconds = run(options.merganser, options.job, seed, out) if not os.path.exists(f"{out}/summary.json") else None
        with open(f"{out}/summary.json", encoding="utf-8") as file:
            summary = json.load(file)
        best = summary["best"]
        print(f"seed {seed}: candidate {best['candidate']}, fitness {best['fitness']}"
              + (f", {seconds:.0f} s" if seconds else ""), flush=True)
        for benchmark, models in summary["held_out"].items():
            for model, metrics in models.items():
                metric = next((m for m in metrics if m.startswith("acc_")), next(iter(metrics)))
                rows.setdefault((benchmark, metric, model), []).append(metrics[metric])
    for (benchmark, metric, model), scores in rows.items():
        cells = " | ".join(f"{100 * s['value']:.1f} [{100 * s['low']:.1f}, {100 * s['high']:.1f}]" for s in scores)
        print(f"| {benchmark} {metric} | {model} | {cells} |")


if __name__ == "__main__":
    main()
