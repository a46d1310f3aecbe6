#!/usr/bin/env python3
"""Writes Japanese word problems of the kind of examples/ja-math: more rows for measurements, none of them a row of that
example's train or test file.

    tests/bench/search/ja_problems.py --rows 600 --seed 1 rows.jsonl

The same rows, seed and example give the same file.
"""
import argparse
import json
import os
import random

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
TASKS = os.path.join(ROOT, "examples", "ja-math", "tasks")
NAMES = ["ケン", "ユキ", "太郎", "花子", "トム", "メアリー", "エミ", "ボブ"]
# thing, counter, whether it is eaten
THINGS = [("りんご", "個", True), ("みかん", "個", True), ("卵", "個", True), ("ケーキ", "個", True), ("クッキー", "枚", True),
          ("本", "冊", False), ("ノート", "冊", False), ("鉛筆", "本", False), ("カード", "枚", False), ("ボール", "個", False),
          ("コイン", "枚", False), ("花", "本", False), ("石", "個", False), ("カップ", "個", False)]
# sign, sentence, only for things that are eaten (or that are not)
EVENTS = [(+1, "{p}は{t}を{n}{c}もらいました。", None), (+1, "{p}は{q}から{t}を{n}{c}もらいました。", None),
          (+1, "{p}は{t}を{n}{c}買いました。", None), (+1, "{p}は{t}を{n}{c}見つけました。", None),
          (-1, "{p}は{q}に{t}を{n}{c}あげました。", None), (-1, "{p}は{t}を{n}{c}なくしました。", None),
          (-1, "{p}は{t}を{n}{c}売りました。", None), (-1, "{p}は{t}を{n}{c}食べました。", True),
          (-1, "{p}は{t}を{n}{c}使いました。", False)]
HAS = ["{p}は{t}を{n}{c}持っています。", "{p}は最初{t}を{n}{c}持っていました。"]
NOW = "{p}は今{t}を何{c}持っていますか。"
TOTAL = "二人は合わせて{t}を何{c}持っていますか。"
MORE = "{p}は{q}より{t}を何{c}多く持っていますか。"
KINDS = ["add", "sub", "total", "diff", "two"]
LARGEST = 29


def problem(rng):
    """One problem; its answer is none of the numbers in the question."""
    kind = rng.choice(KINDS)
    while True:
        p, q = rng.sample(NAMES, 2)
        thing, counter, eaten = rng.choice(THINGS)
        a, b, c = rng.randint(2, 15), rng.randint(2, 9), rng.randint(2, 9)

        def say(sentence, n=0, first=p, second=q):
            return sentence.format(p=first, q=second, t=thing, c=counter, n=n)

        def event(sign, n):
            return say(rng.choice([e for e in EVENTS if e[0] == sign and e[2] in (None, eaten)])[1], n)

        numbers = [a, b]
        if kind in ("add", "sub"):
            sign = 1 if kind == "add" else -1
            answer = a + sign * b
            sentences = [say(rng.choice(HAS), a), event(sign, b), say(NOW)]
        elif kind in ("total", "diff"):
            answer = a + b if kind == "total" else a - b
            sentences = [say(rng.choice(HAS), a), say(rng.choice(HAS), b, q, p), say(TOTAL if kind == "total" else MORE)]
        else:
            first, second = rng.choice([1, -1]), rng.choice([1, -1])
            middle = a + first * b
            answer = middle + second * c
            numbers.append(c)
            if middle < 1 or max(middle, answer) > LARGEST:
                continue
            sentences = [say(rng.choice(HAS), a), event(first, b), event(second, c), say(NOW)]
        if answer < 1 or answer in numbers:
            continue
        return {"question": "".join(sentences), "answer": answer, "kind": kind}


def problems(rows, seed, avoid):
    """`rows` problems of different questions, none of them in `avoid`."""
    rng = random.Random(seed)
    seen, out = set(avoid), []
    while len(out) < rows:
        one = problem(rng)
        if one["question"] not in seen:
            seen.add(one["question"])
            out.append(one)
    return out


def known_questions():
    questions = set()
    for part in ("train", "test"):
        with open(os.path.join(TASKS, f"ja_math.{part}.jsonl"), encoding="utf-8") as file:
            questions.update(json.loads(line)["question"] for line in file if line.strip())
    return questions


def write_rows(path, rows, seed):
    with open(path, "w", encoding="utf-8") as file:
        for row in problems(rows, seed, known_questions()):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.rows < 1:
        parser.error(f"--rows {options.rows} is below 1")
    write_rows(options.file, options.rows, options.seed)


if __name__ == "__main__":
    main()
