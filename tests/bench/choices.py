"""Multiple-choice samples per second of the engine, and beside them those of another build.

    python3 tests/bench/choices.py MODEL_DIR FILE.jsonl [--other ENGINE_BENCH] [--limit N] [--examples N] [--rounds N] [--compute bf16]

FILE has `question` and `choice0`, `choice1` ... in each line, as JGLUE's JCommonsenseQA. With --examples the first N of them, with
their answers, stand before each question. Rounds go by turns, and the best of each counts. Needs `tokenizers`. Prints JSON.
"""
import argparse
import json
import os
import subprocess
import tempfile

from tokenizers import Tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def choices_of(sample):
    return [sample[key] for key in sorted(sample) if key.startswith("choice")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--engine", default=os.path.join(ROOT, "build", "bin", "bench", "engine_bench"))
    parser.add_argument("--other", help="another engine_bench")
    parser.add_argument("--tokenizer", help="a directory whose tokenizer.json makes the tokens; MODEL_DIR unless given")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--examples", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sequences", type=int, default=96)
    parser.add_argument("--compute", default="fp32")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(os.path.join(args.tokenizer or args.model, "tokenizer.json"))
    with open(args.data, encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    ask = "質問：{question}\n選択肢：{options}\n回答：".format
    shots = ""
    for sample in samples[:args.examples]:
        choices = choices_of(sample)
        shots += ask(question=sample["question"], options="、".join(choices)) + choices[sample["label"]] + "\n\n"
    samples = samples[args.examples:]
    samples = samples[:args.limit] if args.limit else samples
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        tokens = {"context": 0, "choices": 0}
        for sample in samples:
            choices = choices_of(sample)
            context = shots + ask(question=sample["question"], options="、".join(choices))
            ids = tokenizer.encode(context).ids
            parts = [ids] + [tokenizer.encode(context + choice).ids[len(ids):] or [0] for choice in choices]
            tokens["context"] += len(ids)
            tokens["choices"] += sum(map(len, parts[1:]))
            file.write(" | ".join(" ".join(map(str, part)) for part in parts) + "\n")
        file.flush()
        engines = {"this": args.engine}
        if args.other:
            engines["other"] = args.other
        best = {}
        for _ in range(args.rounds):
            for name, engine in engines.items():
                out = subprocess.run([engine, args.model, file.name, "1", "2", str(args.threads), str(args.sequences), args.compute],
                                     check=True, stdout=subprocess.PIPE, text=True).stdout
                best[name] = max(best.get(name, 0), json.loads(out.strip().splitlines()[-1])["best_samples_per_second"])
    report = {"samples": len(samples), "tokens": tokens, "samples_per_second": best}
    if args.other:
        report["ratio"] = round(best["this"] / best["other"], 3)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
