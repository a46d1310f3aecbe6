"""Writes tests/worker/merge/testdata/whole_models.json: whole small models merged by mergekit 0.1.5's run_merge, for
recipes with `arithmetic: mergekit`.

    pip install mergekit==0.1.5 torch
    python tests/golden/whole_model_goldens.py

The models are not kept: both sides make them from the words of masks.h (a second definition of them is in
merge_goldens.py). Element i of a tensor is, with w = word i of (seed 99, model, tensor) as a signed fraction of 2^31,
    base: 0.5 w;   others: base + 0.1 w, 0 where w < -0.5 (a fine-tune leaves some weights alone),
computed in fp32 and rounded to bf16. Results are kept as the first eight digits of the SHA-256 of each tensor's bytes, in the
order of the tensors' names.

Where mergekit leaves the order of equal magnitudes open, ours is put in its place (merge_goldens.py, Stable).
"""
import hashlib
import json
import pathlib
import shutil
import tempfile

import numpy as np
import torch
import yaml
from mergekit.config import ConditionalParameter, MergeConfiguration, evaluate_setting
from mergekit.io import LazyTensorLoader
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from safetensors.torch import save_file

from merge_goldens import OUT, Stable, splitmix64, stable_hash64

SEED = 5
LAYERS = 11  # so that layers.10 comes before layers.2
SIZES = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2,
             num_hidden_layers=LAYERS, max_position_embeddings=64, rms_norm_eps=1e-6)


def words(seed, model, tensor, count):
    """masks.h, all words at once."""
    key = splitmix64((seed + 0x9E3779B97F4A7C15 * stable_hash64(model)) & ((1 << 64) - 1))
    high = stable_hash64(tensor)
    n = (count + 3) // 4
    u32 = np.uint64(0xFFFFFFFF)
    c = [np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64), np.full(n, high & 0xFFFFFFFF, np.uint64),
         np.full(n, high >> 32, np.uint64)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & u32, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & u32]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, 1).reshape(-1)[:count].astype(np.uint32)


def fractions(model, tensor, shape):
    signed = words(99, model, tensor, int(np.prod(shape))).view(np.int32).astype(np.float32)
    return (signed * np.float32(2.0**-31)).reshape(shape)


def weights(model, tensor, shape):
    base = np.float32(0.5) * fractions("base", tensor, shape)
    if model == "base":
        return torch.from_numpy(base).bfloat16()
    w = fractions(model, tensor, shape)
    delta = np.where(w < np.float32(-0.5), np.float32(0), np.float32(0.1) * w)
    return torch.from_numpy(base + delta).bfloat16()


def shapes(family):
    hidden, inner, kv = SIZES["hidden_size"], SIZES["intermediate_size"], 8
    all_shapes = {"model.embed_tokens.weight": [SIZES["vocab_size"], hidden], "model.norm.weight": [hidden]}
    if family != "tied":
        all_shapes["lm_head.weight"] = [SIZES["vocab_size"], hidden]
    for layer in range(LAYERS):
        own = {"input_layernorm.weight": [hidden], "post_attention_layernorm.weight": [hidden],
               "self_attn.q_proj.weight": [hidden, hidden], "self_attn.k_proj.weight": [kv, hidden],
               "self_attn.v_proj.weight": [kv, hidden], "self_attn.o_proj.weight": [hidden, hidden],
               "mlp.gate_proj.weight": [inner, hidden], "mlp.up_proj.weight": [inner, hidden],
               "mlp.down_proj.weight": [hidden, inner]}
        if family == "qwen2":
            own |= {"self_attn.q_proj.bias": [hidden], "self_attn.k_proj.bias": [kv], "self_attn.v_proj.bias": [kv]}
        all_shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in own.items()}
    return all_shapes


CONFIGS = {"llama": ("LlamaForCausalLM", "llama", False), "mistral": ("MistralForCausalLM", "mistral", False),
           "qwen2": ("Qwen2ForCausalLM", "qwen2", False), "tied": ("LlamaForCausalLM", "llama", True)}


def write(family, directory):
    architecture, model_type, tied = CONFIGS[family]
    for model in ("base", "a", "b"):
        path = directory / family / model
        path.mkdir(parents=True)
        config = dict(SIZES, architectures=[architecture], model_type=model_type, tie_word_embeddings=tied, torch_dtype="bfloat16")
        (path / "config.json").write_text(json.dumps(config))
        save_file({n: weights(model, n, s) for n, s in shapes(family).items()}, path / "model.safetensors",
                  metadata={"format": "pt"})


