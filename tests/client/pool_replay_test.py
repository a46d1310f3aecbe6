#!/usr/bin/env python3
"""`merganser pool` and `merganser replay` as a user runs them. Usage: pool_replay_test.py MERGANSER"""
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import unittest

MERGANSER = ""


def run(*arguments):
    done = subprocess.run([MERGANSER, *arguments], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def results(outcomes, benchmark="task"):
    return {benchmark: {"metrics": {"acc": 0}, "results": [{"question": "q", "correct": c == "1"} for c in outcomes]}}


class WithFolder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, name, content):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path


class Pool(WithFolder):
    def test_suggests_models_that_are_right_where_others_are_wrong(self):
        path = self.write("all.json", {"best": results("1110" * 30), "twin": results("1100" * 30), "other": results("0001" * 30)})
        code, out, err = run("pool", path)
        self.assertEqual(code, 0, err)
        self.assertIn("suggested: best, other\n", out)
        self.assertIn("100.0 %", out)
        self.assertIn("3 models, 120 samples of task", err)
        code, out, err = run("pool", path, "--size", "2", "--choices", "1", "-o", "json")
        self.assertEqual(code, 0, err)
        data = json.loads(out)
        self.assertEqual(data["suggested"], ["best", "other"])
        self.assertEqual(len(data["choices"]), 1)
        self.assertEqual(data["choices"][0]["only"], [0.75, 0.25])

    def test_reads_one_file_a_model_and_one_benchmark_of_several(self):
        a = self.write("a.json", {**results("10" * 20), **results("11" * 10, "second")})
        b = self.write("b.json", {**results("01" * 20), **results("11" * 10, "second")})
        code, out, err = run("pool", f"a={a}", f"b={b}", "--benchmark", "task")
        self.assertEqual(code, 0, err)
        self.assertIn("40 samples of task", err)
        code, out, err = run("pool", f"a={a}", f"b={b}")
        self.assertIn("60 samples of second, task", err)

    def test_names_the_file_the_model_and_what_is_wrong(self):
        one = self.write("one.json", results("10"))
        several = self.write("several.json", {"a": results("10"), "b": results("101")})
        broken = self.write("broken.json", "{")
        cases = [
            (["pool", one], "one.json: is not what `merganser evaluate --output` writes for several models; give"),
            (["pool", several], "model 'b' has 3 samples where 'a' has 2"),
            (["pool", broken], "broken.json: is not what"),
            (["pool", f"a={one}", f"b={one}", "--benchmark", "tusk"], "no results of benchmark 'tusk'; did you mean 'task'?"),
            (["pool", f"a={one}"], "1 models are not in [2, 64]"),
            (["pool", several, "--size", "5"], "a pool of up to 5 models is not in [2, 4]"),
            (["pool", "nosuch.json"], "nosuch.json"),
        ]
        for arguments, message in cases:
            code, out, err = run(*arguments)
            self.assertNotEqual(code, 0, arguments)
            self.assertIn(message, err)
            self.assertEqual(out, "")


