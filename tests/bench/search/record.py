#!/usr/bin/env python3
"""Records what many recipes of examples/ja-math get right: runs searches of several kinds on rows of ja_problems.py and writes
one line a recipe, as `merganser replay --save` does, after a line for each of the three models.

    tests/bench/search/record.py build/bin/merganser --rows 600 --out out/responses
    -> out/responses/ja_math.responses.jsonl.gz, which tests/bench/search/compare.py reads

The example's test rows are never used. A search that has finished is not run again, so the command goes on where it stopped.
"""
import argparse
import gzip
import json
import os
import subprocess

import ja_problems

# Of several kinds, so that the record covers where searches begin, where they go, and what lies around: optimizer, seed,
# candidates.
SEARCHES = [("cma_es: {preset: published}", 11, 240), ("random: {}", 12, 120), ("cma_es: {population: 24}", 13, 240),
            ("cma_es: {preset: published}", 14, 240), ("gp: {}", 15, 80), ("cma_es: {sigma0: 0.3, population: 16}", 16, 160)]
JOB = """name: record-{seed}
seed: {seed}
models:
  base: {{path: {example}/base}}
  ja:   {{path: {example}/ja}}
  math: {{path: {example}/math-en}}
space:
  parameter: {{method: task_arithmetic, base: base, sources: [ja, math], granularity: layer, bounds: {{weight: [0, 2]}}}}
optimizer: {{{optimizer}}}
objectives: [{{benchmark: ja_math, metric: acc_ja}}]
benchmarks:
  ja_math: {{use: mgsm_ja, data: rows.jsonl, prompt: "Q: {{{{question}}}}\\nA:\\n", max_new_tokens: 36, stop: []}}
budget: {{candidates: {candidates}}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merganser")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rows-seed", type=int, default=1)
    parser.add_argument("--out", default="out/responses")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    example = os.path.join(ja_problems.ROOT, "examples", "ja-math")
    ja_problems.write_rows(os.path.join(options.out, "rows.jsonl"), options.rows, options.rows_seed)
    os.environ.setdefault("LID176FTZ_PATH", os.path.join(example, "lid.176.ftz"))
    lines = []
    for optimizer, seed, candidates in SEARCHES:
        out = os.path.join(options.out, str(seed))
        saved = os.path.join(options.out, f"{seed}.jsonl")
        if not os.path.exists(saved):
            job = os.path.join(options.out, f"{seed}.yaml")
            with open(job, "w", encoding="utf-8") as file:
                file.write(JOB.format(seed=seed, optimizer=optimizer, candidates=candidates, example=example))
            resume = ["--resume"] if os.path.exists(os.path.join(out, "run.db")) else []
            subprocess.run([options.merganser, "run", job, "--out", out, *resume], check=True)
            subprocess.run([options.merganser, "replay", f"record-{seed}", "--store", f"sqlite:{out}/run.db", "--save", saved,
                            "--by", "nearest", "--optimizer", "random", "--seeds", "1", "--budget", "1"],
                           check=True, stdout=subprocess.DEVNULL)
        with open(saved, encoding="utf-8") as file:
            lines += [line.replace('"candidate ', f'"{seed}/') for line in file]
    recipes = [line for line in lines if "genome" in json.loads(line)]
    models = [line for line in lines if "model" in json.loads(line)]
    lines = list(dict.fromkeys(models)) + recipes  # each search has evaluated the models
    path = os.path.join(options.out, "ja_math.responses.jsonl.gz")
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write("".join(lines).encode())
    print(f"{len(recipes)} recipes x {options.rows} samples: {path}, {os.path.getsize(path):,} bytes")


if __name__ == "__main__":
    main()
