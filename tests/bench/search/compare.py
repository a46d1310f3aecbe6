#!/usr/bin/env python3
"""Optimizers and sample policies at equal numbers of sample evaluations, by the record of examples/ja-math: prints the
comparison of docs/optimizers.md, or writes it there.

    tests/bench/search/compare.py build/bin/merganser [--seeds 21] [--write docs/optimizers.md]

Every setting is played by `merganser replay` against the surrogate of ja_math.responses.jsonl.gz (made by record.py). A third
of the samples (200, as many as the example has) are for the searches, two thirds judge what they return.
"""
import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "ja_math.responses.jsonl.gz")
BUDGETS = [2000, 4000, 8000, 16000, 32000, 80000]
BEGIN, END = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"

# What it is called, the optimizer, samples per candidate (0: all 200) and which, finalists, what is returned, largest budget.
DEFAULT = "our default"
DEFAULT_OPTIMIZER, DEFAULT_SAMPLES, DEFAULT_FINALISTS = "cma_es: {preset: default}", 25, 1
ORIGINAL = "the original (Akiba et al.): CMA-ES through Optuna, all samples"
LEADERBOARD = "estimated after a leaderboard"  # models known before are not the sources but every tenth recipe of the record
SETTINGS = [
    (ORIGINAL, "cma_es: {preset: published}", 0, "fixed", 0, "best", 80000),
    ("mergekit-evolve: CMA-ES, all samples", "cma_es: {sigma0: 0.0833, preset: hansen, update: generation}", 0, "fixed", 0, "best", 32000),
    ("MERGE3 / mergenetic: GA of 10, 20 fixed samples, gmp-IRT; items fitted to the sources", "nsga2: {population: 10}", 20, "estimated", 0,
     "best", 32000),
    ("MERGE3 / mergenetic: the same, items fitted to a leaderboard", "nsga2: {population: 10}", 20, LEADERBOARD, 0, "best", 32000),
    ("GA of 10, 20 fixed samples, no estimate", "nsga2: {population: 10}", 20, "fixed", 0, "best", 32000),
    ("random search, all samples", "random", 0, "fixed", 0, "best", 32000),
    ("Gaussian process, all samples", "gp", 0, "fixed", 0, "best", 16000),
    ("NSGA-II, 25 fresh samples, finalists", "nsga2: {population: 20}", 25, "fresh", 8, "answer", 32000),
    ("CMA-ES, all samples, its mean", "cma_es: {preset: hansen}", 0, "fixed", 0, "mean", 80000),
    ("CMA-ES, 50 fixed samples, its mean", "cma_es: {preset: hansen}", 50, "fixed", 0, "mean", 32000),
    ("CMA-ES, 50 fresh samples, best measured", "cma_es: {preset: hansen}", 50, "fresh", 0, "best", 32000),
    ("CMA-ES, 50 fresh samples, its mean", "cma_es: {preset: hansen}", 50, "fresh", 0, "mean", 32000),
    ("CMA-ES, race to 96 fresh samples, its mean", "cma_es: {preset: hansen}", 96, "race", 0, "mean", 32000),
    ("CMA-ES, 25 samples by Fisher information, its mean", "cma_es: {preset: hansen}", 25, "fisher", 0, "mean", 16000),
    ("CMA-ES, 25 fresh samples, its mean", "cma_es: {preset: hansen}", 25, "fresh", 0, "mean", 32000),
    ("CMA-ES of 24, 25 fresh samples, its mean", "cma_es: {population: 24}", 25, "fresh", 0, "mean", 32000),
    (DEFAULT + ": CMA-ES of 16, 25 fresh samples, its mean or the best measured", DEFAULT_OPTIMIZER, DEFAULT_SAMPLES, "fresh",
     DEFAULT_FINALISTS, "answer", 32000),
]


def interval(values, rng):
    """Mean, and its 95 % interval over seeds (bootstrap)."""
    means = sorted(sum(rng.choice(values) for _ in values) / len(values) for _ in range(2000))
    return sum(values) / len(values), means[50], means[-51]


def with_leaderboard(responses):
    """The record with another set of known models, in a file beside it."""
    with open(responses, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    recipes = [line for line in lines if "genome" in line]
    models = [{"model": line["recipe"], "correct": line["correct"]} for line in recipes[::10]]
    path = f"{responses}.leaderboard"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in models + recipes)
    return path


