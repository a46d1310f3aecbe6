"""Tokens per second of llama.cpp on random prompts, all sequences in one batch: a peer of `merganser bench`.

    python tests/bench/llama_cpp_peer.py MODEL_DIR [--sequences 64 --prompt-tokens 64 --new-tokens 64 --threads 2 --repetitions 1]

Needs llama-cpp-python (built from its source package, so that it uses this processor's instructions), gguf, numpy.
Converts the checkpoint to a bf16 GGUF beside it, once. The rows of q and k are not reordered for llama.cpp's rotation, so its
text would be wrong; the work is the same.
"""
import argparse
import ctypes
import json
import os
import time

import gguf
import llama_cpp
import numpy as np

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def read_bf16(path):
    """The tensors of a safetensors file of bf16: name -> uint16 array."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "BF16", f"{name} is {entry['dtype']}, not BF16"
        begin, end = entry["data_offsets"]
        yield name, np.frombuffer(data[begin:end].tobytes(), np.uint16).reshape(entry["shape"])


def convert(model_dir, path):
    with open(f"{model_dir}/config.json") as file:
        config = json.load(file)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("none")
    for name, tensor in read_bf16(f"{model_dir}/model.safetensors"):
        parts = name.split(".")
        if name == "lm_head.weight":
            to = "output.weight"
        elif name == "model.embed_tokens.weight":
            to = "token_embd.weight"
        elif name == "model.norm.weight":
            to = "output_norm.weight"
        else:
            to = f"blk.{parts[2]}.{NAMES['.'.join(parts[3:-1])]}.weight"
        if tensor.ndim == 1:
            writer.add_tensor(to, (tensor.astype(np.uint32) << 16).view(np.float32))
        else:
            raw = tensor.view(np.uint8)
            writer.add_tensor(to, raw, raw_shape=raw.shape, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repetitions", type=int, default=1)
    args = parser.parse_args()
    path = f"{args.model}/model-bf16.gguf"
    if not os.path.exists(path):
        convert(args.model, path + ".part")
        os.replace(path + ".part", path)
    n, prompt, new = args.sequences, args.prompt_tokens, args.new_tokens
    llama_cpp.llama_backend_init()
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), None)
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = n * (prompt + new)
    params.n_seq_max = n
    params.n_batch = params.n_ubatch = 2048
    params.n_threads = params.n_threads_batch = args.threads
    context = llama_cpp.llama_init_from_model(model, params)
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(2048, 0, 1)
    rng = np.random.default_rng(0)
    best = 0
    for _ in range(args.repetitions):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        prompts = rng.integers(3, vocab, (n, prompt))
        start = time.perf_counter()

        def add(token, position, sequence, logits):
            i = batch.n_tokens
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, logits
            batch.seq_id[i][0] = sequence
            batch.n_tokens = i + 1

        def argmax(index):
            logits = llama_cpp.llama_get_logits_ith(context, index)
            return int(np.ctypeslib.as_array(logits, (vocab,)).argmax())

        tokens = [0] * n
        per_batch = 2048 // prompt
        for begin in range(0, n, per_batch):
            batch.n_tokens = 0
            members = range(begin, min(begin + per_batch, n))
            for s in members:
                for p in range(prompt):
                    add(int(prompts[s, p]), p, s, p == prompt - 1)
            assert llama_cpp.llama_decode(context, batch) == 0
            for i, s in enumerate(members):
                tokens[s] = argmax((i + 1) * prompt - 1)
        for step in range(new - 1):
            batch.n_tokens = 0
            for s in range(n):
                add(tokens[s], prompt + step, s, True)
            assert llama_cpp.llama_decode(context, batch) == 0
            tokens = [argmax(s) for s in range(n)]
        seconds = time.perf_counter() - start
        best = max(best, n * new / seconds)
        print(json.dumps({"seconds": round(seconds, 3), "new_tokens_per_second": round(n * new / seconds, 1)}), flush=True)
    print(json.dumps({"peer": "llama.cpp", "threads": args.threads, "dtype": "bf16", "best_new_tokens_per_second": round(best, 1)}))


if __name__ == "__main__":
    main()
