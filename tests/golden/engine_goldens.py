"""Makes tests/worker/engine/testdata: tiny random models and what transformers computes with them in fp32.

    python tests/golden/engine_goldens.py tests/worker/engine/testdata [NAME...]

Needs torch 2.11, transformers 5.24.0 (5.23.0 gives the same), safetensors. `rounding` holds single operations in bf16 instead of a model. Each other folder is a checkpoint (bf16 weights) with reference.safetensors:
input_ids [40] (int64), logits [40, vocab] (fp32), and bf16_difference, how far transformers in bf16 is from them. The weights are large for a random model, so that attention is far
from uniform and an error in a mask or a rotation is seen.
"""
import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GemmaConfig, GemmaForCausalLM,
                          LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

TOKENS = 40
COMMON = dict(vocab_size=64, hidden_size=32, intermediate_size=24, num_hidden_layers=2, max_position_embeddings=128,
              initializer_range=0.25, bos_token_id=1, eos_token_id=2, pad_token_id=None, attn_implementation="eager")

MODELS = {
    "gqa": (LlamaForCausalLM, LlamaConfig(num_attention_heads=8, num_key_value_heads=2, tie_word_embeddings=False, **COMMON)),
    "sliding_window": (MistralForCausalLM,
                       MistralConfig(num_attention_heads=4, num_key_value_heads=2, sliding_window=8, **COMMON)),
    "tied": (LlamaForCausalLM, LlamaConfig(num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True, **COMMON)),
    "wide_heads": (LlamaForCausalLM,
                   LlamaConfig(num_attention_heads=2, num_key_value_heads=1, head_dim=24, tie_word_embeddings=True, **COMMON)),
    "llama3_rope": (LlamaForCausalLM, LlamaConfig(
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32}, **COMMON)),
    "linear_rope": (LlamaForCausalLM, LlamaConfig(
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}, **COMMON)),
    "biases": (LlamaForCausalLM, LlamaConfig(num_attention_heads=4, num_key_value_heads=2, attention_bias=True, mlp_bias=True,
                                             tie_word_embeddings=True, **COMMON)),
}


TIED = dict(num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True)
SCALED = {**COMMON, **TIED}


def scaled(max_position_embeddings=128, **rope_parameters):
    config = {**SCALED, "max_position_embeddings": max_position_embeddings}
    return LlamaForCausalLM, LlamaConfig(rope_parameters={"rope_theta": 10000.0, **rope_parameters}, **config)


LONG = [1.0 + 0.5 * i for i in range(4)]
SHORT = [1.0 + 0.05 * i for i in range(4)]
GEMMA = dict(COMMON, num_attention_heads=4, num_key_value_heads=2, head_dim=16, attn_implementation="eager")
MODELS.update({
    "yarn_rope": scaled(rope_type="yarn", factor=4.0, original_max_position_embeddings=32),
    "yarn_mscale_rope": scaled(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.7, mscale_all_dim=1.2,
                               beta_fast=8.0, beta_slow=2.0, truncate=False),
    # 40 tokens are more than the 16 positions, so the base changes.
    "dynamic_rope": scaled(16, rope_type="dynamic", factor=4.0),
    "longrope_long": scaled(128, rope_type="longrope", long_factor=LONG, short_factor=SHORT, original_max_position_embeddings=32),
    "longrope_short": scaled(128, rope_type="longrope", long_factor=LONG, short_factor=SHORT, original_max_position_embeddings=64),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SCALED)),
    "qwen2_window": (Qwen2ForCausalLM, Qwen2Config(use_sliding_window=True, sliding_window=8, max_window_layers=1, **SCALED)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(head_dim=24, **{**SCALED, "tie_word_embeddings": False})),
    "gemma": (GemmaForCausalLM, GemmaConfig(**GEMMA)),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config(sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=5.0,
                                               final_logit_softcapping=10.0, **GEMMA)),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(
        sliding_window=8, query_pre_attn_scalar=24, layer_types=["sliding_attention", "full_attention"],
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}, **GEMMA)),
})

# EvoMistral (sakana.md 1.6 of the reference): a path of hops over stored layers. transformers has no such class, so its
# forward pass is written here over transformers' Mistral layers.
EVO_LAYERS = [0, 1, 2, 1, 0, 2]
EVO_SCALES = [1.0, 0.75, 1.25, 0.5, 1.0, 1.1]
# The shape of the published 10B model's path: 65 hops over 44 stored layers.
EVO_10B_LAYERS = [*range(30), *range(20, 44), *range(33, 44)]
EVO_10B_SCALES = [1.0 + 0.3 * ((hop * 37) % 11 - 5) / 5 for hop in range(65)]


def evo_logits(model, ids, layers, scales):
    base = model.model
    hidden = base.embed_tokens(ids.unsqueeze(0))
    positions = torch.arange(len(ids)).unsqueeze(0)
    rotation = base.rotary_emb(hidden, positions)
    mask = torch.full((len(ids), len(ids)), float("-inf"), dtype=hidden.dtype).triu(1)[None, None]
    residual = None
    for index, scale in zip(layers, scales):
        layer = base.layers[index]
        scaled_hidden = hidden * scale
        residual = scaled_hidden if residual is None else residual + scaled_hidden
        attention, _ = layer.self_attn(layer.input_layernorm(residual), position_embeddings=rotation, attention_mask=mask)
        residual = residual + attention
        hidden = layer.mlp(layer.post_attention_layernorm(residual))
    return model.lm_head(base.norm(residual + hidden))[0]


