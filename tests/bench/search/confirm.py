#!/usr/bin/env python3
"""Real searches of examples/ja-math with the settings that compare.py plays: prints what they reach on the example's 250 test
problems, or writes it to docs/optimizers.md.

    tests/bench/search/confirm.py build/bin/merganser [--seeds 1 2 3 4 5] [--write docs/optimizers.md]

A search that is in OUT already is not run again.
"""
import argparse
import json
import os
import random
import sys

import compare
import ja_problems
import seeds as runs

JOB = """name: confirm
seed: 1
models:
  base: {{path: {example}/base}}
  ja:   {{path: {example}/ja}}
  math: {{path: {example}/math-en}}
space:
  parameter: {{method: task_arithmetic, base: base, sources: [ja, math], granularity: layer, bounds: {{weight: [0, 2]}}}}
optimizer: {{{optimizer}}}
objectives: [{{benchmark: ja_math, metric: acc_ja}}]
benchmarks:
  ja_math: {{use: mgsm_ja, data: {example}/tasks/ja_math.train.jsonl, prompt: "Q: {{{{question}}}}\\nA:\\n", max_new_tokens: 36, stop: []}}
{more}budget: {{samples: {samples}}}
held_out:
  ja_math_test: {{use: ja_math, data: {example}/tasks/ja_math.test.jsonl}}
"""
FINALISTS = """  ja_math_all: {{use: ja_math, data: {example}/tasks/ja_math.train.jsonl}}
finalists: {{count: {count}, benchmark: ja_math_all}}
"""
ALL = 200  # training problems
BEGIN, END = "<!-- confirm.py: begin -->", "<!-- confirm.py: end -->"

# Name, file name, optimizer, samples per generation (0: all), finalists, sample evaluations in all.
SEARCHES = [
    (compare.ORIGINAL, "original", "cma_es: {preset: published}", 0, 0, 80000),
    (compare.ORIGINAL, "original-fifth", "cma_es: {preset: published}", 0, 0, 16000),
    ("mergekit-evolve: CMA-ES, all samples", "mergekit", "cma_es: {sigma0: 0.0833, preset: hansen, update: generation}", 0, 0, 16000),
    ("random search, all samples", "random", "random: {}", 0, 0, 16000),
    (compare.DEFAULT, "default", compare.DEFAULT_OPTIMIZER, compare.DEFAULT_SAMPLES, compare.DEFAULT_FINALISTS, 16000),
    (compare.DEFAULT, "default-two-fifths", compare.DEFAULT_OPTIMIZER, compare.DEFAULT_SAMPLES, compare.DEFAULT_FINALISTS, 32000),
]


def job_text(optimizer, each, finalists, samples, example):
    more = FINALISTS.format(example=example, count=finalists) if finalists else ""
    if each:
        more += f"samples: {{per_generation: {each}}}\n"
    budget = samples - (finalists + 1) * ALL if finalists else samples
    return JOB.format(example=example, optimizer=optimizer, more=more, samples=budget)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merganser")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--only", default="", help="searches whose file name is this")
    parser.add_argument("--out", default="out/confirm")
    parser.add_argument("--write", default="")
    options = parser.parse_args()
    example = os.path.join(ja_problems.ROOT, "examples", "ja-math")
    os.environ.setdefault("LID176FTZ_PATH", os.path.join(example, "lid.176.ftz"))
    os.makedirs(options.out, exist_ok=True)
    rng = random.Random(1)
    lines = []
    for name, file_name, optimizer, each, finalists, samples in SEARCHES:
        if options.only and file_name != options.only:
            continue
        job = os.path.join(options.out, f"{file_name}.yaml")
        with open(job, "w", encoding="utf-8") as file:
            file.write(job_text(optimizer, each, finalists, samples, example))
        scores, candidates = [], []
        for seed in options.seeds:
            out = os.path.join(options.out, f"{file_name}-{seed}")
            if not os.path.exists(f"{out}/summary.json"):
                runs.run(options.merganser, job, seed, out)
            with open(f"{out}/summary.json", encoding="utf-8") as file:
                summary = json.load(file)
            scores.append(summary["held_out"]["ja_math_test"]["winner"]["acc_ja"]["value"])
            candidates.append(summary["candidates"]["search"])
            print(f"{file_name} {seed}: {100 * scores[-1]:.1f}, {candidates[-1]} candidates", file=sys.stderr, flush=True)
        mean, low, high = compare.interval(scores, rng)
        lines.append(f"| {name} | `{optimizer}` | {samples:,} | {max(candidates)} | "
                     f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}] | "
                     + ", ".join(f"{100 * score:.1f}" for score in scores) + " |")
    text = "\n".join([f"`acc_ja` on the 250 test problems of what real searches return, mean of {len(options.seeds)} seeds with its 95 % interval:", "",
                      "| setting | optimizer | sample evaluations | candidates | mean | each seed |", "|---|---|---|---|---|---|", *lines])
    compare.publish(text, options.write, BEGIN, END)


if __name__ == "__main__":
    main()
