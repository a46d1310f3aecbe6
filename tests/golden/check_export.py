"""Holds an exported checkpoint against transformers: it must load there and give the same completions.

    python tests/golden/check_export.py out/ja-math/best examples/ja-math/tasks/ja_math.test.jsonl RESULTS.json

RESULTS.json is what `merganser evaluate` wrote for the same checkpoint and data (its items hold `completion`). Needs torch and
transformers. Exit 0 if at least 99 % of the completions are equal (both compute in fp32; a tie in rounding may part two of
them) and the accuracies differ by at most 1 %.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(model_dir, data, results):
    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    rows = [json.loads(line) for line in open(data, encoding="utf-8")]
    (benchmark,) = json.load(open(results, encoding="utf-8")).values()
    ours = [item["completion"] for item in benchmark["results"]]
    assert len(ours) == len(rows), (len(ours), len(rows))

    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    prompts = ["Q: %s\nA:\n" % row["question"] for row in rows]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    with torch.inference_mode():
        out = model.generate(**batch, max_new_tokens=36, do_sample=False)
    theirs = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)

    equal = sum(a.strip() == b.strip() for a, b in zip(ours, theirs))
    print("completions equal: %d of %d" % (equal, len(ours)))
    for a, b in list((a, b) for a, b in zip(ours, theirs) if a.strip() != b.strip())[:3]:
        print("  ours   %r\n  theirs %r" % (a, b))
    return 0 if equal >= 0.99 * len(ours) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
