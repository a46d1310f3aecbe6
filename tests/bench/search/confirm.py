#!/usr/bin/env python3
"""Real searches of a family of models with the settings that compare.py plays: prints what they reach on 250 test problems, or
writes it to docs/optimizers.md.

    tests/bench/search/confirm.py build/bin/merganser [--family ja-math] [--seeds 1 2 3 4 5] [--write docs/optimizers.md]

ja-math is the family of the record that compare.py plays against, and on which the default preset was chosen. No model of ja-paths
but the base was in that choice. A search that is in OUT already is not run again.
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
  base: {{path: {examples}/ja-math/base}}
  ja:   {{path: {examples}/{ja}}}
  math: {{path: {examples}/{math}}}
space:
  parameter: {{method: task_arithmetic, base: base, sources: [ja, math], granularity: layer, bounds: {{weight: [0, 2]}}}}
optimizer: {{{optimizer}}}
objectives: [{{benchmark: ja_math, metric: acc_ja}}]
benchmarks:
  ja_math: {{use: mgsm_ja, data: {examples}/ja-math/tasks/ja_math.train.jsonl, prompt: "Q: {{{{question}}}}\\nA:\\n", max_new_tokens: 36, stop: []}}
{more}budget: {{samples: {samples}}}
held_out:
  ja_math_test: {{use: ja_math, data: {examples}/ja-math/tasks/ja_math.test.jsonl}}
"""
FINALISTS = """  ja_math_all: {{use: ja_math, data: {examples}/ja-math/tasks/ja_math.train.jsonl}}
finalists: {{count: {count}, benchmark: ja_math_all}}
"""
ALL = 200  # training problems
MERGEKIT = "mergekit-evolve: CMA-ES, all samples"
MERGEKIT_OPTIMIZER = "cma_es: {sigma0: 0.0833, preset: hansen, update: generation}"
PUBLISHED = "cma_es: {preset: published}"
DEFAULT_SETTING = (compare.DEFAULT_OPTIMIZER, compare.DEFAULT_SAMPLES, compare.DEFAULT_FINALISTS)

# File name: name, optimizer, samples per generation (0: all), finalists, sample evaluations in all.
SEARCHES = {
    "original": (compare.ORIGINAL, PUBLISHED, 0, 0, 80000),
    "original-fifth": (compare.ORIGINAL, PUBLISHED, 0, 0, 16000),
    "mergekit": (MERGEKIT, MERGEKIT_OPTIMIZER, 0, 0, 16000),
    "random": ("random search, all samples", "random: {}", 0, 0, 16000),
    "default": (compare.DEFAULT, *DEFAULT_SETTING, 16000),
    "default-two-fifths": (compare.DEFAULT, *DEFAULT_SETTING, 32000),
    "default-whole": (compare.DEFAULT, *DEFAULT_SETTING, 80000),
}
# The two models that are merged, the searches, and where the page has them.
FAMILIES = {
    "ja-math": ("ja-math/ja", "ja-math/math-en",
                ["original", "original-fifth", "mergekit", "random", "default", "default-two-fifths"], "confirm.py"),
    "ja-paths": ("ja-paths/ja-drop", "ja-paths/math-x-drop",
                 ["original", "original-fifth", "mergekit", "random", "default", "default-whole"], "confirm.py ja-paths"),
}


def job_text(optimizer, each, finalists, samples, family):
    examples = os.path.join(ja_problems.ROOT, "examples")
    ja, math = FAMILIES[family][:2]
    more = FINALISTS.format(examples=examples, count=finalists) if finalists else ""
    if each:
        more += f"samples: {{per_generation: {each}}}\n"
    budget = samples - (finalists + 1) * ALL if finalists else samples
    return JOB.format(examples=examples, ja=ja, math=math, optimizer=optimizer, more=more, samples=budget)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merganser")
    parser.add_argument("--family", choices=FAMILIES, default="ja-math")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--only", default="", help="searches whose file name is this")
    parser.add_argument("--out", default="", help="by default out/confirm, out/confirm-ja-paths")
    parser.add_argument("--write", default="")
    options = parser.parse_args()
    os.environ.setdefault("LID176FTZ_PATH", os.path.join(ja_problems.ROOT, "examples", "ja-math", "lid.176.ftz"))
    *_, searches, place = FAMILIES[options.family]
    folder = options.out or os.path.join("out", "confirm" if options.family == "ja-math" else f"confirm-{options.family}")
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(1)
    lines = []
    for file_name in searches:
        if options.only and file_name != options.only:
            continue
        name, optimizer, each, finalists, samples = SEARCHES[file_name]
        job = os.path.join(folder, f"{file_name}.yaml")
        with open(job, "w", encoding="utf-8") as file:
            file.write(job_text(optimizer, each, finalists, samples, options.family))
        scores, candidates = [], []
        for seed in options.seeds:
            out = os.path.join(folder, f"{file_name}-{seed}")
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
    compare.publish(text, options.write, f"<!-- {place}: begin -->", f"<!-- {place}: end -->")


if __name__ == "__main__":
    main()
