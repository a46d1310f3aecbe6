"""JP-LMEH's tasks on a real model, by that harness's own model class: what a benchmark run of ours is held to, tokens and all.

    python tests/golden/jp_lmeh_model_goldens.py HARNESS DATA

HARNESS, DATA and the packages as for jp_lmeh_goldens.py, which made the data; torch and transformers beside them. Runs
examples/ja-math/ja in fp32, whose 512 positions are too few for most of these prompts, so that they are cut as that harness
cuts them, and writes tests/worker/evaluate/testdata/jp_lmeh.jsonl: a line a sample.
"""
import json
import os
import sys

import jp_lmeh_goldens as goldens
import torch
import transformers

OUT = os.path.join(goldens.ROOT, "tests", "worker", "evaluate", "testdata", "jp_lmeh.jsonl")
MODEL = os.path.join(goldens.ROOT, "examples", "ja-math", "ja")


class Tokenizer:
    """The checkpoint's, with the signature that the tasks look for."""

    def __init__(self):
        self.inner = transformers.AutoTokenizer.from_pretrained(MODEL)
        self.eos_token, self.eos_token_id = self.inner.eos_token, self.inner.eos_token_id

    def encode(self, text, add_special_tokens=True):
        return self.inner.encode(text, add_special_tokens=add_special_tokens)

    def decode(self, tokens, skip_special_tokens=False):
        return self.inner.decode(tokens, skip_special_tokens=skip_special_tokens)

    def tokenize(self, text):
        return self.inner.tokenize(text)


def model():
    from lm_eval.base import CacheHook
    from lm_eval.models.gpt2 import HFLM

    lm = HFLM.__new__(HFLM)  # its own way of loading is of transformers 4
    lm.cache_hook = CacheHook(None)
    lm.gpt2 = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    lm.tokenizer = Tokenizer()
    lm.vocab_size, lm.batch_size_per_gpu, lm._device = 1024, 1, torch.device("cpu")
    return lm


def main():
    harness, data = sys.argv[1:3]
    goldens.install_stand_ins(harness, torch=True)
    goldens.prepare(data, writes=False)
    from lm_eval import evaluator

    lm, rows = model(), []
    for benchmark, name, shots in (
        ("jcommonsenseqa", "jcommonsenseqa-1.1-0.3", 3), ("jnli", "jnli-1.3-0.3", 3), ("jcola_v00", "jcola-0.2-0.0", 3),
        ("xwinograd_ja", "xwinograd_ja", 0), ("jsquad", "jsquad-1.1-0.3", 2),
        ("xlsum_ja_v00", "xlsum_ja-1.0-0.0", 1),
    ):
        task = goldens.harness_task(benchmark, name)
        process = task.process_results

        def processing(doc, results):
            kept = [x if isinstance(x, str) else float(x[0] if isinstance(x, tuple) else x) for x in results]
            row = {"benchmark": benchmark}
            row["completion" if isinstance(kept[0], str) else "log_likelihoods"] = kept[0] if isinstance(kept[0], str) else kept
            rows.append(row)
            return process(doc, results)

        task.process_results = processing
        evaluator.evaluate(lm=lm, task_dict={benchmark: task}, num_fewshot=shots, limit=goldens.LIMIT, bootstrap_iters=2)
    with open(OUT, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main()
