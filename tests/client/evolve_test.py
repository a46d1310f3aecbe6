#!/usr/bin/env python3
"""A configuration of mergekit-evolve as its user has it: run, validate, convert. Usage: evolve_test.py MERGANSER EXAMPLE"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

MERGANSER = EXAMPLE = ""

CONFIGURATION = """genome:
  models:
    - {example}/ja
    - {example}/math-en
  merge_method: task_arithmetic
  base_model: {example}/base
  layer_granularity: 3
  filters: [mlp]
  tokenizer_source: null
tasks:
  - name: {task}
    weight: 1.0
    metric: "exact_match,last-number"
limit: 30
apply_chat_template: false
"""


def merganser(*arguments):
    done = subprocess.run([MERGANSER, *arguments], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


class Evolve(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tasks = os.path.join(EXAMPLE, "tasks")

    def write(self, name="evolve.yml", task="ja_math", change=("", "")):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(example=EXAMPLE, task=task).replace(*change))
        return path

    def summary(self, out):
        with open(os.path.join(self.folder, out, "summary.json"), encoding="utf-8") as file:
            return json.load(file)

    def test_runs_to_a_winner_which_is_that_of_the_converted_job(self):
        path = self.write()
        code, out, err = merganser("run", path, "--task-search-path", self.tasks, "--max-fevals", "10",
                                   "--out", os.path.join(self.folder, "out"))
        self.assertEqual(code, 0, err)
        self.assertIn("note: weights are searched in [0, 2]", err)
        self.assertIn("10 candidates (--max-fevals)", err)
        summary = self.summary("out")
        self.assertEqual(summary["state"], "succeeded")
        self.assertEqual(list(summary["best"]["fitness"]), ["ja_math.exact_match@last-number"])
        self.assertTrue(os.path.exists(os.path.join(self.folder, "out", "best", "model.safetensors")))

        code, job, err = merganser("convert", path, "--task-search-path", self.tasks, "--max-fevals", "10")
        self.assertEqual(code, 0, err)
        with open(os.path.join(self.folder, "job.yaml"), "w", encoding="utf-8") as file:
            file.write(job)
        code, out, err = merganser("run", os.path.join(self.folder, "job.yaml"), "--out", os.path.join(self.folder, "again"))
        self.assertEqual(code, 0, err)
        again = self.summary("again")
        for key in ("candidates", "best"):
            self.assertEqual(again[key], summary[key])

    def test_validate_says_blocks_split_by_the_filter(self):
        code, out, err = merganser("validate", self.write(), "--task-search-path", self.tasks, "--no-calibration", "-o", "json")
        self.assertEqual(code, 0, err)
        # Two models, embedding and output, two blocks of three layers, each with its MLPs apart.
        self.assertEqual(json.loads(out)["dimension"], 2 * (2 + 2 * 2))

    def test_tasks_lie_beside_the_file_unless_said(self):
        path = self.write()
        code, out, err = merganser("validate", path, "--no-calibration")
        self.assertEqual(code, 3, err)
        self.assertIn("evolve.yml:11: tasks[0].name: no .yaml file below " + self.folder + " says `task: ja_math`", err)
        self.assertIn("--task-search-path", err)
        os.mkdir(os.path.join(self.folder, "mine"))
        with open(os.path.join(self.folder, "mine", "own.yaml"), "w", encoding="utf-8") as file:
            file.write("include: " + os.path.join(self.tasks, "ja_math.yaml") + "\ntask: own\n"
                       "dataset_kwargs: {data_files: " + os.path.join(self.tasks, "ja_math.train.jsonl") + "}\n")
        code, out, err = merganser("convert", self.write(task="own"))
        self.assertEqual(code, 0, err)
        self.assertIn("use: " + os.path.join(self.folder, "mine", "own.yaml"), out)
        code, out, err = merganser("convert", self.write(task="onw"))
        self.assertEqual(code, 3)
        self.assertIn("did you mean 'own'?", err)

    def test_few_shots_are_held_against_the_tasks_file(self):
        path = self.write(change=("limit: 30", "num_fewshot: 2"))
        code, out, err = merganser("convert", path, "--task-search-path", self.tasks)
        self.assertEqual(code, 2)
        self.assertIn("evolve.yml:14: num_fewshot: 2, but a job's few-shots are those of the task's file", err)

    def test_data_of_the_hub_and_folders_that_are_not_there_are_told(self):
        with open(os.path.join(self.folder, "hub.yaml"), "w", encoding="utf-8") as file:
            file.write("task: hub\ndataset_path: org/data\ntest_split: test\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n")
        path = self.write(task="hub", change=("last-number", "none"))
        code, out, err = merganser("convert", path)
        self.assertEqual(code, 0, err)
        self.assertIn("note: the data of hub is the Hub's org/data", err)
        code, out, err = merganser("validate", path, "--no-calibration")
        self.assertEqual(code, 2)
        self.assertIn("evolve.yml:11: benchmarks.hub: ", err)
        code, out, err = merganser("convert", path, "--task-search-path", os.path.join(self.folder, "gone"))
        self.assertEqual(code, 3)
        self.assertIn("--task-search-path: no folder '", err)

    def test_its_flags_are_no_jobs(self):
        job = os.path.join(EXAMPLE, "job.yaml")
        for flags, name in ((["--max-fevals", "3"], "--max-fevals"), (["--task-search-path", self.tasks], "--task-search-path")):
            code, out, err = merganser("validate", job, *flags)
            self.assertEqual(code, 2, err)
            self.assertIn(name + ": " + job + " is a job", err)
        code, out, err = merganser("convert", job)
        self.assertEqual(code, 2)
        self.assertIn("is a job already", err)

    def test_a_run_that_is_gone_on_with_is_told_its_flags(self):
        path = self.write()
        out_folder = os.path.join(self.folder, "out")
        flags = ["--task-search-path", self.folder, "--task-search-path", self.tasks, "--max-fevals", "2000"]
        process = subprocess.Popen([MERGANSER, "run", path, *flags, "--out", out_folder], stderr=subprocess.PIPE, text=True)
        lines = []
        for line in process.stderr:  # the plan: the search begins
            lines.append(line)
            if line.startswith("budget"):
                break
        process.send_signal(2)
        rest = process.communicate(timeout=300)[1]
        self.assertIn(" ".join(["run", path, "--out", out_folder, *flags, "--resume"]), rest, "".join(lines))


if __name__ == "__main__":
    MERGANSER, EXAMPLE = (os.path.abspath(argument) for argument in sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
