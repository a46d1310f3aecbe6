"""Whole merges by mergekit 0.1.5, for tests/worker/merge/mergekit_recipe_golden_test.cc.

Writes four small Llamas whose weights follow from a formula (the test makes the same ones), runs each
configuration below through mergekit in fp32 (random seed 0) and stores its tensors.

    python tests/golden/mergekit_recipe_goldens.py tests/worker/merge/testdata/mergekit_recipes.json

Needs mergekit==0.1.5, transformers, torch (CPU) and safetensors; no network.
"""
import json
import os
import sys
import tempfile

import torch
import yaml
from safetensors.torch import save_file

os.environ["HF_HUB_OFFLINE"] = "1"

HIDDEN, MLP, LAYERS, VOCAB = 4, 6, 4, 8
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB,
    "hidden_size": HIDDEN, "intermediate_size": MLP, "num_hidden_layers": LAYERS,
    "num_attention_heads": 2, "num_key_value_heads": 1, "torch_dtype": "float32",
    "tie_word_embeddings": False, "rms_norm_eps": 1e-6, "hidden_act": "silu",
}


def shapes():
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        yield p + "self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield p + "self_attn.k_proj.weight", (HIDDEN // 2, HIDDEN)
        yield p + "self_attn.v_proj.weight", (HIDDEN // 2, HIDDEN)
        yield p + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield p + "mlp.gate_proj.weight", (MLP, HIDDEN)
        yield p + "mlp.up_proj.weight", (MLP, HIDDEN)
        yield p + "mlp.down_proj.weight", (HIDDEN, MLP)
        yield p + "input_layernorm.weight", (HIDDEN,)
        yield p + "post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def value(model, tensor, element):
    """Distinct magnitudes, exact in fp32: k / 4096 with |k| < 4096."""
    k = (model * 7919 + tensor * 104729 + element * 15485863 + model * element * 32452843) % 8191
    return (k - 4095) / 4096.0


def write_model(folder, number):
    os.makedirs(folder)
    with open(f"{folder}/config.json", "w") as f:
        json.dump(CONFIG, f)
    tensors = {}
    for t, (name, shape) in enumerate(shapes()):
        n = 1
        for d in shape:
            n *= d
        values = [value(number, t, e) for e in range(n)]
        tensors[name] = torch.tensor(values, dtype=torch.float32).reshape(shape)
    save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})


