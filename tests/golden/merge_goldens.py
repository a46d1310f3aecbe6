"""Writes the golden vectors of worker/merge with mergekit 0.1.5 itself.

    pip install mergekit==0.1.5 torch
    python tests/golden/merge_goldens.py [EVOLVED_DIR]

merge_vectors.json: every method on fp32 tensors of odd sizes, through mergekit.merge_methods.merge_tensors. DARE draws
random masks: torch.bernoulli is replaced by our own masks (masks.h), written here a second time from their definition, so
that the whole formula is compared and the masks' definition with it.

method_vectors.json: every other method, and every method's modes, on several shapes: see method_vectors() below.

zoo_evolved.json (only with EVOLVED_DIR, the family's published evolved merge): merge.json with a SHA-256 and the first 16
values of each tensor's bf16 bytes.
"""
import base64
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


def encode(tensor):
    """Base64 of the values' little-endian bytes; fp64 is rounded to fp32."""
    if tensor.dtype == torch.float64:
        tensor = tensor.to(torch.float32)
    return base64.b64encode(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).decode()


class Stable:
    """Sorting in mergekit with the tie rules of ours, where torch leaves the order of equal values open: the largest first,
    of equal ones the lowest index; ascending orders are that one backwards (breadcrumbs), or by index (della)."""

    def __enter__(self):
        self.argsort, self.sort, self.topk = torch.argsort, torch.sort, torch.topk
        torch.argsort = lambda x, dim=-1, descending=False: self.argsort(x, dim=dim, descending=descending, stable=True)
        torch.sort = self.backwards
        torch.topk = lambda x, k, largest: (None, self.argsort(x, descending=True, stable=True)[:k])

    def backwards(self, x, descending=False):
        indices = self.argsort(x, descending=True, stable=True)
        values = x[indices]
        if descending:
            return torch.return_types.sort((values, indices))
        return torch.return_types.sort((values.flip(0), indices.flip(0)))

    def __exit__(self, *_):
        torch.argsort, torch.sort, torch.topk = self.argsort, self.sort, self.topk


class OurRankedMasks(OurMasks):
    """The same for DELLA: element i is kept if the upper 24 bits of its word, as a fraction, are below its probability."""

    def __call__(self, probabilities):
        words = mask_words(self.seed, self.models.pop(0), self.tensor, probabilities.numel())
        uniform = torch.tensor([(w >> 8) * 2.0**-24 for w in words]).view(probabilities.shape)
        return (uniform < probabilities).to(probabilities.dtype)


SHAPES = {"matrix": [5, 23], "vector": [41], "kernel": [3, 4, 2, 5], "wide": [2, 70]}
SOURCES = ["a", "b", "c"]


def family(shape):
    """A base and three sources near it; some elements are the base's own, as in fine-tunes that touch a part."""
    generator = torch.Generator().manual_seed(len(shape) * 1000 + shape[0])
    base = torch.randn(shape, generator=generator)
    models = {"base": base}
    for name in SOURCES:
        delta = 0.3 * torch.randn(shape, generator=generator)
        models[name] = base + delta * (torch.rand(shape, generator=generator) < 0.8)
    return models


