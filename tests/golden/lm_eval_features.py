#!/usr/bin/env python3
"""What lm-evaluation-harness 0.4.13 itself makes of tasks that need no Python: the data and goldens of
tests/worker/benchmark/lm_eval_features_test.cc.

    python3 tests/golden/lm_eval_features.py

Writes the texts of this file as tasks and groups to tests/data/lm-eval/tasks, lets the harness build their prompts, answers them
with stored texts and log-likelihoods in place of a model, and writes the requests, per-sample values and metrics that it finds to
tests/data/lm-eval/tasks/goldens.json, with what its MultiChoiceRegexFilter and its BLEU, chrF and TER (sacrebleu) give by themselves.
Needs lm_eval 0.4.13, sacrebleu and scikit-learn; no model, no network.
"""
import hashlib
import json
import os
import random
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "tests", "data", "lm-eval", "tasks")

# Each key given twice has the last one's value.
TASKS = {
    "letters/_letters": """group: letters
task: [letters_warm, letters_cold]
aggregate_metric_list:
  - {metric: exact_match, weight_by_size: true}
""",
    "letters/base": """dataset_path: json
output_type: generate_until
test_split: test
doc_to_text: "{{question}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\n"
doc_to_target: "{{['(A)', '(B)', '(C)'][answer]}}"
doc_to_text: "{{question}}\\n(A) {{choices[0]}} (B) {{choices[1]}} (C) {{choices[2]}}"
gen_prefix: "The best answer is"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8, max_gen_toks: 16}
filter_list:
  - name: strict-match
    filter: [{function: take_first}]
  - name: flexible-extract
    filter:
      - {function: multi_choice_regex, group_select: 0, ignore_case: true, ignore_punctuation: true,
         regex_pattern: "(\\\\([A-Z]\\\\))", regexes_to_ignore: ["the "]}
      - {function: take_first}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}]
""",
    "letters/letters_warm": """include: base.yaml
task: letters_warm
tag: [coloured, warm]
dataset_kwargs: {data_files: {test: ../warm.jsonl}}
""",
    "letters/letters_cold": """include: base.yaml
task: letters_cold
tag: coloured
dataset_kwargs: {data_files: {test: ../cold.jsonl, shots: ../warm.jsonl}}
fewshot_split: shots
num_fewshot: 2
""",
    "choices/base": """dataset_path: json
dataset_kwargs: {data_files: {test: ../warm.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
    "choices/choices_cold": """include: base.yaml
task: choices_cold
tag: picked
dataset_kwargs: {data_files: {test: ../cold.jsonl}}
fewshot_split: test
num_fewshot: 2
""",
    "choices/choices_warm": """include: base.yaml
task: choices_warm
tag: picked
gen_prefix: "It is"
fewshot_config: {sampler: first_n, samples: [{question: "Snow?", choices: [white, black, red], answer: 0}]}
num_fewshot: 1
""",
    "choices/choices_yes": """task: choices_yes
dataset_path: json
dataset_kwargs: {data_files: {validation: ../cold.jsonl}}
output_type: multiple_choice
validation_split: validation
fewshot_split: validation
num_fewshot: 1
doc_to_text: "{{question}}\\n"
doc_to_choice: ["no", "yes"]
doc_to_target: "{{answer % 2}}"
metric_list: [{metric: f1, aggregation: f1}, {metric: acc, aggregation: mean}]
""",
    "endings/endings": """task: endings
dataset_path: json
dataset_kwargs: {data_files: {test: ../cold.jsonl}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{' ' + choices[answer]}}"
metric_list: [{metric: perplexity, aggregation: perplexity}, {metric: acc, aggregation: mean}]
""",
    "translations/translations": """task: translations
dataset_path: json
dataset_kwargs: {data_files: {test: ../translations.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{source}} ="
doc_to_target: target
metric_list:
  - {metric: bleu, aggregation: bleu, higher_is_better: true}
  - {metric: chrf, aggregation: chrf, higher_is_better: true}
  - {metric: chrf++, aggregation: chrf++, higher_is_better: true}
  - {metric: ter, aggregation: ter, higher_is_better: false}
generation_kwargs: {until: ["\\n"]}
""",
    "choices/choices_surprise": """include: base.yaml
task: choices_surprise
dataset_kwargs: {data_files: {test: ../cold.jsonl}}
metric_list: [{metric: acc_mutual_info}, {metric: acc}, {metric: brier_score}]
""",
    "votes/votes": """task: votes
dataset_path: json
dataset_kwargs: {data_files: {test: ../cold.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}} Vote:"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], do_sample: true, temperature: 0.5}
repeats: 6
filter_list:
  - name: score-first
    filter: [{function: regex, regex_pattern: "is (\\\\w+)"}, {function: take_first}]
  - name: maj@6
    filter: [{function: regex, regex_pattern: "is (\\\\w+)"}, {function: majority_vote}, {function: take_first}]
  - name: maj@4
    filter:
      - {function: take_first_k, k: 4}
      - {function: regex, regex_pattern: "is (\\\\w+)"}
      - {function: lowercase}
      - {function: majority_vote}
      - {function: take_first}
  - name: each
    filter: [{function: regex, regex_pattern: "is (\\\\w+)"}, {function: take_first_k, k: 5}]
  - name: letters
    filter:
      - {function: remove_whitespace}
      - {function: map, mapping_dict: {It is blue: blue, it is Green: green, it is violet: 7}, default_value: none}
      - {function: majority_vote}
      - {function: uppercase}
      - {function: lowercase}
      - {function: take_first}
metric_list: [{metric: exact_match, aggregation: mean}]
""",
    "votes/repeated": """include: votes.yaml
task: repeated
repeats: 2
filter_list: null
doc_to_target: "{{'It is ' + choices[answer]}}"
""",
    "all": """group: all_of_it
task:
  - picked
  - {task: endings, task_alias: ends}
  - group: inner
    task: [{task: choices_yes, num_fewshot: 2}]
aggregate_metric_list:
  - {metric: acc, weight_by_size: false}
  - {metric: acc_norm, filter_list: none}
""",
}

WARM = [
    ("Which is the colour of blood?", ["red", "blue", "dark red"], 0),
    ("Which is the colour of a sunflower?", ["Yellow", "green", "yellow-green"], 0),
    ("And of an orange?", ["grey", "orange", "pink (pale)"], 1),
]
COLD = [
    ("Which is the colour of the sea?", ["brown", "blue", "blue-black"], 1),
    ("Of grass?", ["green", "violet", "white"], 0),
    ("Of ice?", ["black", "red", "white."], 2),
    ("Of the night?", ["black", "bright", "gold"], 0),
    ("Of a plum?", ["white", "violet", "silver"], 1),
]
ANSWERS = ["(A)", " the answer is (B).", "It is BLUE-black!", " dark red", "Answer: C", "nothing", "Dark, red", "", "(B) or (C)",
           "violet (the first)", "so: A", "Black", "the the white", "is it (Z)?"]

VOTES = ["It is blue", "it is Green", "it is violet", "It is black", "it is white.", "so it is Blue", "none", "it is violet "]

TRANSLATIONS = [
    ("eins", "The quick brown fox, aged 3.5, jumps over the lazy dog.", "The quick brown fox (aged 3.5) jumped over a lazy dog."),
    ("zwei", "\"Yes\", said Mr. O'Neil - it's 1,000 km/h & more.", "&quot;Yes&quot;, says Mr O'Neil: it is 1,000 km/h &amp; more."),
    ("drei", "これは本です。", "これは ペンです。"),
    ("vier", "short", "short"),
    ("fünf", "Straße und Äpfel, 10-12 Stück...", "Strasse und Äpfel; 10-13 Stück.."),
    ("sechs", "an empty one", ""),
]


def write(name, text):
    path = os.path.join(OUT, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def lines(name, rows):
    write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def make_tasks():
    shutil.rmtree(OUT, ignore_errors=True)
    for name, text in TASKS.items():
        write(name + ".yaml", text)
    for name, rows in (("warm", WARM), ("cold", COLD)):
        lines(name + ".jsonl", [{"question": q, "choices": c, "answer": a} for q, c, a in rows])
    lines("translations.jsonl", [{"source": s, "target": t} for s, t, _ in TRANSLATIONS])


def number(text, of):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % of


FILTERS = [
    {"regex_pattern": r"(\([A-Z]\))", "ignore_case": True, "ignore_punctuation": True, "regexes_to_ignore": ["the "]},
    {"regex_pattern": r"(\([A-Z]\))", "group_select": -1, "fallback": "?"},
    {"regex_pattern": r"answer is (.)|so: (.)", "ignore_case": True},
    {"ignore_punctuation": True},
]


def filters():
    from lm_eval.filters.extraction import MultiChoiceRegexFilter

    docs = [{"choices": c} for _, c, _ in WARM + COLD] + [{"choices": ["a+b", "a", "„Ja“, (nein)", "B."]}]
    answers = ANSWERS + ["a+b", "is a", "„ja“ nein", "ja nein", ": D", "Ja, nein: a+b (B)"]
    found = []
    for kwargs in FILTERS:
        for doc in docs:
            filtered = MultiChoiceRegexFilter(**kwargs).apply([answers], [doc])[0]
            found.append({"filter": kwargs, "choices": doc["choices"], "answers": answers, "filtered": filtered})
    return found


def corpora():
    import sacrebleu

    pairs = [(p, [t]) for _, t, p in TRANSLATIONS]
    sets = [pairs, pairs[:1], pairs[1:3], pairs[3:4], pairs[5:], [pairs[4]] * 3]
    sets.append([("the cat sat on the mat - 3.", ["the cat is on the mat, 3-4.", "a cat sat upon the mat."]),
                 ("A <skipped>test-\nline\nof &lt;text&gt; & 'more' $5.00.", ["A test line of <text>, 'more' $5.", "testline $5.00"])])
    # Words in another order: TER moves them.
    rng = random.Random(7)
    for length in (3, 6, 12, 25, 60, 130):
        pairs = []
        for _ in range(4):
            words = [rng.choice("a b c d e f G h the of in".split()) + rng.choice(["", "", "1", "x"]) for _ in range(length)]
            other = list(words)
            for _ in range(1 + length // 8):
                begin, size = rng.randrange(len(other)), rng.randrange(1, 9)
                run = other[begin:begin + size]
                del other[begin:begin + size]
                to = rng.randrange(len(other) + 1)
                other[to:to] = run
            other = [rng.choice(words) if rng.random() < 0.1 else w for w in other if rng.random() < 0.95]
            pairs.append((" ".join(other), [" ".join(words), " ".join(words[::-1])]))
        sets.append(pairs)
    sets.append([("", ["one two"]), ("three", ["one"])])
    sets.append([("so many words", [""])])
    sets.append([("a " * 90, ["b a"]), ("b a", ["a " * 90])])
    found = []
    for pairs in sets:
        hyps, refs = [p for p, _ in pairs], list(zip(*(r for _, r in pairs)))
        found.append({"completions": hyps, "references": [r for _, r in pairs], "bleu": sacrebleu.corpus_bleu(hyps, refs).score,
                      "chrf": sacrebleu.corpus_chrf(hyps, refs).score,
                      "chrf++": sacrebleu.corpus_chrf(hyps, refs, word_order=2).score, "ter": sacrebleu.corpus_ter(hyps, refs).score})
    return found


def main():
    make_tasks()
    os.chdir(OUT)
    from lm_eval.api.model import LM
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    class Stored(LM):
        """Answers that depend on the request alone."""

        def loglikelihood(self, requests):
            return [(-1 - number("|".join(r.args), 4000) / 256, number("g" + r.args[1], 3) == 0) for r in requests]

        def loglikelihood_rolling(self, requests):
            raise NotImplementedError

        def generate_until(self, requests):
            translated = {s + " =": p for s, _, p in TRANSLATIONS}
            if requests[0].args[0].endswith(" Vote:"):
                return [VOTES[number(f"{r.args[0]} {i}", len(VOTES))] for i, r in enumerate(requests)]
            return [translated.get(r.args[0], ANSWERS[number(r.args[0], len(ANSWERS))]) for r in requests]

    # The files' folders are relative to the task's; the harness reads data from where it runs.
    for folder in ("letters", "choices", "endings", "translations", "votes"):
        os.makedirs(os.path.join(OUT, folder), exist_ok=True)
    manager = TaskManager(include_path=OUT, include_defaults=False)
    os.chdir(os.path.join(OUT, "letters"))
    goldens = {}
    for name in ("letters", "all_of_it", "translations", "choices_surprise", "votes", "repeated"):
        found = simple_evaluate(model=Stored(), tasks=[name], task_manager=manager, log_samples=True, bootstrap_iters=2)
        golden = {"metrics": {}, "tasks": {}}
        for key, results in {**found["results"], **found.get("groups", {})}.items():
            golden["metrics"][key] = {k: v for k, v in results.items() if isinstance(v, (int, float)) and "," in k}
        for task, samples in found["samples"].items():
            rows = {}
            for s in samples:
                row = rows.setdefault(s["doc_id"], {"requests": [list(a[:2]) for a in s["arguments"]], "values": {}})
                row["answers"] = s["resps"][0] if isinstance(s["resps"][0][0], str) else [r[0] for r in s["resps"]]
                for metric in s["metrics"]:
                    if isinstance(s[metric], (int, float)):
                        row["values"][metric + "," + s["filter"]] = float(s[metric])
            for row in rows.values():
                row["requests"] = [[a[0], a[1] if isinstance(a[1], str) else ""] for a in row["requests"]]
            golden["tasks"][task] = [rows[i] for i in sorted(rows)]
        goldens[name] = golden
    goldens["filters"], goldens["corpora"] = filters(), corpora()
    write("goldens.json", json.dumps(goldens, ensure_ascii=False, indent=1, default=str) + "\n")
    print(json.dumps({n: g["metrics"] for n, g in goldens.items() if "metrics" in g}, indent=1))


if __name__ == "__main__":
    main()