def write_evo(folder, path_layers, path_scales, **sizes):
    torch.manual_seed(100)
    config = MistralConfig(num_attention_heads=4, num_key_value_heads=2, sliding_window=None, **{**COMMON, **sizes})
    stored = config.num_hidden_layers
    assert set(path_layers) == set(range(stored)), "every stored layer is on the path"
    model = MistralForCausalLM(config)
    randomize(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    tensors["model.input_layers"] = torch.tensor(path_layers, dtype=torch.int32)
    tensors["model.input_scales"] = torch.tensor(path_scales, dtype=torch.float32)
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        text = json.load(file)
    text.update(architectures=["EvoMistralForCausalLM"], model_type="evomistral", num_hops=len(path_layers))
    with open(path, "w") as file:
        json.dump(text, file, indent=2)
    loaded = MistralForCausalLM(config).eval()
    loaded.load_state_dict({k: v.float() for k, v in tensors.items() if "input_" not in k or "layernorm" in k})
    ids = torch.randint(3, config.vocab_size, (TOKENS,))
    with torch.no_grad():
        plain = loaded(ids.unsqueeze(0)).logits[0]
        check = evo_logits(loaded, ids, range(stored), [1.0] * stored)
        assert (plain - check).abs().max() < 1e-4, "the forward pass above is not transformers' for a plain path"
        logits = evo_logits(loaded, ids, path_layers, path_scales)
        # The rotation stays fp32 until it is used, as when transformers loads a model in bf16.
        narrow = MistralForCausalLM.from_pretrained(folder, config=config, dtype=torch.bfloat16, attn_implementation="eager").eval()
        difference = (evo_logits(narrow, ids, path_layers, path_scales).float() - logits).abs().max()
    save_file({"input_ids": ids, "logits": logits.contiguous(), "bf16_difference": difference},
              os.path.join(folder, "reference.safetensors"))


def write_rounding(folder):
    """Single operations of transformers in bf16: what our forms must give bit for bit."""
    torch.manual_seed(200)
    os.makedirs(folder, exist_ok=True)
    bf16 = torch.bfloat16
    x = (torch.randn(16, 32) * 3).to(bf16)
    weight = (1 + 0.3 * torch.randn(32)).to(bf16)
    llama, gemma = LlamaRMSNorm(32, 1e-5), GemmaRMSNorm(32, 1e-5)
    llama.weight.data, gemma.weight.data = weight, weight
    q = torch.randn(1, 4, 16, 24).to(bf16)  # [batch, heads, positions, head_dim]
    k = torch.randn(1, 2, 16, 24).to(bf16)
    angles = torch.arange(16)[:, None] * (1.0 / 10000.0 ** (torch.arange(0, 24, 2) / 24))[None]
    angles = torch.cat((angles, angles), -1)
    cos, sin = angles.cos().to(bf16), angles.sin().to(bf16)
    rotated_q, rotated_k = apply_rotary_pos_emb(q, k, cos[None], sin[None])
    down, residual = torch.randn(16, 32).to(bf16), torch.randn(16, 32).to(bf16)
    with torch.no_grad():
        save_file({"x": x, "weight": weight, "llama_norm": llama(x), "gemma_norm": gemma(x),
                   "qk": torch.cat((q, k), 1)[0].transpose(0, 1).contiguous(), "cos": cos, "sin": sin,
                   "rotated": torch.cat((rotated_q, rotated_k), 1)[0].transpose(0, 1).contiguous(),
                   "down": down, "residual": residual,
                   # input_scales are fp32, but 0-dimensional where they are used, so bf16 stays bf16.
                   "scaled_sum": residual + down * torch.tensor(1.1)},
                  os.path.join(folder, "rounding.safetensors"))


def randomize(model):
    for key, parameter in model.named_parameters():
        # transformers starts biases at 0 and norms at 1 (Gemma's at 0), where a mistake would not show.
        if key.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
        if "norm" in key:
            torch.nn.init.normal_(parameter, mean=0.0 if type(model).__name__.startswith("Gemma") else 1.0, std=0.2)


def main(out_dir, names):
    if not names or "rounding" in names:
        write_rounding(os.path.join(out_dir, "rounding"))
    if not names or "evomistral" in names:
        write_evo(os.path.join(out_dir, "evomistral"), EVO_LAYERS, EVO_SCALES, num_hidden_layers=3)
    if not names or "evomistral_10b" in names:
        write_evo(os.path.join(out_dir, "evomistral_10b"), EVO_10B_LAYERS, EVO_10B_SCALES, num_hidden_layers=44, hidden_size=16,
                  intermediate_size=12, head_dim=4)
    for seed, (name, (model_class, config)) in enumerate(MODELS.items()):
        if names and name not in names:
            continue
        torch.manual_seed(seed)
        model = model_class(config)
        randomize(model)
        model = model.to(torch.bfloat16)
        folder = os.path.join(out_dir, name)
        model.save_pretrained(folder)
        # Loaded again, because model.float() would keep the rotary frequencies as bf16 has rounded them.
        model = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(3, config.vocab_size, (TOKENS,))
        narrow = model_class.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").eval()
        with torch.no_grad():
            logits = model(ids.unsqueeze(0)).logits[0]
            difference = (narrow(ids.unsqueeze(0)).logits[0].float() - logits).abs().max()
        save_file({"input_ids": ids, "logits": logits.contiguous(), "bf16_difference": difference},
                  os.path.join(folder, "reference.safetensors"))
        print(name, sum(p.numel() for p in model.parameters()), "parameters, logits", float(logits.abs().max()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
