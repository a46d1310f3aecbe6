"""The published scoring of EvoVLM-JP in Python, on stored outputs of real models: what ours is held to.

    python tests/golden/vlm_scores.py VLM_JA_DIR lid.176.ftz OUT.jsonl

VLM_JA_DIR holds turingmotors/heron's playground/data (japanese-heron-bench, llava-bench-ja). Needs rouge_score 0.1.2, fugashi,
unidic-lite 1.0.8, neologdn 0.5.2, emoji and fasttext. Each line has a reference ("answer"), an output ("completion") and what the
reference pipeline gives for them: `rouge` and `rouge_ja` (rouge1, rouge2, rougeL as F-measures, raw and under the language rule),
`p_ja` of the output and of the reference, and of every fourth output its words. The last line has the published aggregates: medians of
1000 bootstrap means of all of them, with numpy seeded by 0.
"""
import json
import os
import re
import sys

import emoji
import fasttext
import neologdn
import numpy as np
from fugashi import Tagger
from rouge_score import rouge_scorer, scoring

EMOJI = re.compile("[\U0001F600-\U0001F64F\U0001F300-\U0001F5FF\U0001F680-\U0001F6FF\U0001F1E0-\U0001F1FF\u2702-\u27B0]+")
KEYS = ("rouge1", "rouge2", "rougeL")
# sakana.md's three, which the published versions gave.
GOLDEN = [("青信号の色は青です。", "信号機の色は青色です。"), ("鯉のぼりが泳いでいます", "空に３匹のこいのぼりが、泳いでいる😀。"),
          ("白と黒のシマウマ", "シマウマ ～ が　２頭 います！！")]


class Words:
    def __init__(self):
        self.tagger = Tagger("-Owakati")

    def tokenize(self, text):
        text = EMOJI.sub("", "".join(c for c in text if not emoji.is_emoji(c)))
        return self.tagger.parse(" ".join(neologdn.normalize(text).split())).split()


def rows(folder):
    def read(name):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    heron = {row["question_id"]: row["text"] for row in read("japanese-heron-bench/answers_gpt4.jsonl")}
    for answer, completion in GOLDEN:
        yield "golden", answer, completion
    for name in ("claude3", "gemini"):
        for row in read("japanese-heron-bench/%s_0404_ja.jsonl" % name)[:103 if name == "claude3" else 8]:
            yield name, heron[row["question_id"]], row["text"]
    bench = {row["question_id"]: row for row in read("llava-bench-ja/qa90_gpt4_answers_ja.jsonl")}
    for i, row in enumerate(read("llava-bench-ja/sample_answers.jsonl")):
        # Some references in English, and some outputs that begin in English, so that the language rule has work.
        reference = bench[row["question_id"]]["text" if i % 9 == 0 else "text_JA"]
        yield "heron", reference, (row["text"] * 2 if i % 7 == 0 else "") + row["answer"][:12 if i % 7 == 0 else None]


def main():
    folder, model, out = sys.argv[1:4]
    language = fasttext.load_model(model)
    words = Words()
    scorer = rouge_scorer.RougeScorer(list(KEYS), tokenizer=words)

    def p_ja(text):
        for p, label in language.f.predict(text.replace("\n", "") + "\n", -1, 0.0, "strict"):
            if label == "__label__ja":
                return p
        return 0.0

    raw, ruled = scoring.BootstrapAggregator(), scoring.BootstrapAggregator()
    raw_ja = []
    lines = []
    for source, answer, completion in list(rows(folder))[:200]:
        scores = scorer.score(answer, completion)
        p_answer, p_completion = p_ja(answer), p_ja(completion)
        kept = "" if p_answer >= 0.5 and p_completion < 0.5 else completion
        scores_ja = scorer.score(answer, kept)
        raw.add_scores(scores)
        raw_ja.append(scores_ja)
        lines.append(dict(source=source, answer=answer, completion=completion, p_ja=p_completion, p_ja_answer=p_answer,
                          rouge={k: scores[k].fmeasure for k in KEYS}, rouge_ja={k: scores_ja[k].fmeasure for k in KEYS},
                          **({} if len(lines) % 4 else {"words": " ".join(words.tokenize(completion))})))
    for scores in raw_ja:
        ruled.add_scores(scores)
    np.random.seed(0)
    medians = {k: float(v.mid.fmeasure) for k, v in raw.aggregate().items()}
    np.random.seed(0)
    medians.update({k + "_ja": float(v.mid.fmeasure) for k, v in ruled.aggregate().items()})
    with open(out, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.write(json.dumps(dict(source="medians", medians=medians)) + "\n")
    print(len(lines), medians)


if __name__ == "__main__":
    main()