def method_vectors():
    """Cases {name, method, base, shape, own: parameters per source, whole: of the method, dtype, arithmetic, out}.

    arithmetic "fp32": what an exact computation gives. Methods on spheres are computed by mergekit in fp64, so that its
    own rounding does not count; the others in fp32.
    arithmetic "mergekit": mergekit's own computation in `dtype`, after torch.manual_seed(3)."""
    families = {name: family(shape) for name, shape in SHAPES.items()}
    spherical = {"slerp", "nuslerp", "multislerp", "karcher", "model_stock"}
    cases = []

    def add(method, tag, own, whole=None, base=True, shapes=("matrix", "vector", "kernel", "wide")):
        whole = whole or {}
        for shape in shapes:
            models = families[shape]
            names = SOURCES[: len(own)]
            parameters = dict(whole)
            for key in own[0]:
                parameters[key] = [o[key] for o in own]
            for arithmetic, dtype in (("fp32", torch.float32), ("mergekit", torch.float32), ("mergekit", torch.bfloat16),
                                      ("mergekit", torch.float16)):
                if arithmetic == "mergekit" and shape != "matrix" and dtype != torch.bfloat16:
                    continue
                exact = arithmetic == "fp32" and method in spherical
                inputs = [models[n].to(dtype) for n in (["base"] if base else []) + names]
                if exact:
                    inputs = [x.double() for x in inputs]
                kwargs = {"base_index": 0} if base else {}
                random = method in ("dare_linear", "dare_ties", "della", "della_linear")
                torch.manual_seed(3)
                with Stable():
                    if random and arithmetic == "fp32":
                        masked = [n for n, o in zip(names, own) if 0 < o["density"] < 1]
                        kind = OurRankedMasks if method.startswith("della") else OurMasks
                        with kind(11, "model.norm.weight", masked) as masks:
                            masks.density = {n: o["density"] for n, o in zip(names, own)}
                            out = merge_tensors(inputs, method, parameters=parameters, **kwargs)
                    else:
                        out = merge_tensors(inputs, method, parameters=parameters, **kwargs)
                cases.append({"name": f"{method}_{tag}_{shape}_{arithmetic}_{str(dtype)[6:]}", "method": method,
                              "base": base, "shape": shape, "own": own,
                              "whole": {k: float(v) for k, v in whole.items()}, "dtype": str(dtype)[6:],
                              "arithmetic": arithmetic,
                              "out": encode(out if exact else out.to(dtype))})

    two = [{"weight": 0.6}, {"weight": 0.4}]
    three = [{"weight": 0.7}, {"weight": -0.2}, {"weight": 0.9}]

    def with_density(weights, densities, **more):
        return [{**w, "density": d, **{k: v[i] for k, v in more.items()}} for i, (w, d) in enumerate(zip(weights, densities))]

    few = ("matrix", "vector")
    add("linear", "normalized", three, base=False, shapes=few)
    add("linear", "plain", two, {"normalize": False}, base=False, shapes=few)
    add("task_arithmetic", "three", three, {"lambda": 0.7}, shapes=few)
    add("task_arithmetic", "normalized", three, {"normalize": True}, shapes=few)
    for method in ("ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties"):
        add(method, "default", with_density(two, [0.45, 0.7]))
        add(method, "rescaled", with_density(three, [0.29, 0.6, 0.8]), {"rescale": True, "lambda": 1.3}, shapes=few)
        add(method, "plain", with_density(three, [0.5, 1.0, 0.3]), {"rescale": False, "normalize": False}, shapes=few)
        add(method, "normalized", with_density(two, [0.5, 0.9]), {"normalize": True}, shapes=few)
    for method in ("breadcrumbs", "breadcrumbs_ties"):
        add(method, "gamma", with_density(two, [0.4, 0.95], gamma=[0.15, 0.3]))
        add(method, "none_left", with_density(two, [0.001, 0.5], gamma=[0.1, 0.0]), shapes=few)
    for method in ("della", "della_linear"):
        add(method, "default", with_density(two, [0.45, 0.7]))
        add(method, "epsilon", with_density(three, [0.3, 0.6, 0.85], epsilon=[0.2, 0.05, 0.1]), {"lambda": 0.8})
        add(method, "plain", with_density(three, [0.5, 1.0, 0.0]), {"rescale": False, "normalize": False}, shapes=few)
    for topk in (1.0, 0.5, 0.1):
        add("sce", f"topk_{int(topk * 100)}", [{}, {}, {}], {"select_topk": topk})
    add("sce", "two", [{}, {}], {"select_topk": 0.7}, shapes=few)
    for t in (0.0, 0.35, 1.0, 1.2):
        add("slerp", f"t_{int(t * 100)}", [{}], {"t": t}, shapes=few)
    for base in (True, False):
        tag = "base" if base else "plain"
        add("nuslerp", tag, two, base=base)
        add("nuslerp", tag + "_rows", two, {"nuslerp_flatten": False}, base=base)
        add("nuslerp", tag + "_columns", two, {"nuslerp_flatten": False, "nuslerp_row_wise": True}, base=base)
        add("nuslerp", tag + "_opposite", [{"weight": 0.5}, {"weight": -0.5}], base=base, shapes=few)
        add("multislerp", tag, three, base=base)
        add("multislerp", tag + "_raw_weights", two, {"normalize_weights": False}, base=base, shapes=few)
    add("karcher", "default", [{}, {}, {}], base=False)
    add("karcher", "two_iterations", [{}, {}], {"max_iter": 2, "tol": 1e-3}, base=False, shapes=few)
    add("model_stock", "default", [{}, {}, {}])
    add("model_stock", "filter_wise", [{}, {}], {"filter_wise": True})
    for t in (0.1, 0.01):
        add("nearswap", f"t_{int(t * 100)}", [{}], {"t": t}, shapes=few)
    add("arcee_fusion", "default", [{}])
    add("ram", "default", [{}, {}, {}], shapes=few)
    add("ram", "epsilon", [{}, {}, {}], {"epsilon": 0.1}, shapes=few)
    add("ramplus_tl", "default", [{}, {}, {}], shapes=few)
    add("ramplus_tl", "large", [{}, {}], {"epsilon": 0.15, "r": 0.5, "alpha": 3.0}, shapes=few)
    add("passthrough", "scaled", [{"scale": 0.7}], base=False, shapes=few)
    document = {"tensor": "model.norm.weight", "mask_seed": 11, "shapes": SHAPES, "seed": 3,
                "inputs": {s: {n: encode(x) for n, x in models.items()} for s, models in families.items()}, "cases": cases}
    (OUT / "method_vectors.json").write_text(json.dumps(document) + "\n")
    print("method_vectors.json:", len(cases), "cases")


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
    method_vectors()
    if len(sys.argv) > 1:
        evolved(sys.argv[1])
