#!/usr/bin/env python3
"""Two small SentencePiece models, and what transformers makes of directories that hold nothing else, for
tests/worker/text/sentencepiece_test.cc.

    python tests/golden/sentencepiece_goldens.py             # writes tests/worker/text/testdata/sentencepiece
    python tests/golden/sentencepiece_goldens.py DIR [FILE]  # DIR with a tokenizer.model of your own: what it gives for the same
                                                             # texts, to FILE or stdout (`MERGANSER_SENTENCEPIECE=FILE` tests it)

The models are trained on this project's own examples (examples/ja-math/tasks), so they are under its licence. Needs transformers
and sentencepiece.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import sentencepiece
import transformers
from transformers import AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/worker/text/testdata/sentencepiece"

TEXTS = ["", " ", "a", "Hello world", "Hello  world", "  two spaces first", "trailing  ", "line\nbreak\n\ttab", "答えは18です。",
         "トムはボールを５個持っています。", "ｶﾀｶﾅ と full－width ＡＢＣ", "emoji 😀 and \u200b zero width", "<s>spelt</s> out", "x<usr>y <usr> z",
         "<ctl>begin", "▁already", "a▁b", "<unk>", "[PAD] pad", "<extra> one<extra>two", "3 + 4 = 7", "\u0000\u0007", "e\u0301 combining",
         "２人で３個ずつ、Alice has 6 apples 🍎🍎です", "家族👨‍👩‍👧\t旗🏳️‍🌈\r\n", "吾輩は猫である。名前はまだ無い。", "[SEP]前[SEP] 後 <extra_id_0>.",
         "　全角　空白　", "<s>", "</s> </s>end"]

SPECIAL = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
DECLARED = {"0": {"content": "<unk>", **SPECIAL}, "1": {"content": "<s>", **SPECIAL}, "2": {"content": "</s>", **SPECIAL}}


def cases(size):
    llama = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    objects = {name: {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True, "rstrip": False,
                      "single_word": False} for name, text in (("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"))}
    more = {str(size): {"content": "<extra>", **SPECIAL, "lstrip": True},
            str(size + 1): {"content": "[PAD]", **SPECIAL, "special": True}}
    return [
        ("llama", "bpe.model", {"tokenizer_config.json": {**llama, **objects}}),
        ("llama_legacy", "bpe.model", {"tokenizer_config.json": {
            **llama, "legacy": True, "add_eos_token": True, "pad_token": "[PAD]", "added_tokens_decoder": {**DECLARED, **more}}}),
        ("llama_new_token", "bpe.model", {"tokenizer_config.json": {**llama, "pad_token": "[PAD]", "tokenizer_class": "LlamaTokenizerFast"},
                                          "config.json": {"model_type": "llama"}}),
        ("llama_no_prefix", "bpe.model", {"tokenizer_config.json": {**llama, "add_prefix_space": False}}),
        ("mistral", "bpe.model", {"tokenizer_config.json": {**llama, "legacy": True, "added_tokens_decoder": DECLARED},
                                  "config.json": {"model_type": "mistral"}}),
        ("mistral_new", "bpe.model", {"tokenizer_config.json": {**llama, "legacy": False, "added_tokens_decoder": DECLARED},
                                      "config.json": {"model_type": "mistral"}}),
        ("bare", "bpe.model", {"config.json": {"model_type": "llama"}}),
        ("gemma", "bpe.model", {"tokenizer_config.json": {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<s>",
                                                          "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>",
                                                          "mask_token": "<usr>"}}),
        ("unigram", "unigram.model", {"config.json": {"model_type": "llama"}}),
        ("unigram_declared", "unigram.model", {"tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": True, "eos_token": "</s>", "unk_token": "<unk>"}}),
        # As the older Japanese models have it: T5Tokenizer, special tokens in a file of their own, spiece.model.
        ("t5_japanese", "unigram.model", {
            "tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": [],
                                      "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "[PAD]"},
            "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "[SEP]",
                                        "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"},
            "config.json": {"model_type": "gpt_neox"}}, "spiece.model"),
        ("t5", "unigram.model", {"tokenizer_config.json": {"tokenizer_class": "T5TokenizerFast", "add_bos_token": True}}, "spiece.model"),
        ("t5_few", "unigram.model", {"tokenizer_config.json": {
            "tokenizer_class": "T5Tokenizer", "extra_ids": 2, "eos_token": "<usr>",
            "added_tokens_decoder": {str(size + 2): {"content": "<extra>", **SPECIAL, "special": False}}}}),
        ("t5_bpe", "bpe.model", {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}}),
        ("llama_unigram", "unigram.model", {"tokenizer_config.json": llama}),
        ("mistral_unigram", "unigram.model", {"tokenizer_config.json": llama, "config.json": {"model_type": "mistral"}}),
        # Before added_tokens_decoder: added_tokens.json, and special_tokens_map.json, which then wins.
        ("added_tokens", "bpe.model", {
            "tokenizer_config.json": {**llama, "eos_token": "<ctl>"}, "added_tokens.json": {"<extra>": size, "[PAD]": size + 1},
            "special_tokens_map.json": {"eos_token": {"content": "</s>", "lstrip": False, "normalized": True, "rstrip": False,
                                                      "single_word": False}, "pad_token": "[PAD]"}}),
        ("added_unigram", "unigram.model", {
            "added_tokens.json": {"<extra>": size, "[SEP]": size + 1}, "special_tokens_map.json": {"sep_token": "[SEP]"}}),
        ("map_unread", "bpe.model", {"tokenizer_config.json": {**llama, "added_tokens_decoder": DECLARED},
                                     "special_tokens_map.json": {"eos_token": "<ctl>", "pad_token": "[PAD]"}}),
        ("additional", "bpe.model", {"tokenizer_config.json": {**llama, "additional_special_tokens": ["<extra>"]}}),
        ("additional_unigram", "unigram.model", {"tokenizer_config.json": {"additional_special_tokens": ["<extra>"]}}),
        ("extra_special", "bpe.model", {"tokenizer_config.json": {**llama, "extra_special_tokens": ["<extra>"]}}),
    ]


def train():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder) / "text"
        lines = []
        for name in ("ja_math.train.jsonl", "en_math.train.jsonl"):
            path = ROOT / "examples/ja-math/tasks" / name
            if path.exists():
                lines += [json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines()[:1500]]
        text.write_text("\n".join(lines) + "\nHello world, this is a line of English words.\n    if a:\n        return  b  # two spaces\n" * 40, encoding="utf-8")
        rules = pathlib.Path(folder) / "rules.tsv"  # NFKC would make a file of a quarter of a megabyte
        rules.write_text("".join(f"{0xFF10 + i:X}\t{0x30 + i:X}\n" for i in range(10)) + "3000\t20\n200B\t\nFF76\t30AB\n", encoding="utf-8")
        common = dict(input=str(text), user_defined_symbols=["<usr>"], control_symbols=["<ctl>"], byte_fallback=True, vocab_size=420,
                      character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, num_threads=1)
        sentencepiece.SentencePieceTrainer.train(
            model_prefix=f"{folder}/bpe", model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True, split_digits=True, **common)
        sentencepiece.SentencePieceTrainer.train(
            model_prefix=f"{folder}/unigram", model_type="unigram", normalization_rule_tsv=str(rules), **common)
        for name in ("bpe", "unigram"):
            shutil.copy(f"{folder}/{name}.model", OUT / f"{name}.model")


def encodings(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        found.append({"text": text, "ids": ids, "with_special": tokenizer.encode(text, add_special_tokens=True),
                      "decoded": tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False),
                      "skipped": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)})
    return {"vocab_size": len(tokenizer), "bos_id": tokenizer.bos_token_id, "eos_id": tokenizer.eos_token_id, "encodings": found}


def write(value, file):
    json.dump(value, file, ensure_ascii=False, indent=None, separators=(",", ":"))
    file.write("\n")


def main():
    if len(sys.argv) > 1:
        files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in pathlib.Path(sys.argv[1]).glob("*.json")}
        file_name = next(n for n in ("tokenizer.model", "spiece.model") if (pathlib.Path(sys.argv[1]) / n).exists())
        found = {"name": "given", "model": str(pathlib.Path(sys.argv[1]).resolve() / file_name), "file": file_name, "files": files, **encodings(sys.argv[1])}
        with (open(sys.argv[2], "w", encoding="utf-8") if len(sys.argv) > 2 else sys.stdout) as file:
            write([found], file)
        return
    train()
    goldens = []
    for name, model, files, *rest in cases(sentencepiece.SentencePieceProcessor(model_file=str(OUT / "bpe.model")).get_piece_size()):
        file_name = rest[0] if rest else "tokenizer.model"
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(OUT / model, pathlib.Path(folder) / file_name)
            for file, content in files.items():
                (pathlib.Path(folder) / file).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            goldens.append({"name": name, "model": model, "file": file_name, "files": files, **encodings(folder)})
    with open(OUT / "cases.json", "w", encoding="utf-8") as file:
        write(goldens, file)
    print(f"{len(goldens)} cases with transformers {transformers.__version__}")


main()
