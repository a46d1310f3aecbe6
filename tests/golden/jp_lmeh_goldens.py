"""JP-LMEH's own task classes and evaluator on small data: what the built-in benchmarks of that set are held to.

    python tests/golden/jp_lmeh_goldens.py HARNESS DATA

HARNESS: Stability-AI/lm-evaluation-harness, branch jp-stable (MIT). DATA: a folder with jglue (yahoojapan/JGLUE:
jcommonsenseqa-v1.3/{train,valid}-v1.3.json, jnli-v1.1/valid-v1.1.json, jsquad-v1.3/valid-v1.3.json), mgsm (mgsm_ja.tsv,
exemplars.json) and xwinograd (dataset.tsv). Writes tests/worker/benchmark/testdata/jp_lmeh: the data that the test reads, and
GOLDEN.jsonl of each run: a line about the run with the evaluator's results, then a line a sample with the requests that the harness
sends, in its order, what a made-up model answers, and what the harness makes of it.

Needs fugashi 1.2.1, unidic-lite 1.0.8, neologdn, emoji, rouge_score, scikit-learn, sacrebleu, omegaconf, sqlitedict, tqdm. Neither
torch nor datasets: stand-ins load the files. A tokenizer of one token a character stands for the model's.
"""
import collections
import glob
import gzip
import hashlib
import json
import os
import random
import sys
import types

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "tests", "worker", "benchmark", "testdata", "jp_lmeh")
LIMIT = 12  # samples of a run


# --- Stand-ins for what the harness imports ---------------------------------------------------------------------------

def module(name, **attributes):
    made = types.ModuleType(name)
    made.__dict__.update(attributes)
    sys.modules[name] = made
    return made


class Metric:
    """datasets.Metric as far as JaSquad needs it."""

    def compute(self, predictions, references):
        return self._compute(list(predictions), list(references))


def install_stand_ins(harness, torch=False):
    sys.path.insert(0, harness)
    if not torch:
        torch = module("torch", Tensor=object)
        torch.nn = module("torch.nn")
        torch.nn.functional = module("torch.nn.functional")
    utils = types.SimpleNamespace(file_utils=types.SimpleNamespace(add_start_docstrings=lambda *text: lambda cls: cls))
    module("datasets", Metric=Metric, utils=utils, load_dataset=load_dataset, load_metric=load_metric)
    package = module("lm_eval.tasks")  # without importing every task
    package.__path__ = [os.path.join(harness, "lm_eval", "tasks")]
    package = module("lm_eval.models")
    package.__path__ = [os.path.join(harness, "lm_eval", "models")]


def load_metric(path):
    from lm_eval.jasquad import jasquad

    return jasquad.JaSquad()


DATASETS = {}  # (path, name): {split: rows}


def load_dataset(path, name=None, **_):
    return DATASETS[(path, name)]


# --- Data --------------------------------------------------------------------------------------------------------------

