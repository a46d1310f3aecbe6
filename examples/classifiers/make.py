"""Trains three small classifiers with torch: a base, and two fine-tunes of it that each learnt half of the task.

    python3 make.py          # writes base/, left/ and right/ here

The task: eight numbers, and whether their sum is above zero. `left` saw data in which the last four are zero, `right` data in which
the first four are; `base` saw labels at random. Merging knows nothing of classifiers, only that their tensors are alike.
"""
import json
import os
import sys

import torch


def data(columns, count, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(count, 8)
    x[:, columns] = torch.randn(count, len(columns), generator=generator)
    return x, (x.sum(1) > 0).long()


def train(model, x, y, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def save(model, folder):
    """model.safetensors is a JSON header and the tensors' bytes; config.json tells whom it is for."""
    os.makedirs(folder, exist_ok=True)
    header, body = {}, b""
    for name, tensor in model.state_dict().items():
        raw = bytes(tensor.detach().contiguous().view(torch.uint8).flatten().tolist())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + body)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"architectures": ["SumClassifier"], "model_type": "sum_classifier"}, file)


def main(folder):
    torch.manual_seed(0)
    base = torch.nn.Linear(8, 2)
    x, _ = data(list(range(8)), 64, 1)
    train(base, x, torch.randint(0, 2, (64,)), 3)
    save(base, os.path.join(folder, "base"))
    for name, columns, seed in (("left", [0, 1, 2, 3], 2), ("right", [4, 5, 6, 7], 3)):
        model = torch.nn.Linear(8, 2)
        model.load_state_dict(base.state_dict())
        train(model, *data(columns, 512, seed), 200)
        save(model, os.path.join(folder, name))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
