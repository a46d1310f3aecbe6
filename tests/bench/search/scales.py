#!/usr/bin/env python3
"""Paths of examples/ja-paths with each kind of scales, at one budget: prints what they reach on problems that no search sees, or
writes it to docs/search.md.

    tests/bench/search/scales.py build/bin/merganser [--seeds 1 2 3] [--write docs/search.md]

The jobs are examples/ja-paths/longer.yaml with another `space`. Besides the example's 250 test problems there are ROWS more of
their kind (ja_problems.py), for narrower intervals. A search that is in OUT already is not run again.
"""
import argparse
import json
import os
import random
import re
import sys

import compare
import ja_problems
import seeds as runs

EXAMPLES = os.path.join(ja_problems.ROOT, "examples")
SPACE = "space:\n  data_flow: {{sources: [ja, math], scale_bounds: [0.5, 1.5], ends: search, {}}}"
SIX, LONGER = "repeats: 1", "repeats: 2, max_hops: 10"
# File name: what it is called, the rest of the space, genes.
SETTINGS = {
    "six": ("six layers", f"{SIX}, scales: none", 14),
    "six-slot": ("six layers, a scale per slot", f"{SIX}, scales: slot", 20),
    "slot": ("up to ten, a scale per slot", f"{LONGER}, scales: slot", 38),
    "network": ("up to ten, scales of a network", f"{LONGER}, scales: network", 54),
    "matrix": ("up to ten, a full matrix W", f"{LONGER}, scales: matrix", 170),
}
ROWS, ROWS_SEED = 1000, 2
MORE = "  ja_math_more: {{use: ja_math, data: {}}}\n"
BEGIN, END = "<!-- scales.py: begin -->", "<!-- scales.py: end -->"


def job_text(space, candidates, rows):
    with open(os.path.join(EXAMPLES, "ja-paths", "longer.yaml"), encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"(?m)^space:\n  data_flow: .*$", SPACE.format(space), text)
    text = re.sub(r"(?m)^budget: .*$", f"budget: {{candidates: {candidates}}}", text)
    text = text.replace("{path: ", f"{{path: {EXAMPLES}/ja-paths/").replace("../ja-math", f"{EXAMPLES}/ja-math")
    return text + MORE.format(rows)


def percent(score):
    return f"{100 * score['value']:.1f} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merganser")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--candidates", type=int, default=480)
    parser.add_argument("--only", default="", help="the setting whose file name is this")
    parser.add_argument("--out", default="out/scales")
    parser.add_argument("--write", default="")
    options = parser.parse_args()
    os.environ.setdefault("LID176FTZ_PATH", os.path.join(EXAMPLES, "ja-math", "lid.176.ftz"))
    os.makedirs(options.out, exist_ok=True)
    rows = os.path.abspath(os.path.join(options.out, "more.jsonl"))
    ja_problems.write_rows(rows, ROWS, ROWS_SEED)
    rng = random.Random(1)
    lines = []
    for name, (called, space, genes) in SETTINGS.items():
        if options.only and name != options.only:
            continue
        job = os.path.join(options.out, f"{name}.yaml")
        with open(job, "w", encoding="utf-8") as file:
            file.write(job_text(space, options.candidates, rows))
        train, hops, test, more = [], [], [], []
        for seed in options.seeds:
            out = os.path.join(options.out, f"{name}-{seed}")
            if not os.path.exists(f"{out}/summary.json"):
                runs.run(options.merganser, job, seed, out)
            with open(f"{out}/summary.json", encoding="utf-8") as file:
                summary = json.load(file)
            train.append(f"{100 * summary['best']['fitness']['ja_math.acc_ja']:.1f}")
            hops.append(str(len(summary["best"]["recipe"].get("path", [])) or 6))
            test.append(percent(summary["held_out"]["ja_math_test"]["winner"]["acc_ja"]))
            more.append(summary["held_out"]["ja_math_more"]["winner"]["acc_ja"])
            print(f"{name} {seed}: {train[-1]}, {hops[-1]} hops, {test[-1]}, {percent(more[-1])}", file=sys.stderr, flush=True)
        mean, low, high = compare.interval([score["value"] for score in more], rng)
        lines.append(f"| {called} | {genes} | {', '.join(hops)} | {', '.join(train)} | {'<br>'.join(test)} | {'<br>'.join(map(percent, more))} | "
                     f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}] |")
    text = "\n".join([f"`acc_ja` of the winners of {options.candidates} candidates each, by seed; with the 95 % interval of a score's "
                      "problems, and at the end of the seeds' mean:", "",
                      f"| paths | genes | hops | 200 problems of the search | 250 test problems | {ROWS:,} more | their mean |",
                      "|---|---|---|---|---|---|---|", *lines])
    compare.publish(text, options.write, BEGIN, END)


if __name__ == "__main__":
    main()
