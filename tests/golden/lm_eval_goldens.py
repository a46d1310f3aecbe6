#!/usr/bin/env python3
"""Per-sample outcomes of lm-evaluation-harness 0.4.13 on a small checkpoint, for tests/worker/evaluate/lm_eval_parity_test.cc.

    python3 tests/golden/lm_eval_goldens.py XWINOGRAD.tsv JCOMMONSENSEQA.json GSM8K.jsonl

XWINOGRAD: dataset.tsv of yandex-research/crosslingual_winograd (Apache-2.0); JCOMMONSENSEQA: valid-v1.3.json of
yahoojapan/JGLUE (CC BY-SA 4.0); GSM8K: test.jsonl of openai/grade-school-math (MIT). Takes the first 100 samples of each that fit
the model's 512 positions with their examples (Japanese ones of the first), writes them with a task file each to tests/data/lm-eval,
runs the harness on examples/ja-math/ja in fp32 and writes what it found for every sample beside them. Needs torch, transformers and
lm_eval 0.4.13; no network.
"""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "tests", "data", "lm-eval")
COUNT = 100

XWINOGRAD = """# Both readings of a sentence with a pronoun; the end is scored behind each ("multiple inputs").
task: xwinograd_jp
dataset_path: json
dataset_kwargs: {data_files: {test: xwinograd_jp.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{label}}"
doc_to_target: "{{end}}"
doc_to_choice: "{{[option1, option2]}}"
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

JCOMMONSENSEQA = """task: jcommonsenseqa
dataset_path: json
dataset_kwargs: {data_files: {test: jcommonsenseqa.jsonl, train: jcommonsenseqa.train.jsonl}}
test_split: test
fewshot_split: train
num_fewshot: 1
fewshot_config: {sampler: first_n}
output_type: multiple_choice
description: "[問題]に対する[答え]を[選択肢]の中から選んでください。\\n\\n"
doc_to_text: "[問題]:{{question}}\\n[選択肢]:[{{choice0}}, {{choice1}}, {{choice2}}, {{choice3}}, {{choice4}}]\\n[答え]:"
doc_to_target: label
doc_to_choice: "{{[choice0, choice1, choice2, choice3, choice4]}}"
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""

GSM8K = """# The harness's own gsm8k, with an example drawn by its default sampler.
task: gsm8k
dataset_path: json
dataset_kwargs: {data_files: {test: gsm8k.jsonl, train: gsm8k.train.jsonl}}
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]
generation_kwargs: {until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, temperature: 0.0, max_gen_toks: 32}
repeats: 1
num_fewshot: 1
filter_list:
  - name: strict-match
    filter: [{function: regex, regex_pattern: "#### (\\\\-?[0-9\\\\.\\\\,]+)"}, {function: take_first}]
  - name: flexible-extract
    filter:
      - {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
      - {function: take_first}
metadata: {version: 3.0}
"""


def write_lines(name, rows):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def xwinograd(path):
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            lang, _, _, sentence, _, pronoun, candidates = line.rstrip("\n").split("\t")[:7]
            if lang != "jp" or len(rows) == COUNT:
                continue
            word = json.loads(pronoun)[0]
            options = json.loads(candidates)
            if sentence.count(word) != 1 or len(options) != 2:
                continue
            begin, end = sentence.split(word)
            if not begin or not end:
                continue
            rows.append({"option1": begin + options[0][0], "option2": begin + options[1][0], "end": end,
                         "label": 0 if options[0][3] else 1})
    write_lines("xwinograd_jp.jsonl", rows)


def jsonl(path, name, keys):
    with open(path, encoding="utf-8") as lines:
        rows = [{k: r[k] for k in keys} for r in map(json.loads, lines)]
    # Most characters are a token or more in a vocabulary of 1024.
    short = [r for r in rows if len("".join(map(str, r.values()))) < 300]
    write_lines(name + ".jsonl", short[:COUNT])
    write_lines(name + ".train.jsonl", short[COUNT:COUNT + 20])


def main():
    os.makedirs(OUT, exist_ok=True)
    xwinograd(sys.argv[1])
    jsonl(sys.argv[2], "jcommonsenseqa", ["question"] + [f"choice{i}" for i in range(5)] + ["label"])
    jsonl(sys.argv[3], "gsm8k", ["question", "answer"])
    for name, text in (("xwinograd_jp", XWINOGRAD), ("jcommonsenseqa", JCOMMONSENSEQA), ("gsm8k", GSM8K)):
        with open(os.path.join(OUT, name + ".yaml"), "w", encoding="utf-8") as out:
            out.write(text)

    import yaml
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    os.chdir(OUT)
    model = HFLM(pretrained=os.path.join(ROOT, "examples", "ja-math", "ja"), dtype="float32", device="cpu", batch_size=1)
    tasks = {}
    for name in ("xwinograd_jp", "jcommonsenseqa", "gsm8k"):
        with open(name + ".yaml", encoding="utf-8") as source:
            task = ConfigurableTask(config=yaml.safe_load(source))
        task.set_fewshot_seed(seed=1234)
        tasks[name] = task
    found = evaluate(lm=model, task_dict=tasks, log_samples=True)
    for name, samples in found["samples"].items():
        rows = {}
        for s in samples:
            row = rows.setdefault(s["doc_id"], {})
            if name == "gsm8k":
                row["prompt"] = s["arguments"][0][0]
                row["completion"] = s["resps"][0][0]
                row["exact_match@" + s["filter"]] = float(s["exact_match"])
            else:
                row["log_likelihoods"] = [float(r[0][0]) if isinstance(r[0], (list, tuple)) else float(r[0]) for r in s["resps"]]
                row["context"] = s["arguments"][0][0]
                row.update({m: float(s[m]) for m in ("acc", "acc_norm") if m in s})
        write_lines(name + ".lm_eval.jsonl", [rows[i] for i in sorted(rows)])
    print(json.dumps(found["results"], indent=1, default=str))


if __name__ == "__main__":
    main()
