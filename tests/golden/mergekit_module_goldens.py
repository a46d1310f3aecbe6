"""Merges of models of several modules by mergekit 0.1.5, for tests/worker/merge/mergekit_module_golden_test.cc.

Writes two small Mistral3ForConditionalGeneration (a Mistral beside a Pixtral tower) whose weights follow from a formula (the test
makes the same ones from the stored names and shapes), runs each configuration below through mergekit in fp32 and stores its tensors.

    python tests/golden/mergekit_module_goldens.py tests/worker/merge/testdata/mergekit_modules.json

Needs mergekit==0.1.5, transformers, torch (CPU) and safetensors; no network. (Of a LLaVA whose language model is stored under
`language_model.model.`, as transformers writes it, mergekit 0.1.5 loses the language model's tensors without an error.)
"""
import json
import os
import sys
import tempfile

import torch
import yaml
from mergekit_recipe_goldens import value
from safetensors.torch import save_file

HIDDEN, MLP, LAYERS, VOCAB = 4, 6, 4, 8
SEES, TOWER_LAYERS = 4, 3
CONFIG = {
    "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "torch_dtype": "float32",
    "tie_word_embeddings": False, "image_token_index": 7, "spatial_merge_size": 2,
    "text_config": {"model_type": "mistral", "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": MLP,
                    "num_hidden_layers": LAYERS, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2,
                    "tie_word_embeddings": False},
    "vision_config": {"model_type": "pixtral", "hidden_size": SEES, "intermediate_size": 6, "num_hidden_layers": TOWER_LAYERS,
                      "num_attention_heads": 2, "head_dim": 2, "patch_size": 2, "image_size": 4, "num_channels": 1},
}


def shapes():
    yield "language_model.model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(LAYERS):
        p = f"language_model.model.layers.{i}."
        for name, shape in (("self_attn.q_proj", (4, HIDDEN)), ("self_attn.k_proj", (2, HIDDEN)), ("self_attn.v_proj", (2, HIDDEN)),
                            ("self_attn.o_proj", (HIDDEN, 4)), ("mlp.gate_proj", (MLP, HIDDEN)), ("mlp.up_proj", (MLP, HIDDEN)),
                            ("mlp.down_proj", (HIDDEN, MLP)), ("input_layernorm", (HIDDEN,)), ("post_attention_layernorm", (HIDDEN,))):
            yield p + name + ".weight", shape
    yield "language_model.model.norm.weight", (HIDDEN,)
    yield "language_model.lm_head.weight", (VOCAB, HIDDEN)
    yield "vision_tower.patch_conv.weight", (SEES, 1, 2, 2)
    yield "vision_tower.ln_pre.weight", (SEES,)
    for i in range(TOWER_LAYERS):
        p = f"vision_tower.transformer.layers.{i}."
        for name, shape in (("attention.q_proj", (SEES, SEES)), ("attention.k_proj", (SEES, SEES)), ("attention.v_proj", (SEES, SEES)),
                            ("attention.o_proj", (SEES, SEES)), ("feed_forward.gate_proj", (6, SEES)), ("feed_forward.up_proj", (6, SEES)),
                            ("feed_forward.down_proj", (SEES, 6)), ("attention_norm", (SEES,)), ("ffn_norm", (SEES,))):
            yield p + name + ".weight", shape
    yield "multi_modal_projector.norm.weight", (SEES,)
    yield "multi_modal_projector.linear_1.weight", (HIDDEN, SEES)
    yield "multi_modal_projector.linear_2.weight", (HIDDEN, HIDDEN)
    yield "multi_modal_projector.patch_merger.merging_layer.weight", (SEES, 4 * SEES)


CASES = {
    # Each module's layers are counted on their own.
    "gradients": """
models:
  - {model: a, parameters: {weight: [0, 1]}}
  - {model: b, parameters: {weight: [{filter: vision_tower, value: [3, 1, 2]}, {value: [1, 0.5]}]}}
merge_method: linear
""",
    "modules": """
modules:
  text_decoder:
    models:
      - {model: a, parameters: {weight: [0.25, 1]}}
      - {model: b, parameters: {weight: [{filter: mlp, value: 2}]}}
    parameters: {weight: 0.75}
  vision_tower:
    models:
      - {model: a, parameters: {weight: [1, 0, 3]}}
      - {model: b}
  multi_modal_projector:
    models: [{model: a}, {model: b}]
    parameters: {weight: 0.125, normalize: false}
merge_method: linear
parameters: {weight: 1.5}
""",
    "modules_task_arithmetic": """
modules:
  text_decoder:
    models: [{model: a}, {model: b, parameters: {weight: 0.5}}]
  vision_tower:
    models: [{model: a}, {model: b, parameters: {weight: [0, 0.5]}}]
  multi_modal_projector:
    models: [{model: a}, {model: b, parameters: {weight: -0.25}}]
merge_method: task_arithmetic
base_model: a
""",
}


def main(out):
    from mergekit.config import MergeConfiguration
    from mergekit.io import LazyTensorLoader
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    os.environ["HF_HUB_OFFLINE"] = "1"
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, name in enumerate(["a", "b"]):
            os.makedirs(name)
            json.dump(CONFIG, open(f"{name}/config.json", "w"))
            tensors = {}
            for t, (tensor, shape) in enumerate(shapes()):
                n = torch.Size(shape).numel()
                tensors[tensor] = torch.tensor([value(number, t, e) for e in range(n)], dtype=torch.float32).reshape(shape)
            save_file(tensors, f"{name}/model.safetensors", metadata={"format": "pt"})
        for name, text in CASES.items():
            config = MergeConfiguration.model_validate(yaml.safe_load(text + "dtype: float32\n"))
            run_merge(config, f"out-{name}", MergeOptions(quiet=True, copy_tokenizer=False, write_model_card=False))
            loader = LazyTensorLoader.from_disk(f"out-{name}")
            tensors = {t: loader.get_tensor(t).flatten().tolist() for t in sorted(loader.index.tensor_paths)}
            print(name, sorted(set(dict(shapes())) ^ set(tensors)))
            result[name] = {"yaml": text.lstrip("\n"), "tensors": tensors}
    with open(out, "w") as f:
        f.write(f'{{\n"config": {json.dumps(CONFIG)},\n"shapes": {json.dumps(list(shapes()))},\n"cases": {{\n')
        f.write(",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in result.items()))
        f.write("\n}\n}\n")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
