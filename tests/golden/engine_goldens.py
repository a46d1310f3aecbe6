"""Makes tests/worker/engine/testdata: tiny random models and what transformers computes with them in fp32.

    python tests/golden/engine_goldens.py tests/worker/engine/testdata

Needs torch 2.11, transformers 5.23.0, safetensors. Each folder is a checkpoint (bf16 weights) with reference.safetensors:
input_ids [40] (int64) and logits [40, vocab] (fp32). The weights are large for a random model, so that attention is far
from uniform and an error in a mask or a rotation is seen.
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

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


def main(out_dir):
    for seed, (name, (model_class, config)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = model_class(config)
        for key, parameter in model.named_parameters():
            # transformers starts biases at 0 and norms at 1, where a mistake would not show.
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
            if "norm" in key:
                torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
        model = model.to(torch.bfloat16)
        folder = os.path.join(out_dir, name)
        model.save_pretrained(folder)
        # Loaded again, because model.float() would keep the rotary frequencies as bf16 has rounded them.
        model = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(3, config.vocab_size, (TOKENS,))
        with torch.no_grad():
            logits = model(ids.unsqueeze(0)).logits[0]
        save_file({"input_ids": ids, "logits": logits.contiguous()}, os.path.join(folder, "reference.safetensors"))
        print(name, sum(p.numel() for p in model.parameters()), "parameters, logits", float(logits.abs().max()))


if __name__ == "__main__":
    main(sys.argv[1])
