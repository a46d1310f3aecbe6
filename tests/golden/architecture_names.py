"""Names of the tensors that transformers saves for each architecture of worker/checkpoint/architectures.cc.

    python tests/golden/architecture_names.py tests/worker/checkpoint/testdata/architecture_names.json

Makes a model of two layers of each family and saves it. Needs transformers (5), torch (CPU) and safetensors; no network.
"""
import glob
import json
import os
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import transformers as t
from safetensors import safe_open

TEXT = dict(vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8)
VISION = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4,
              projection_dim=16)


def models():
    yield t.LlamaForCausalLM(t.LlamaConfig(**TEXT))
    yield t.LlamaForCausalLM(t.LlamaConfig(**TEXT, attention_bias=True, mlp_bias=True, tie_word_embeddings=True))
    yield t.MistralForCausalLM(t.MistralConfig(**TEXT))
    no_head_dim = {k: v for k, v in TEXT.items() if k != "head_dim"}
    yield t.Qwen2ForCausalLM(t.Qwen2Config(**no_head_dim))
    yield t.Qwen3ForCausalLM(t.Qwen3Config(**TEXT))
    yield t.GemmaForCausalLM(t.GemmaConfig(**TEXT))
    yield t.Gemma2ForCausalLM(t.Gemma2Config(**TEXT))
    yield t.Gemma3ForCausalLM(t.Gemma3TextConfig(**TEXT))
    yield t.MixtralForCausalLM(t.MixtralConfig(**no_head_dim, num_local_experts=2))
    yield t.Phi3ForCausalLM(t.Phi3Config(**no_head_dim, pad_token_id=0))
    neox = {k: v for k, v in TEXT.items() if k not in ("head_dim", "num_key_value_heads")}
    yield t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**neox))
    vision = t.CLIPVisionConfig(**VISION)
    text = t.LlamaConfig(**TEXT)
    yield t.LlavaForConditionalGeneration(t.LlavaConfig(vision_config=vision, text_config=text, image_token_index=31))
    yield t.LlavaNextForConditionalGeneration(
        t.LlavaNextConfig(vision_config=vision, text_config=text, image_token_index=31, image_grid_pinpoints=[[8, 8]]))


def main(out):
    result = []
    for model in models():
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            names = []
            for path in glob.glob(folder + "/*.safetensors"):
                with safe_open(path, "pt") as f:
                    names += list(f.keys())
            result.append({"architecture": type(model).__name__, "names": sorted(names)})
    with open(out, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(entry) for entry in result) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