def setting(value, name, tensor):
    """What mergekit gives the tensor for a parameter written as `value`: t is 0 outside of the layers."""
    layer = int(tensor.split(".")[2]) if tensor.startswith("model.layers.") else None
    if isinstance(value, list) and isinstance(value[0], dict):
        value = [ConditionalParameter.model_validate({"filter": None, **v}) for v in value]
    return evaluate_setting(tensor, value, 0.0 if layer is None else layer / (LAYERS - 1), validate=float)


def case(family, directory, tag, method, own, whole=None, dtype="bfloat16", base=True):
    whole = whole or {}
    names = ["a", "b"][: len(own)]
    root = directory / family
    config = {"merge_method": method, "dtype": dtype, "models": [
        {"model": str(root / n), "parameters": o} if o else {"model": str(root / n)} for n, o in zip(names, own)]}
    if base:
        config["base_model"] = str(root / "base")
    if whole:
        config["parameters"] = whole
    out = directory / "out"
    with Stable():
        run_merge(MergeConfiguration.model_validate(config), str(out),
                  MergeOptions(random_seed=SEED, quiet=True, copy_tokenizer=False, write_model_card=False))
    loader = LazyTensorLoader.from_disk(str(out))
    digests, groups = [], []
    for tensor in sorted(shapes(family)):
        value = loader.get_tensor(tensor)
        assert str(value.dtype)[6:] == dtype, (tensor, value.dtype)
        digests.append(hashlib.sha256(value.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()[:8])
        groups.append({"own": [{k: setting(v, k, tensor) for k, v in o.items()} for o in own],
                       "whole": {k: float(setting(v, k, tensor)) for k, v in whole.items()}})
    assert set(loader.index.tensor_paths) == set(shapes(family))
    shutil.rmtree(out)
    # Tensors with the same parameters share a group.
    distinct = []
    for group in groups:
        if group not in distinct:
            distinct.append(group)
    for entry in config["models"]:
        entry["model"] = pathlib.Path(entry["model"]).name
    if base:
        config["base_model"] = "base"
    return {"name": f"{family}_{tag}", "family": family, "method": method, "base": base, "sources": names, "dtype": dtype,
            "yaml": yaml.safe_dump(config, sort_keys=False), "groups": distinct,
            "group_of": [distinct.index(g) for g in groups], "sha256": digests}


def main():
    torch.set_num_threads(1)
    two = [{"weight": 0.6}, {"weight": 0.4}]
    dense = [{"weight": 0.6, "density": 0.55}, {"weight": 0.4, "density": 0.7}]
    gradient = [{"weight": [0.2, 0.9, 0.4], "density": [0.3, 0.8]},
                {"weight": [{"filter": "self_attn", "value": 0.8}, {"filter": "mlp", "value": [0.1, 0.5]}, {"value": 0.3}],
                 "density": 0.6}]
    cases = []
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        for family in CONFIGS:
            write(family, directory)
            add = lambda *args, **kwargs: cases.append(case(family, directory, *args, **kwargs))
            add("dare_ties", "dare_ties", dense)
            add("della", "della", dense)
            add("ties", "ties", dense)
            add("dare_linear_gradient_and_filters", "dare_linear", gradient, {"lambda": [1.0, 0.5]})
        family = "llama"
        add("dare_linear", "dare_linear", dense)
        add("della_linear", "della_linear", dense)
        add("della_gradient_and_filters", "della", gradient, {"normalize": False})
        add("dare_ties_plain_float32", "dare_ties", dense, {"rescale": False}, dtype="float32")
        add("della_plain_float32", "della", dense, {"rescale": False}, dtype="float32")
        add("dare_ties_float16", "dare_ties", dense, dtype="float16")
        add("breadcrumbs_ties", "breadcrumbs_ties", dense)
        add("task_arithmetic", "task_arithmetic", two, {"lambda": 0.9})
        add("linear", "linear", two, base=False)
        add("ram", "ram", [{}, {}])
        add("nearswap", "nearswap", [{}], {"t": 0.02})
        add("slerp_gradient", "slerp", [{}], {"t": [0.1, 0.9]})
        add("model_stock", "model_stock", [{}, {}])
        add("sce", "sce", [{}, {}], {"select_topk": 0.6})
    tensors = {f: [[n, s] for n, s in sorted(shapes(f).items())] for f in CONFIGS}
    document = {"seed": SEED, "tensors": tensors, "cases": cases}
    (OUT / "whole_models.json").write_text(json.dumps(document) + "\n")
    print("whole_models.json:", len(cases), "cases")


if __name__ == "__main__":
    main()