def json_lines(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def one_of(*paths):
    return next(path for path in paths if os.path.exists(path))


def squad(path):
    rows = []
    for article in json.load(open(path, encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = {"text": [a["text"] for a in qa["answers"]],
                           "answer_start": [a["answer_start"] for a in qa["answers"]]}
                rows.append({"id": qa["id"], "title": article["title"], "context": paragraph["context"],
                             "question": qa["question"], "answers": answers})
    return rows


def winograd(path):
    rows = []
    for line in open(path, encoding="utf-8"):
        lang, _, _, sentence, _, pronoun, candidates = line.rstrip("\n").split("\t")[:7]
        word, options = json.loads(pronoun)[0], json.loads(candidates)
        if lang == "jp" and sentence.count(word) == 1 and len(options) == 2 and options[0][0] != options[1][0]:
            rows.append({"sentence1": sentence.replace(word, options[0][0]),
                         "sentence2": sentence.replace(word, options[1][0]), "answer": "1" if options[0][3] else "2"})
    return rows


WORDS = ["時計", "雨", "東京", "新しい", "古い", "速い", "本", "映画", "電池", "ﾃﾞｻﾞｲﾝ", "色", "音", "ＡＢＣ", "値段", "駅", "海", "山", "川",
         "2023年", "百円", "政府", "会議", "選手", "大会", "発表した", "始まった", "見つかった", "壊れた", "届いた", "と言う"]


def made_up(rnd, sentences, words):
    return "".join("".join(rnd.choice(WORDS) for _ in range(rnd.randint(2, words))) + "。" for _ in range(sentences))


def synthetic():
    """Rows with the real columns of what may not or need not be copied."""
    rnd = random.Random(7)
    marc, jcola, jaqket, xlsum = [], [], [], []
    for i in range(60):
        marc.append({"sentence": made_up(rnd, rnd.randint(1, 3), 6), "label": int(rnd.random() < 0.2), "review_id": f"R{i}"})
        jcola.append({"uid": i, "source": "made up", "label": int(rnd.random() < 0.8), "diacritic": "",
                      "sentence": made_up(rnd, 1, 6)})
        texts = [made_up(rnd, rnd.randint(2, 4), 6) for _ in range(5)]
        answers = rnd.sample(WORDS, rnd.randint(1, 2))
        jaqket.append({"qid": f"QA-{i}", "question": made_up(rnd, 1, 4) + "何か?", "answers": {"text": answers, "answer_start": []},
                       "ctxs": {"id": [str(k) for k in range(5)], "title": rnd.sample(WORDS, 5), "text": texts,
                                "score": [1.0] * 5, "has_answer": [True] + [False] * 4}})
        xlsum.append({"id": str(i), "url": "", "title": rnd.choice(WORDS), "summary": made_up(rnd, 1, 9),
                      "text": made_up(rnd, rnd.randint(4, 12), 8)})
    for row in xlsum[::4]:  # an endless sentence
        row["text"] = "".join(rnd.choice(WORDS) for _ in range(60)) + "。" + row["text"]
    return marc, jcola, jaqket, xlsum


def write(name, rows):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def prepare(data, writes=True):
    jglue, hub = os.path.join(data, "jglue"), "shunk031/JGLUE"
    v13 = os.path.join(jglue, "jcommonsenseqa-v1.3")
    keep = ["question"] + [f"choice{i}" for i in range(5)] + ["label"]
    commonsense = [{k: r[k] for k in keep} for r in json_lines(os.path.join(v13, "valid-v1.3.json"))[:30]]
    commonsense_train = [{k: r[k] for k in keep} for r in
                         json_lines(one_of(os.path.join(v13, "train-v1.3.json"), os.path.join(v13, "train-v1.3.json.gz")))[:50]]
    labels = {"entailment": 0, "contradiction": 1, "neutral": 2}
    nli = [{"sentence1": r["sentence1"], "sentence2": r["sentence2"], "label": labels[r["label"]]}
           for r in json_lines(os.path.join(jglue, "jnli-v1.1", "valid-v1.1.json"))[:100]]
    questions = squad(os.path.join(jglue, "jsquad-v1.3", "valid-v1.3.json"))
    questions = [q for q in questions if len(q["context"]) < 160]
    marc, jcola, jaqket, xlsum = synthetic()
    tsv = [line.rstrip("\n").split("\t") for line in open(os.path.join(data, "mgsm", "mgsm_ja.tsv"), encoding="utf-8")][:30]
    exemplars = json.load(open(os.path.join(data, "mgsm", "exemplars.json"), encoding="utf-8"))["MGSM_EXEMPLARS"]["ja"]
    mgsm = [{"question": q, "answer": None, "answer_number": int(a.replace(",", ""))} for q, a in tsv]
    train = [{"question": exemplars[k]["q"], "answer": exemplars[k]["a"]} for k in sorted(exemplars, key=int)]
    DATASETS.update({
        (hub, "JCommonsenseQA"): {"validation": commonsense, "train": commonsense_train},
        (hub, "JNLI"): {"validation": nli[:40], "train": nli[40:]},
        (hub, "MARC-ja"): {"validation": marc[:20], "train": marc[20:]},
        (hub, "JSQuAD"): {"validation": questions[:30], "train": questions[30:60]},
        (hub, "JCoLA"): {"validation": jcola[:20], "train": jcola[20:]},
        ("kumapo/JAQKET", "v2.0"): {"validation": jaqket[:20], "train": jaqket[20:]},
        ("mkshing/xlsum_ja", None): {"test": xlsum[:20], "train": xlsum[20:]},
        ("polm-stability/xwinograd-ja", "jp"): {"test": winograd(os.path.join(data, "xwinograd", "dataset.tsv"))[:30]},
        ("juletxara/mgsm", "ja"): {"test": mgsm, "train": train},
    })
    for (_, name), splits in DATASETS.items() if writes else ():
        stem = {"JCommonsenseQA": "jcommonsenseqa", "JNLI": "jnli", "MARC-ja": "marc_ja", "JSQuAD": "jsquad", "JCoLA": "jcola",
                "v2.0": "jaqket_v2", None: "xlsum_ja", "jp": "xwinograd_ja", "ja": "mgsm_ja"}[name]
        if stem == "mgsm_ja":
            with open(os.path.join(OUT, "mgsm_ja.tsv"), "w", encoding="utf-8") as out:
                out.writelines(f"{q}\t{a}\n" for q, a in tsv)
            continue
        write(stem + ".data.jsonl", splits.get("validation") or splits["test"])
        if "train" in splits:
            write(stem + ".train.jsonl", splits["train"])


# --- The model ---------------------------------------------------------------------------------------------------------

class Characters:
    """A tokenizer of one token a character."""

    eos_token = "</s>"

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]

    def decode(self, tokens, skip_special_tokens=False):
        return "".join(map(chr, tokens))

    def tokenize(self, text):
        return list(text)


def number(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def variant(text, n):
    """Something like `text`: what normalisation makes equal to it, and what it does not."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    return [text, wide, " " + text + "　", "「" + text + "」。", text + "😀", text[: len(text) // 2], "", text + "です", text[::-1],
            "〜" + text + "ーー"][n % 10]


def make_model(max_length):
    from lm_eval.base import LM

    class MadeUp(LM):
        def __init__(self):
            super().__init__()
            self.tokenizer, self.max_length, self.max_gen_toks = Characters(), max_length, 256
            self.references, self.log = {}, collections.OrderedDict()

        def loglikelihood(self, requests):
            answers = []
            for context, continuation in requests:
                value = -(number(context + "\0" + continuation) % 4096) / 64
                self.log.setdefault(("ll", context, continuation), value)
                answers.append((value, False))
            return answers

        def loglikelihood_rolling(self, requests):
            raise NotImplementedError

        def greedy_until(self, requests):
            answers = []
            for context, _, *_ in requests:
                answers.append(variant(self.references[context], number(context)))
            return answers

    return MadeUp()


def harness_task(benchmark, name):
    from importlib import import_module

    if benchmark == "xwinograd_ja":
        return import_module("lm_eval.tasks.ja.xwinograd_ja").XWinogradJA()
    return import_module("lm_eval.tasks.ja." + name.split("-")[0]).construct_tasks()[name]()


# --- Runs --------------------------------------------------------------------------------------------------------------

def run(benchmark, name, shots, max_length, data, train, golden):
    from lm_eval import evaluator

    task = harness_task(benchmark, name)
    model = make_model(max_length)
    samples = []
    construct, process = task.construct_requests, task.process_results

    def constructing(doc, ctx):
        assert isinstance(ctx, str), ctx
        requests = construct(doc, ctx)
        requests = list(requests) if isinstance(requests, (list, tuple)) else [requests]
        context = requests[0].args[0]
        reference = doc.get("summary") or (doc.get("answers") or {}).get("text", [None])[0]
        if reference is None:
            reference = f"1+1で{doc.get('answer_number', '')}です。"
        model.references[context] = reference
        sample = {"context": context}
        if requests[0].request_type == "greedy_until":
            sample["new_tokens"] = requests[0].args[2]
        else:
            sample["continuations"] = [r.args[1] for r in requests]
        samples.append((doc, sample))
        return requests

    done = []

    def processing(doc, results):
        sample = samples[len(done)][1]
        done.append(doc)
        if "new_tokens" in sample:
            sample["completion"] = results[0]
        else:
            sample["log_likelihoods"] = [float(x[0] if isinstance(x, tuple) else x) for x in results]
            results = [tuple(x) if isinstance(x, list) else x for x in results]
        metrics = process(doc, results)
        sample["metrics"] = {k: float(v) for k, v in metrics.items() if isinstance(v, (bool, int, float))}
        if "answers" in doc:
            from lm_eval.jasquad import evaluate

            references = doc["answers"]["text"]
            sample["metrics"] = {
                "exact_match": float(evaluate.metric_max_over_ground_truths(evaluate.exact_match_score, results[0], references)),
                "f1": float(evaluate.metric_max_over_ground_truths(evaluate.f1_score, results[0], references))}
        if "summary" in doc:
            from lm_eval.tasks.ja import MecabTokenizer
            from rouge_score import rouge_scorer

            for unit, tokenizer in (("tokens", task.tokenizer), ("mecab", MecabTokenizer())):
                scorer = rouge_scorer.RougeScorer(["rouge2"], tokenizer=tokenizer)
                sample["metrics"][f"rouge2 {unit}"] = scorer.score(doc["summary"], results[0])["rouge2"].fmeasure
        return metrics

    task.construct_requests, task.process_results = constructing, processing
    import numpy

    numpy.random.seed(1234)  # as evaluator.simple_evaluate
    results = evaluator.evaluate(lm=model, task_dict={benchmark: task}, num_fewshot=shots, limit=LIMIT, bootstrap_iters=2)
    results = {k: float(v) for k, v in results["results"][benchmark].items() if not k.endswith("_stderr")}
    head = {"benchmark": benchmark, "task": name, "num_fewshot": shots, "max_length": max_length, "data": data,
            "train": train, "limit": LIMIT, "results": results}
    write(golden, [head] + [sample for _, sample in samples])


def main():
    harness, data = sys.argv[1:3]
    install_stand_ins(harness)
    os.makedirs(OUT, exist_ok=True)
    for old in glob.glob(os.path.join(OUT, "*.jsonl")):
        os.remove(old)
    prepare(data)
    wide = 1 << 20
    for benchmark, task, shots in (
        ("jcommonsenseqa", "jcommonsenseqa-1.1-0.3", 3), ("jcommonsenseqa_v02", "jcommonsenseqa-1.1-0.2.1", 3),
        ("jnli", "jnli-1.3-0.3", 3), ("jnli_v02", "jnli-1.3-0.2", 3),
        ("marc_ja", "marc_ja-1.1-0.3", 3), ("marc_ja_v02", "marc_ja-1.1-0.2", 3),
        ("jsquad", "jsquad-1.1-0.3", 2), ("jsquad_v02", "jsquad-1.2-0.2", 2),
        ("jcola", "jcola-0.2-0.3", 3), ("jcola_v00", "jcola-0.2-0.0", 3),
        ("jaqket_v2", "jaqket_v2-0.2-0.3", 1), ("jaqket_v2_v02", "jaqket_v2-0.2-0.2", 1),
        ("xlsum_ja", "xlsum_ja-1.0-0.3", 1), ("xlsum_ja_v00", "xlsum_ja-1.0-0.0", 1),
        ("xwinograd_ja", "xwinograd_ja", 0), ("mgsm_ja_alpaca", "mgsm-1.0-0.3", 5),
        ("mgsm_ja_v00", "mgsm-1.0-0.0", 5),
    ):
        stem = benchmark.replace("_v02", "").replace("_v00", "").replace("_alpaca", "")
        source = stem + (".tsv" if stem == "mgsm_ja" else ".data.jsonl")
        train = "" if stem in ("mgsm_ja", "xwinograd_ja") else stem + ".train.jsonl"
        run(benchmark, task, shots, wide, source, train, f"{benchmark}.golden.jsonl")
        tight = {"jaqket_v2": 510, "jaqket_v2_v02": 430, "xlsum_ja": 320, "xlsum_ja_v00": 220, "mgsm_ja_alpaca": 1150}
        if benchmark in tight:
            run(benchmark, task, shots, tight[benchmark], source, train, f"{benchmark}.tight.golden.jsonl")


if __name__ == "__main__":
    main()
