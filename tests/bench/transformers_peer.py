"""Samples per second of transformers' generate on the prompts of a task file, or on random ones: the peer of engine_bench.

    python tests/bench/transformers_peer.py MODEL_DIR --tasks FILE.jsonl [--dump prompts.txt] [--batch 250] [--dtype float32]
    python tests/bench/transformers_peer.py MODEL_DIR --random 64 --prompt-tokens 64 --new-tokens 64 [--batch 64]

Needs torch, transformers, tokenizers. With --dump it writes the prompts' token ids, one prompt a line, for engine_bench.
"""
import argparse
import json
import time

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--tasks")
    parser.add_argument("--random", type=int, default=0, help="this many random prompts, and no end of sequence")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--prompt", default="Q: {question}\nA:\n")
    parser.add_argument("--new-tokens", type=int, default=36)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--dump")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = {}
    if args.random:
        generator = torch.Generator().manual_seed(0)
        prompts = torch.randint(3, 1000, (args.random, args.prompt_tokens), generator=generator).tolist()
        settings = {"min_new_tokens": args.new_tokens}
    else:
        tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
        with open(args.tasks, encoding="utf-8") as file:
            prompts = [tokenizer.encode(args.prompt.format(**json.loads(line))).ids for line in file]
    if args.dump:
        with open(args.dump, "w") as file:
            file.writelines(" ".join(map(str, ids)) + "\n" for ids in prompts)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype)).eval()
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))  # as little padding as batches allow
    best = 0
    for _ in range(args.repetitions):
        start = time.perf_counter()
        cpu_start = time.process_time()
        generated = 0
        for begin in range(0, len(order), args.batch):
            batch = [prompts[i] for i in order[begin:begin + args.batch]]
            longest = max(map(len, batch))
            ids = torch.tensor([[0] * (longest - len(p)) + p for p in batch])
            mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in batch])
            with torch.inference_mode():
                out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=args.new_tokens, do_sample=False,
                                     pad_token_id=0, **settings)
            generated += int((out[:, longest:] != 0).sum())
        seconds = time.perf_counter() - start
        best = max(best, len(prompts) / seconds)
        print(json.dumps({"seconds": round(seconds, 3), "generated_tokens": generated,
                          "generate_cpu": round(time.process_time() - cpu_start, 4),
                          "samples_per_second": round(len(prompts) / seconds, 1)}), flush=True)
    print(json.dumps({"peer": "transformers", "threads": torch.get_num_threads(), "batch": args.batch, "dtype": args.dtype,
                      "best_samples_per_second": round(best, 1)}))


if __name__ == "__main__":
    main()