class Replay(WithFolder):
    def responses(self, recipes=60, samples=100):
        draw = random.Random(1)
        reach = [draw.random() for _ in range(samples)]
        lines = []
        for i in range(recipes):
            genome = [draw.random(), draw.random()]
            distance = math.dist(genome, [0.7, 0.7])
            lines.append(json.dumps({"recipe": f"candidate {i}", "genome": genome,
                                     "correct": "".join("1" if distance < r else "0" for r in reach)}))
        return lines

    def test_compares_optimizers_on_recorded_outcomes(self):
        path = self.write("responses.jsonl", "\n".join(self.responses()) + "\n")
        code, out, err = run("replay", "--responses", path, "--budget", "4000", "--seeds", "3",
                             "--optimizer", "{cma_es: {population: 8}}", "--optimizer", "random")
        self.assertEqual(code, 0, err)
        self.assertIn("60 recipes of 2 genes, 100 samples", err)
        self.assertIn("{cma_es: {population: 8}}", out)  # as a job file has it
        self.assertIn("surrogate on recipes that it has not seen: off by", out)
        code, out, err = run("replay", "--responses", path, "--budget", "4000", "--seeds", "2", "--by", "nearest",
                             "--samples", "fresh", "--each", "20", "--optimizer", "gp", "-o", "json",
                             "--save", os.path.join(self.folder.name, "again.jsonl"))
        self.assertEqual(code, 0, err)
        line = json.loads(out)["lines"][0]
        self.assertEqual(line["candidates"], [200, 200])
        self.assertEqual(len(line["best_held_out"]), 2)
        with open(os.path.join(self.folder.name, "again.jsonl"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file], [json.loads(line) for line in self.responses()])

    def test_estimates_scores_from_few_samples_once_models_are_known(self):
        models = [json.dumps({"model": name, "correct": bits * 20}) for name, bits in [("ja", "10010"), ("math", "01011")]]
        known = self.write("known.jsonl", "\n".join(models + self.responses()) + "\n")
        again = os.path.join(self.folder.name, "again.jsonl")
        command = ["replay", "--budget", "2000", "--seeds", "2", "--by", "nearest", "--samples", "estimated", "--each", "10",
                   "--optimizer", "nsga2: {population: 10}", "-o", "json"]
        code, out, err = run(*command, "--responses", known, "--save", again)
        self.assertEqual(code, 0, err)
        self.assertIn("60 recipes of 2 genes", err)
        self.assertEqual(json.loads(out)["lines"][0]["candidates"], [200, 200])
        with open(again, encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file], [json.loads(line) for line in models + self.responses()])
        code, out, err = run(*command, "--responses", self.write("unknown.jsonl", "\n".join(self.responses())))
        self.assertNotEqual(code, 0)
        self.assertIn("--samples estimated needs to know what the sources get right", err)
        short = json.dumps({"model": "ja", "correct": "10"})
        code, out, err = run(*command, "--responses", self.write("short.jsonl", "\n".join([short, *self.responses()])))
        self.assertIn("model 'ja': 2 samples where the recipes have 100", err)

    def test_stops_at_several_budgets_and_pays_for_finalists(self):
        path = self.write("responses.jsonl", "\n".join(self.responses()) + "\n")
        for samples in ("fresh", "race", "fisher"):
            code, out, err = run("replay", "--responses", path, "--budget", "2000", "--budget", "5000", "--each", "20", "--seeds", "2",
                                 "--samples", samples, "--finalists", "4", "--held-out", "0.5", "--optimizer",
                                 "cma_es: {population: 8}", "-o", "json")
            self.assertEqual(code, 0, err)
            lines = json.loads(out)["lines"]
            self.assertEqual([line["budget"] for line in lines], [2000, 5000])
            for line in lines:
                for spent, candidates in zip(line["sample_evaluations"], line["candidates"]):
                    self.assertLessEqual(spent, line["budget"])
                    # The finalists' 5 times 50 samples, and at most 20 for each candidate.
                    self.assertLessEqual(spent, 250 + 20 * candidates)
                self.assertEqual(len(line["answer_held_out"]), 2)

    def test_names_what_is_wrong(self):
        path = self.write("responses.jsonl", "\n".join(self.responses()) + "\n")
        lines = self.responses()
        lines[2] = '{"genome": [0.5, "x"], "correct": "01"}'
        damaged = self.write("damaged.jsonl", "\n".join(lines))
        few = self.write("few.jsonl", "\n".join(self.responses(5)))
        cases = [
            (["replay"], "give a JOB with --store, or --responses FILE"),
            (["replay", "ja-math"], "--store is missing"),
            (["replay", "--responses", damaged], "damaged.jsonl:3: genome holds something else than numbers"),
            (["replay", "--responses", few], "few.jsonl: 5 recipes are not in [20, 2000]"),
            (["replay", "--responses", path, "--optimizer", "cma_es: population"], "options are not in braces"),
            (["replay", "--responses", path, "--optimizer", "cmaes"], "did you mean 'cma_es'?"),
            (["replay", "--responses", path, "--budget", "200", "--budget", "100"], "100 is not above the budget before, 200"),
            (["replay", "--responses", path, "--each", "61"], "samples_per_candidate 61 is not in [1, 60]"),
        ]
        for arguments, message in cases:
            code, out, err = run(*arguments)
            self.assertNotEqual(code, 0, arguments)
            self.assertIn(message, err)


if __name__ == "__main__":
    MERGANSER = sys.argv.pop(1)
    unittest.main()