CASES = {
    "linear_gradients_and_filters": """
models:
  - model: a
    parameters:
      weight:
        - {filter: self_attn, value: [0.1, 0.9, 0.5]}
        - {filter: mlp, value: [1, 0]}
        - {value: 0.7}
  - model: b
    parameters: {weight: [{filter: layers.2., value: 0.25}, {filter: embed, value: 2}]}
merge_method: linear
parameters: {weight: [0.3, 0.6], normalize: true}
""",
    "task_arithmetic_slices": """
slices:
  - sources:
      - {model: base, layer_range: [0, 2]}
      - {model: a, layer_range: [0, 2], parameters: {weight: [0.5, 1.5]}}
      - {model: b, layer_range: [0, 2]}
    parameters: {weight: 0.25}
  - sources:
      - {model: base, layer_range: [2, 4]}
      - {model: a, layer_range: [2, 4]}
      - {model: b, layer_range: [2, 4], parameters: {weight: [{filter: mlp, value: -1}]}}
merge_method: task_arithmetic
base_model: base
parameters: {weight: 0.75, lambda: [0.5, 1.0]}
""",
    "passthrough_slices": """
slices:
  - sources: [{model: a, layer_range: [0, 3]}]
  - sources: [{model: b, layer_range: [1, 4]}]
  - sources: [{model: a, layer_range: [3, 4]}]
  - sources: [{model: c, layer_range: [0, 0]}]
merge_method: passthrough
""",
    "linear_slices_of_other_layers": """
slices:
  - sources:
      - {model: a, layer_range: [0, 3]}
      - {model: b, layer_range: [1, 4], parameters: {weight: [{filter: layers.2., value: 3}, {value: 0.5}]}}
    parameters: {weight: [1, 2]}
  - sources:
      - {model: b, layer_range: [3, 4]}
      - {model: c, layer_range: [2, 3]}
    parameters: {weight: [0.25, 1]}
merge_method: linear
parameters: {normalize: [{filter: layers.1., value: false}, {value: true}]}
""",
    "ties_by_filters": """
models:
  - model: base
  - {model: a, parameters: {weight: 0.6, density: [{filter: mlp, value: 0.5}, {value: 1}]}}
  - {model: b, parameters: {weight: [0.4, 0.8], density: 1}}
  - {model: c, parameters: {weight: 0.3, density: [{filter: self_attn, value: 0.25}, {value: 0.75}]}}
merge_method: ties
base_model: base
parameters: {normalize: [{filter: lm_head, value: false}, {value: true}], lambda: 0.9, int8_mask: true}
""",
    "slerp_by_filters": """
slices:
  - sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]
merge_method: slerp
base_model: a
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
    - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
    - {value: 0.5}
""",
    # With mergekit's random masks, whose one stream runs through the slices (the test asks for its arithmetic).
    "draws_dare_ties_slices": """
slices:
  - sources:
      - {model: base, layer_range: [0, 2]}
      - {model: a, layer_range: [0, 2], parameters: {weight: [0.5, 1.5]}}
      - {model: b, layer_range: [0, 2], parameters: {density: [0.25, 1]}}
      - {model: c, layer_range: [0, 2], parameters: {weight: -0.5, density: 0.75}}
  - sources:
      - {model: base, layer_range: [2, 4]}
      - {model: a, layer_range: [2, 4]}
      - {model: b, layer_range: [2, 4]}
merge_method: dare_ties
base_model: base
parameters: {weight: 0.75, density: 0.5}
""",
    "draws_della_of_other_layers": """
slices:
  - sources:
      - {model: base, layer_range: [0, 2]}
      - {model: a, layer_range: [2, 4]}
      - {model: b, layer_range: [1, 3], parameters: {density: 0.75}}
  - sources:
      - {model: base, layer_range: [0, 2]}
      - {model: c, layer_range: [0, 2]}
merge_method: della
base_model: base
parameters: {weight: 0.5, density: 0.5, epsilon: 0.125, rescale: false}
""",
    "draws_dare_linear_of_a_part": """
slices:
  - sources:
      - {model: base, layer_range: [2, 4]}
      - {model: c, layer_range: [2, 4]}
      - {model: b, layer_range: [0, 2]}
  - sources:
      - {model: base, layer_range: [0, 1]}
      - {model: a, layer_range: [0, 1]}
      - {model: b, layer_range: [1, 2]}
merge_method: dare_linear
base_model: base
parameters: {weight: 0.5, density: 0.5, rescale: false}
""",
    # What we write of recipes of our own, word for word (the test says which): scaled paths, merged layers in slices.
    "written_scaled_path": """merge_method: passthrough
base_model: "a"
dtype: float32
out_dtype: bfloat16
slices:
  - sources:
      - model: "a"
        layer_range: [0, 1]
        parameters:
          scale:
            - {filter: "model.embed_tokens.weight", value: 1.25}
            - {filter: "mlp.down_proj.weight", value: 0.9}
  - sources:
      - model: "a"
        layer_range: [1, 2]
  - sources:
      - model: "b"
        layer_range: [1, 3]
        parameters:
          scale:
            - {filter: "mlp.down_proj.weight", value: 0.7}
  - sources:
      - model: "a"
        layer_range: [3, 4]
""",
    "written_path_of_a_merge": """merge_method: ties
base_model: "base"
dtype: float32
out_dtype: float32
parameters:
  lambda: 0.75
  normalize: true
  rescale: false
slices:
  - sources:
      - model: "base"
        layer_range: [0, 2]
      - model: "a"
        layer_range: [0, 2]
        parameters:
          weight:
            - {filter: "mlp.down_proj.weight", value: 0.25}
            - {filter: "mlp.gate_proj.weight", value: 0.25}
            - {filter: "mlp.up_proj.weight", value: 0.25}
            - {filter: "*", value: 0.5}
          density: 1.0
      - model: "b"
        layer_range: [0, 2]
        parameters:
          weight: 1.0
          density: 0.5
  - sources:
      - model: "base"
        layer_range: [1, 3]
      - model: "a"
        layer_range: [1, 3]
        parameters:
          weight:
            - {filter: "mlp.down_proj.weight", value: 0.25}
            - {filter: "mlp.gate_proj.weight", value: 0.25}
            - {filter: "mlp.up_proj.weight", value: 0.25}
            - {filter: "*", value: 0.5}
          density: 1.0
      - model: "b"
        layer_range: [1, 3]
        parameters:
          weight: 1.0
          density: 0.5
""",
    "written_other_layers_and_ends": """merge_method: linear
base_model: "a"
dtype: float32
out_dtype: float32
parameters:
  normalize: true
slices:
  - sources:
      - model: "a"
        layer_range: [0, 0]
        parameters:
          weight: 0.5
      - model: "b"
        layer_range: [0, 0]
        parameters:
          weight: 1.5
  - sources:
      - model: "c"
        layer_range: [2, 4]
        parameters:
          weight: 1.0
  - sources:
      - model: "a"
        layer_range: [0, 2]
        parameters:
          weight: 0.5
      - model: "b"
        layer_range: [1, 3]
        parameters:
          weight: 1.5
  - sources:
      - model: "c"
        layer_range: [0, 0]
        parameters:
          weight: 1.0
""",
}


def main(out):
    from mergekit.config import MergeConfiguration
    from mergekit.io import LazyTensorLoader
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    result = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, name in enumerate(["base", "a", "b", "c"]):
            write_model(name, number)
        for name, text in CASES.items():
            config = MergeConfiguration.model_validate(yaml.safe_load(text if "\ndtype: " in text else text + "dtype: float32\n"))
            run_merge(config, f"out-{name}", MergeOptions(random_seed=0, quiet=True, copy_tokenizer=False, write_model_card=False))
            loader = LazyTensorLoader.from_disk(f"out-{name}")
            tensors = {t: loader.get_tensor(t).flatten().tolist() for t in sorted(loader.index.tensor_paths)}
            layers = json.load(open(f"out-{name}/config.json"))["num_hidden_layers"]
            result[name] = {"yaml": text.lstrip("\n"), "layers": layers, "tensors": tensors}
    with open(out, "w") as f:
        f.write("{\n")
        for i, (name, case) in enumerate(result.items()):
            f.write(f"{json.dumps(name)}: {json.dumps(case)}" + (",\n" if i + 1 < len(result) else "\n"))
        f.write("}\n")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
