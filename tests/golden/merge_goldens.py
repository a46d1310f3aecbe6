"""Writes the golden vectors of worker/merge with mergekit 0.1.5 itself.

    pip install mergekit==0.1.5 torch
    python tests/golden/merge_goldens.py [EVOLVED_DIR]

merge_vectors.json: every method on fp32 tensors of odd sizes, through mergekit.merge_methods.merge_tensors. DARE draws
random masks: torch.bernoulli is replaced by our own masks (masks.h), written here a second time from their definition, so
that the whole formula is compared and the masks' definition with it.

zoo_evolved.json (only with EVOLVED_DIR, the family's published evolved merge): merge.json with a SHA-256 and the first 16
values of each tensor's bf16 bytes.
"""
import hashlib
import json
import pathlib
import struct
import sys

import torch
from mergekit.merge_methods import merge_tensors

OUT = pathlib.Path(__file__).resolve().parents[1] / "worker" / "merge" / "testdata"
M64 = (1 << 64) - 1


def stable_hash64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & M64
    return h


def splitmix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def philox4x32(key, low, high):
    c = [low & 0xFFFFFFFF, low >> 32, high & 0xFFFFFFFF, high >> 32]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def mask_words(seed, model, tensor, count):
    key = splitmix64((seed + 0x9E3779B97F4A7C15 * stable_hash64(model)) & M64)
    high = stable_hash64(tensor)
    return [philox4x32(key, i // 4, high)[i % 4] for i in range(count)]


def values(tensor):
    return [float(v) for v in tensor.flatten()]


class OurMasks:
    """torch.bernoulli with the masks of masks.h; merge_tensors asks for one mask per model with density < 1, in order."""

    def __init__(self, seed, tensor, models):
        self.seed, self.tensor, self.models = seed, tensor, list(models)

    def __enter__(self):
        self.original = torch.bernoulli
        torch.bernoulli = self
        return self

    def __exit__(self, *_):
        torch.bernoulli = self.original

    def __call__(self, probabilities):
        model = self.models.pop(0)
        limit = int(float(self.density[model]) * 2.0**32)
        words = mask_words(self.seed, model, self.tensor, probabilities.numel())
        return torch.tensor([float(w < limit) for w in words]).view(probabilities.shape)


def vectors():
    generator = torch.Generator().manual_seed(7)
    shape = [5, 23]
    tensors = {name: torch.randn(shape, generator=generator) for name in ("base", "a", "b", "c")}
    for name in ("a", "b", "c"):
        tensors[name] = tensors["base"] + 0.3 * tensors[name]
    cases = []

    def add(name, method, weights, densities=None, **shared):
        models = ["a", "b", "c"][: len(weights)]
        parameters = {"weight": weights, **shared}
        if densities:
            parameters["density"] = densities
        if method == "linear":
            out = merge_tensors([tensors[m] for m in models], method, parameters=parameters)
        else:
            inputs = [tensors["base"]] + [tensors[m] for m in models]
            masked = [m for m, d in zip(models, densities or [1] * len(models)) if d < 1]
            with OurMasks(11, "model.norm.weight", masked) as masks:
                masks.density = dict(zip(models, densities or []))
                out = merge_tensors(inputs, method, base_index=0, parameters=parameters)
        assert out.dtype == torch.float32
        cases.append({"name": name, "method": method, "weights": weights, "densities": densities,
                      "shared": {k: float(v) for k, v in shared.items()}, "out": values(out)})

    add("linear_default_normalizes", "linear", [0.6, 0.9, 0.3])
    add("linear_plain", "linear", [0.6, 0.9, 0.3], normalize=False)
    add("linear_negative_weight", "linear", [1.4, -0.3])
    add("linear_one_source", "linear", [0.5])
    add("task_arithmetic", "task_arithmetic", [0.7, 0.4])
    add("task_arithmetic_normalized", "task_arithmetic", [0.7, 0.4], normalize=True)
    add("task_arithmetic_opposite_weights_normalized", "task_arithmetic", [0.7, -0.7], normalize=True)
    add("task_arithmetic_lambda", "task_arithmetic", [0.7, -1.2, 1.9], **{"lambda": 0.6})
    for density in (0.0, 0.003, 0.29, 0.5, 0.9, 1.0):
        tag = str(density).replace(".", "_")
        add(f"ties_density_{tag}", "ties", [0.6, 0.4, 0.8], [density, 0.7, density])
        add(f"ties_plain_density_{tag}", "ties", [0.6, -0.4], [density, density], normalize=False)
        add(f"ties_rescaled_density_{tag}", "ties", [0.6, 0.4], [density, 0.3], rescale=True)
    add("ties_lambda", "ties", [0.6, 0.4], [0.4, 0.6], **{"lambda": 1.7})
    for method in ("dare_linear", "dare_ties"):
        for density in (0.1, 0.5, 0.85, 1.0):
            tag = str(density).replace(".", "_")
            add(f"{method}_density_{tag}", method, [0.6, 0.4], [density, 0.3])
            add(f"{method}_no_rescale_density_{tag}", method, [0.6, -0.9, 0.2], [density, density, 0.5], rescale=False)
        add(f"{method}_normalized", method, [0.6, 0.9], [0.5, 0.6], normalize=True)
        add(f"{method}_opposite_weights_normalized", method, [0.6, -0.6], [0.5, 0.6], normalize=True)
        add(f"{method}_lambda", method, [0.6, 0.9], [0.5, 0.6], **{"lambda": 0.4})
    words = {"seed": 11, "model": "a", "tensor": "model.norm.weight", "first": mask_words(11, "a", "model.norm.weight", 24)}
    document = {"shape": shape, "tensor": "model.norm.weight", "mask_seed": 11, "mask_words": words,
                "inputs": {k: values(v) for k, v in tensors.items()}, "cases": cases}
    (OUT / "merge_vectors.json").write_text(json.dumps(document) + "\n")
    print("merge_vectors.json:", len(cases), "cases")


def evolved(directory):
    directory = pathlib.Path(directory)
    raw = (directory / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in sorted(header.items()):
        assert entry["dtype"] == "BF16"
        begin, end = entry["data_offsets"]
        data = raw[8 + size + begin:8 + size + end]
        tensors[name] = {"sha256": hashlib.sha256(data).hexdigest(), "first": list(struct.unpack("<16H", data[:32]))}
    document = {"merge": json.loads((directory / "merge.json").read_text()), "tensors": tensors}
    (OUT / "zoo_evolved.json").write_text(json.dumps(document) + "\n")
    print("zoo_evolved.json:", len(tensors), "tensors")


if __name__ == "__main__":
    vectors()
    if len(sys.argv) > 1:
        evolved(sys.argv[1])
