"""Scores the classifier in $MERGANSER_MODEL_DIR: the last line of standard output is the score, as JSON."""
import json
import os

import torch


def load(path):
    with open(path, "rb") as file:
        raw = file.read()
    size = int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(bytearray(raw[8 + size + begin:8 + size + end]), dtype=torch.float32)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


model = torch.nn.Linear(8, 2)
model.load_state_dict(load(os.path.join(os.environ["MERGANSER_MODEL_DIR"], "model.safetensors")))
x = torch.randn(400, 8, generator=torch.Generator().manual_seed(7))
with torch.no_grad():
    print(json.dumps({"acc": (model(x).argmax(1) == (x.sum(1) > 0)).float().mean().item()}))
