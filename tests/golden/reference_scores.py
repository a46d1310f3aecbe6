#!/usr/bin/env python3
"""Turns JP-LMEH's per-item MGSM-JA logs into the completions files of tests/data/reference-scores.

Usage: reference_scores.py JP_LMEH_MODELS_DIR OUT_DIR

JP_LMEH_MODELS_DIR is `models/` of Stability-AI/lm-evaluation-harness, branch jp-stable
(effdbeaf742e74ea1787871e99272c12146ba346). Of each item it keeps what scoring needs: the question, the completion, the
answer, and JP-LMEH's own stored extraction and accuracy (`extracted_answer`, `acc`).
"""
import gzip
import json
import pathlib
import sys

LOGS = {
    "open-calm-1b": "cyberagent/cyberagent-open-calm-1b",
    "open-calm-3b": "cyberagent/cyberagent-open-calm-3b",
    "rinna-3.6b": "rinna/rinna-japanese-gpt-neox-3.6b",
    "rinna-3.6b-instruction-sft-v2": "rinna/rinna-japanese-gpt-neox-3.6b-instruction-sft-v2",
}
KEPT = ("question", "completion", "answer", "extracted_answer", "acc")


def main(models: pathlib.Path, out: pathlib.Path) -> None:
    for name, folder in LOGS.items():
        plain = models / folder / "result.mgsm.json"
        text = plain.read_bytes() if plain.exists() else gzip.open(f"{plain}.gz").read()
        (task,) = json.loads(text)["results"].values()
        with open(out / f"{name}.jsonl", "w", encoding="utf-8", newline="\n") as file:
            for item in task["details"]:
                kept = {key: item[key] for key in KEPT}
                file.write(json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
