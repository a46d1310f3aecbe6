"""Merged vocabularies by mergekit 0.1.5, for tests/worker/merge/mergekit_vocabulary_golden_test.cc.

The small Llamas of mergekit_recipe_goldens.py, each with a tokenizer of its own, merged with a tokenizer block or
tokenizer_source. Stored are the tokenizers' tokens, each configuration, and the merged embedding's row of each token (mergekit
numbers the tokens of a union as Python's hash of the models' names pleases) and of the padding.

    python tests/golden/mergekit_vocabulary_goldens.py tests/worker/merge/testdata/mergekit_vocabularies.json

Needs mergekit==0.1.5, transformers, torch (CPU) and safetensors; no network.
"""
import json
import os
import sys
import tempfile

import yaml
from mergekit_recipe_goldens import write_model

# Ids from 0; a token that begins with "<" is an added, special one. "s" is everybody's; two or three models know "p" and "q".
TOKENIZERS = {
    "base": ["s", "only-base", "p", "x1", "x2", "x3", "x4", "<1>"],
    "a": ["q", "s", "p", "only-a", "x4", "x3", "<1>", "<a>"],
    "b": ["x2", "p", "q", "s", "x1", "only-b", "<1>", "<2>"],
    "c": ["x1", "x2", "s", "only-c", "x3", "q", "<2>", "<c>"],
}

LINEAR = """models:
  - {model: a, parameters: {weight: 0.5}}
  - {model: b, parameters: {weight: 1.5}}
  - {model: c, parameters: {weight: 1}}
merge_method: linear
"""
TASKS = """models:
  - {model: a, parameters: {weight: 0.5}}
  - {model: b, parameters: {weight: 0.75}}
  - {model: c, parameters: {weight: -0.25}}
merge_method: task_arithmetic
base_model: base
"""

CASES = {
    "union_without_a_base": LINEAR + "tokenizer_source: union\n",
    "union_of_a_base_that_the_method_ignores": LINEAR + "base_model: b\ntokenizer: {source: union, pad_to_multiple_of: 8}\n",
    "one_models_without_a_base": LINEAR + "tokenizer_source: b\n",
    "one_models_beside_a_base_that_the_method_ignores": LINEAR + "base_model: c\ntokenizer_source: b\n",
    "the_base_that_the_method_ignores": LINEAR + "base_model: c\ntokenizer_source: base\n",
    "union_on_task_vectors": TASKS + "tokenizer_source: union\n",
    "one_models_on_task_vectors": TASKS + "tokenizer: {source: b}\n",
    "the_bases_on_task_vectors": TASKS + "tokenizer_source: base\n",
    "rules_of_tokens": LINEAR + """tokenizer:
  source: union
  pad_to_multiple_of: 4
  tokens:
    p: {source: b, force: true}
    x1: {source: {kind: model_token, model: c, token: x2}}
    x3: {source: {kind: model_token, model: a, token_id: 1}}
    "<2>": {source: {kind: zero}}
    new: {source: {kind: model_token, model: a, token: q}}
""",
}


def write_tokenizer(folder, tokens):
    plain = [token for token in tokens if not token.startswith("<")]
    added = [{"id": tokens.index(token), "content": token, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for token in tokens if token.startswith("<")]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "vocab": {token: tokens.index(token) for token in plain}, "merges": []}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
             "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model}
    with open(f"{folder}/tokenizer.json", "w") as f:
        json.dump(whole, f)
    with open(f"{folder}/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast"}, f)


def main(out):
    from mergekit.config import MergeConfiguration
    from mergekit.io import LazyTensorLoader
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions
    from transformers import AutoTokenizer

    result = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, name in enumerate(TOKENIZERS):
            write_model(name, number)
            write_tokenizer(name, TOKENIZERS[name])
            assert AutoTokenizer.from_pretrained(name).get_vocab() == {t: i for i, t in enumerate(TOKENIZERS[name])}
        for name, text in CASES.items():
            config = MergeConfiguration.model_validate(yaml.safe_load(text + "dtype: float32\n"))
            run_merge(config, f"out-{name}", MergeOptions(quiet=True, write_model_card=False))
            rows = LazyTensorLoader.from_disk(f"out-{name}").get_tensor("model.embed_tokens.weight").tolist()
            ids = AutoTokenizer.from_pretrained(f"out-{name}").get_vocab()
            result[name] = {"yaml": text, "rows": {token: rows[i] for token, i in sorted(ids.items())},
                            "padding": rows[len(ids):]}
    with open(out, "w") as f:
        f.write(f'{{\n"tokenizers": {json.dumps(TOKENIZERS)},\n"cases": {{\n')
        f.write(",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in result.items()))
        f.write("\n}\n}\n")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
