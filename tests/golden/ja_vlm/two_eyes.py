"""A search over two models that see and a Japanese one, whose export transformers can be asked about.

    python tests/golden/ja_vlm/two_eyes.py OUT_DIR      # torch, safetensors
    merganser run OUT_DIR/job.yaml --out OUT_DIR/out
    python tests/golden/check_vlm_export.py merganser OUT_DIR/out/best $'Q: <image>\\n{{question}}\\nA:\\n' OUT_DIR/some.jsonl

The second model is examples/ja-vlm's with noise on its vision tower and projector, 5 % of each tensor's deviation; some.jsonl has the
first 40 of the example's held-out questions.
"""
import json
import os
import shutil
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

EXAMPLE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "examples", "ja-vlm"))
JOB = """name: two-eyes
seed: 1
models:
  vlm:   {path: %(example)s/vlm}
  other: {path: other}
  ja:    {path: %(example)s/ja, rename: {"": "language_model."}}
space:
  parameter: {method: task_arithmetic, base: vlm, sources: [other, ja], granularity: layer, bounds: {weight: [0, 2]}}
optimizer: {cma_es: {preset: published}}
objectives: [{benchmark: pictures, metric: exact_match}]
benchmarks:
  pictures: {use: %(example)s/pictures.yaml}
budget: {candidates: 60}
held_out:
  pictures_test: {use: %(example)s/pictures.yaml, data: %(example)s/tasks/test.jsonl}
"""


def main():
    out = sys.argv[1]
    other = os.path.join(out, "other")
    shutil.copytree(os.path.join(EXAMPLE, "vlm"), other)
    file = os.path.join(other, "model.safetensors")
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    weights = load_file(file)
    random = torch.Generator().manual_seed(3)
    for name, x in weights.items():
        if "language_model" in name:
            continue
        wide = x.float()
        weights[name] = (wide + 0.05 * wide.std(unbiased=False) * torch.randn(wide.shape, generator=random)).to(x.dtype)
    os.remove(file)
    save_file(weights, file, metadata)
    with open(os.path.join(out, "job.yaml"), "w", encoding="utf-8") as job:
        job.write(JOB % {"example": EXAMPLE})
    with open(os.path.join(EXAMPLE, "tasks", "test.jsonl"), encoding="utf-8") as rows, \
            open(os.path.join(out, "some.jsonl"), "w", encoding="utf-8") as some:
        for _, line in zip(range(40), rows):
            row = json.loads(line)
            row["image"] = os.path.join(EXAMPLE, "tasks", row["image"])
            some.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