def play(merganser, responses, setting, seeds, with_error):
    _, optimizer, each, samples, finalists, answer, largest = setting
    if samples == LEADERBOARD:
        responses, samples = with_leaderboard(responses), "estimated"
    budgets = [b for b in BUDGETS if b <= largest]
    command = [merganser, "replay", "--responses", responses, "--optimizer", optimizer, "--each", str(each), "--samples", samples,
               "--finalists", str(finalists), "--held-out", "0.6667", "--seeds", str(seeds), "-o", "json"]
    if not with_error:
        command.append("--skip-error")
    for budget in budgets:
        command += ["--budget", str(budget)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    result = json.loads(done.stdout)
    # A budget below one generation has still cost that generation: it has no figure.
    scores = [line[f"{answer}_held_out"] if max(line["sample_evaluations"]) <= line["budget"] else None for line in result["lines"]]
    return scores + [None] * (len(BUDGETS) - len(budgets)), result


def comparison(merganser, seeds, settings):
    rng = random.Random(1)
    lines, means, result = [], {}, None
    with tempfile.TemporaryDirectory() as folder:
        responses = os.path.join(folder, "responses.jsonl")
        with gzip.open(RECORD) as packed, open(responses, "wb") as file:
            file.write(packed.read())
        for setting in settings:
            scores, played = play(merganser, responses, setting, seeds, with_error=setting is settings[0])
            result = result or played
            cells = []
            for column in scores:
                mean, low, high = interval(column, rng) if column else (None, None, None)
                means.setdefault(setting[0], []).append(mean)
                cells.append(f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]" if column else "-")
            lines.append(f"| {setting[0]} | `{setting[1]}` | " + " | ".join(cells) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
    error = result["left_out_error"]
    head = [f"Held-out score, in per cent, of what a search returns once it has spent so many sample evaluations; mean of {seeds} seeds, with",
            "its 95 % interval. 'Its mean': the distribution's mean is returned, else the best measured candidate; 'finalists': whichever of the",
            "eight best and the mean is best on all 200 samples, which costs 1,800 (our default: of the best and the mean, 400).", "",
            "| setting | optimizer | " + " | ".join(f"{b:,}" for b in BUDGETS) + " |", "|---|---|" + "---|" * len(BUDGETS)]
    tail = ["", f"The record has {result['recipes']:,} recipes and {result['samples']} samples. On recipes that it has not seen the surrogate is off by "
            f"{100 * error['rmse']:.1f} points (root mean square; a constant: {100 * error['spread']:.1f}), correlation {error['correlation']:.3f}."]
    if ORIGINAL in means:
        goal = means[ORIGINAL][-1]
        reached = []
        for name, row in means.items():
            first = next((b for b, m in zip(BUDGETS, row) if m is not None and m >= goal), None)
            if first is not None and name != ORIGINAL and first < BUDGETS[-1]:
                reached.append(f"{name} ({first:,})")
        tail += ["", f"The original's {100 * goal:.1f} at {BUDGETS[-1]:,} is reached with fewer sample evaluations by: "
                 + ("; ".join(reached) if reached else "none") + "."]
    return "\n".join(head + lines + tail)


def publish(text, page, begin, end):
    """Prints the text, or puts it between the two marks of the file `page`."""
    if not page:
        print(text)
        return
    with open(page, encoding="utf-8") as file:
        whole = file.read()
    first, last = whole.index(begin) + len(begin), whole.index(end)
    with open(page, "w", encoding="utf-8") as file:
        file.write(whole[:first] + "\n" + text + "\n" + whole[last:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merganser")
    parser.add_argument("--seeds", type=int, default=21)
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--setting", nargs=4, metavar=("OPTIMIZER", "EACH", "SAMPLES", "ANSWER"), action="append",
                        help="a setting of your own in place of ours; ANSWER is best, mean, or the number of finalists")
    parser.add_argument("--write", default="", help="the page whose section is replaced")
    options = parser.parse_args()
    settings = [s for s in SETTINGS if options.only in s[0]]
    if options.setting:
        settings = [(f"{samples} {each}, {answer}", optimizer, int(each), samples, int(answer) if answer.isdigit() else 0,
                     "answer" if answer.isdigit() else answer, BUDGETS[-1]) for optimizer, each, samples, answer in options.setting]
    text = comparison(options.merganser, options.seeds, settings)
    publish(text, options.write, BEGIN, END)


if __name__ == "__main__":
    main()
