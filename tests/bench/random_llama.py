"""Writes a Llama of 0.35 billion random bf16 weights (24 layers, hidden size 1024) for speed measurements.

    python tests/bench/random_llama.py OUT_DIR

Needs torch, transformers.
"""
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main(out_dir):
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=24, num_attention_heads=16,
                         num_key_value_heads=8, max_position_embeddings=2048, tie_word_embeddings=False, bos_token_id=1,
                         eos_token_id=2, dtype="bfloat16")
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(out_dir)
    print(sum(p.numel() for p in model.parameters()), "parameters")


if __name__ == "__main__":
    main(*sys.argv[1:])
