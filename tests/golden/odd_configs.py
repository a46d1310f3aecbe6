"""Greedy texts of `merganser generate` beside transformers' on random small models with settings that users' checkpoints have.

    python tests/golden/odd_configs.py build/bin/merganser [NAME ...]

Head sizes that do not divide the width, one key head, windows shorter than the prompt, every RoPE scaling, tied and own heads, biases,
soft-caps, bf16 and fp16 files, `rope_scaling` of older configs and null, absent fields, `torch_dtype`, Gemma 3's older config. Prints a
line a model and exits 1 if one differs. Needs transformers (5) and torch (CPU); no network.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zlib

import torch
from transformers import (AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, GemmaConfig, LlamaConfig, MistralConfig,
                          PreTrainedTokenizerFast, Qwen2Config, Qwen3Config)

TOKENIZER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "ja-math" / "ja" / "tokenizer.json"
PROMPT = "Q: トムはボールを5個持っています。ケンは6個持っています。二人は合わせて何個持っていますか。\nA:\n"
NEW_TOKENS = 32
SMALL = dict(vocab_size=1024, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
FACTORS = dict(short_factor=[1 + 0.1 * i for i in range(8)], long_factor=[1.5 + 0.4 * i for i in range(8)])


def rope(kind, theta=1e4, **settings):
    return dict(rope_type=kind, rope_theta=theta, **settings)


def null_scaling(config):
    config.pop("rope_parameters")
    config.update(rope_scaling=None, rope_theta=12345.0)


def old_dtype(config):
    config["torch_dtype"] = config.pop("dtype")


def old_gemma3(config):
    for key in ("rope_parameters", "layer_types"):
        config.pop(key, None)
    config.update(rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling={"rope_type": "linear", "factor": 8.0}, sliding_window_pattern=2)


def old_scaling(config):
    scaling = config.pop("rope_parameters")
    config.update(rope_theta=scaling.pop("rope_theta"), rope_scaling={"type": scaling.pop("rope_type"), **scaling})


def old_windows(config):  # before layer_types
    for key in ("layer_types", "rope_parameters"):
        config.pop(key, None)
    config.update(rope_theta=1e4)


def without(*keys):
    return lambda config: [config.pop(key, None) for key in keys]


def with_null(key):
    return lambda config: config.update({key: None})


GEMMA = dict(head_dim=16, sliding_window=8, query_pre_attn_scalar=20)
YARN = dict(factor=4.0, original_max_position_embeddings=32)
MODELS = {  # name: (config, settings, dtype of the files, what is changed in config.json)
    "llama_head_dim": (LlamaConfig, dict(head_dim=24, num_key_value_heads=1)),
    "llama_bias_tied": (LlamaConfig, dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "llama_llama3": (LlamaConfig, dict(rope_parameters=rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                            original_max_position_embeddings=32))),
    "llama_yarn": (LlamaConfig, dict(rope_parameters=rope("yarn", **YARN))),
    "llama_yarn_mscale": (LlamaConfig, dict(rope_parameters=rope("yarn", mscale=0.7, mscale_all_dim=1.2, beta_fast=16.0, beta_slow=2.0,
                                                                 **YARN))),
    "llama_yarn_truncate": (LlamaConfig, dict(rope_parameters=rope("yarn", truncate=False, **YARN))),
    "llama_linear": (LlamaConfig, dict(rope_parameters=rope("linear", factor=2.5))),
    "llama_dynamic": (LlamaConfig, dict(max_position_embeddings=40, rope_parameters=rope("dynamic", factor=4.0))),
    "llama_longrope": (LlamaConfig, dict(rope_parameters=rope("longrope", original_max_position_embeddings=32, **FACTORS))),
    "llama_longrope_factor": (LlamaConfig, dict(rope_parameters=rope("longrope", original_max_position_embeddings=128, factor=2.0,
                                                                     attention_factor=1.3, **FACTORS))),
    "llama_gelu": (LlamaConfig, dict(hidden_act="gelu", rms_norm_eps=1e-3)),
    "llama_null_scaling": (LlamaConfig, {}, "float32", null_scaling),
    "llama_bf16": (LlamaConfig, {}, "bfloat16", old_dtype),
    "llama_fp16": (LlamaConfig, {}, "float16"),
    "mistral_window": (MistralConfig, dict(sliding_window=8, head_dim=16)),
    "mistral_head_dim": (MistralConfig, dict(sliding_window=None, head_dim=40, num_key_value_heads=4)),
    "qwen2_window": (Qwen2Config, dict(use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    "qwen2_tied_yarn": (Qwen2Config, dict(tie_word_embeddings=True, num_key_value_heads=1, rope_parameters=rope("yarn", 1e6, **YARN))),
    "qwen2_layer_types": (Qwen2Config, dict(use_sliding_window=True, sliding_window=8,
                                            layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "qwen3": (Qwen3Config, dict(head_dim=48, num_key_value_heads=1)),
    "qwen3_bias_window": (Qwen3Config, dict(head_dim=16, attention_bias=True, use_sliding_window=True, sliding_window=8,
                                            max_window_layers=2)),
    "gemma": (GemmaConfig, dict(head_dim=32, num_key_value_heads=1)),
    "gemma_old_gelu": (GemmaConfig, dict(head_dim=16, hidden_act="gelu")),
    "gemma2": (Gemma2Config, dict(GEMMA, attn_logit_softcapping=20.0, final_logit_softcapping=10.0)),
    "gemma2_no_softcap": (Gemma2Config, dict(GEMMA, attn_logit_softcapping=None, final_logit_softcapping=None)),
    "gemma3": (Gemma3TextConfig, dict(GEMMA, num_hidden_layers=7)),
    "gemma3_layer_types": (Gemma3TextConfig, dict(GEMMA, num_hidden_layers=4, layer_types=["sliding_attention", "full_attention"] * 2)),
    "gemma3_softcap": (Gemma3TextConfig, dict(GEMMA, final_logit_softcapping=5.0, attn_logit_softcapping=8.0)),
    "gemma3_old": (Gemma3TextConfig, dict(GEMMA, num_hidden_layers=5), "float32", old_gemma3),
    "llama_old_linear": (LlamaConfig, dict(rope_parameters=rope("linear", factor=2.0)), "float32", old_scaling),
    "llama_old_yarn": (LlamaConfig, dict(rope_parameters=rope("yarn", 1e6, **YARN)), "bfloat16", old_scaling),
    "llama_null_head_dim": (LlamaConfig, {}, "float32", with_null("head_dim")),
    "llama_null_dtype": (LlamaConfig, {}, "bfloat16", with_null("dtype")),
    "llama_no_kv_heads": (LlamaConfig, dict(num_key_value_heads=4), "float32", without("num_key_value_heads", "head_dim")),
    "llama_odd_width": (LlamaConfig, dict(hidden_size=72, num_attention_heads=3, num_key_value_heads=3, intermediate_size=50,
                                          vocab_size=1031)),
    "mistral_no_theta": (MistralConfig, {}, "float32", without("rope_parameters", "head_dim")),
    "qwen2_dynamic": (Qwen2Config, dict(max_position_embeddings=40, rope_parameters=rope("dynamic", 1e6, factor=4.0))),
    "gemma2_old": (Gemma2Config, dict(GEMMA, attn_logit_softcapping=20.0), "float32", old_windows),
    "gemma3_untied": (Gemma3TextConfig, dict(GEMMA, tie_word_embeddings=False)),
}


def make(folder, name, config, settings, dtype="float32", change=None):
    torch.manual_seed(zlib.crc32(name.encode()))
    model = AutoModelForCausalLM.from_config(config(**dict(SMALL, **settings)))
    with torch.no_grad():  # strong layers behind a small embedding: texts that depend on all of the model
        for key, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.05 if "embed" in key else 1.0 if "lm_head" in key else 2.0 / weight.shape[-1] ** 0.5)
            else:
                weight.normal_(1 if "norm" in key and "gemma" not in name else 0, 0.2)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    shutil.copy(TOKENIZER, folder)
    path = pathlib.Path(folder, "config.json")
    fields = json.loads(path.read_text())
    if change:
        change(fields)
    path.write_text(json.dumps(fields))


def main():
    merganser, names = sys.argv[1], sys.argv[2:] or list(MODELS)
    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER))
    prompt = torch.tensor([tokenizer(PROMPT).input_ids])
    differ = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            make(folder, name, *MODELS[name])
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            with torch.inference_mode():
                ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS, do_sample=False,
                                     pad_token_id=0)[0, prompt.shape[1]:].tolist()
            theirs = tokenizer.decode(ids, skip_special_tokens=True)
            ours = subprocess.run([merganser, "generate", folder, "--prompt", PROMPT, "--max-new-tokens", str(NEW_TOKENS), "--device", "cpu",
                                   "--compute", "fp32", "--threads", "1"], check=True, capture_output=True, text=True).stdout
        same = ours in (theirs, theirs + "\n")
        differ += not same
        print(f"{name:24} {'same' if same else f'differs after {len(os.path.commonprefix([ours, theirs]))} characters'}"
              f" ({len(set(ids))} different tokens of {len(ids)})", flush=True)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
