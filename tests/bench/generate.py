"""The engine beside transformers and llama.cpp, alternately on the same machine: what docs/engine.md reports.

    python3 tests/bench/generate.py --peer-python PYTHON [--llama-python PYTHON] [--workdir DIR] [--rounds 3] [--threads 2]
        [--skip llama_cpp] [--output FILE]

PYTHON has torch and transformers; that of --llama-python (default: the same) has llama-cpp-python and gguf. Two workloads: a 0.35 B random Llama with 64
prompts of 64 tokens and 64 new tokens (written to DIR once), and 250 problems of the example on its `ja` model. Every round runs
each engine once, so that a load that comes and goes meets all of them; the best round of each counts. Prints a table, then JSON.
"""
import argparse
import json
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def last_json(command, env):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    return json.loads(out[out.index("{"):] if command[0].endswith("merganser") else out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", default=os.environ.get("MERGANSER_PEER_PYTHON"))
    parser.add_argument("--llama-python", default=os.environ.get("MERGANSER_LLAMA_PYTHON"))
    parser.add_argument("--output", help="the report as JSON, too")
    parser.add_argument("--workdir", default=os.path.join(tempfile.gettempdir(), "merganser-bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--skip", nargs="*", default=[], choices=["large", "small", "transformers", "llama_cpp"])
    args = parser.parse_args()
    if not args.peer_python:
        parser.error("--peer-python (or MERGANSER_PEER_PYTHON) names a python with torch and transformers")
    os.makedirs(args.workdir, exist_ok=True)
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    threads = ["--threads", str(args.threads)]
    peer = [args.peer_python, os.path.join(HERE, "transformers_peer.py")]
    bin_dir = os.path.join(ROOT, "build", "bin")
    report = {}

    if "large" not in args.skip:
        model = os.path.join(args.workdir, "llama-0.35b")
        if not os.path.exists(os.path.join(model, "config.json")):
            subprocess.run([args.peer_python, os.path.join(HERE, "random_llama.py"), model], check=True)
        engines = {}
        for compute in ("fp32", "bf16"):
            engines[f"merganser {compute}"] = lambda compute=compute: last_json(
                [os.path.join(bin_dir, "merganser"), "bench", model, "--sequences", "64", "--prompt-tokens", "64", "--new-tokens",
                 "64", "--repetitions", "1", "--compute", compute, "--format", "json", *threads], env)
        if "transformers" not in args.skip:
            for dtype in ("float32", "bfloat16"):
                engines[f"transformers {dtype}"] = lambda dtype=dtype: last_json(
                    [*peer, model, "--random", "64", "--prompt-tokens", "64", "--new-tokens", "64", "--batch", "64",
                     "--repetitions", "1", "--dtype", dtype, *threads], env)
        if "llama_cpp" not in args.skip:
            engines["llama.cpp bf16"] = lambda: last_json(
                [args.llama_python or args.peer_python, os.path.join(HERE, "llama_cpp_peer.py"), model, *threads], env)
        best = {}
        for _ in range(args.rounds):
            for name, run in engines.items():
                result = run()
                if name.startswith("merganser"):
                    rate = 64 * 64 / result["seconds"]
                    shares = report.setdefault("share_of_limit", {})
                    shares[name] = max(shares.get(name, 0), round(result["limit_seconds"] / result["seconds"], 3))
                elif name.startswith("transformers"):
                    rate = result["best_samples_per_second"] * 64
                else:
                    rate = result["best_new_tokens_per_second"]
                best[name] = max(best.get(name, 0), rate)
        report["large_new_tokens_per_second"] = {name: round(rate, 1) for name, rate in best.items()}

    if "small" not in args.skip:
        model = os.path.join(ROOT, "examples", "ja-math", "ja")
        tasks = os.path.join(args.workdir, "problems.jsonl")
        prompts = os.path.join(args.workdir, "prompts.txt")
        with open(os.path.join(ROOT, "examples", "ja-math", "tasks", "ja_math.train.jsonl"), encoding="utf-8") as source:
            lines = source.readlines()
        with open(tasks, "w", encoding="utf-8") as file:
            file.writelines((lines * 250)[:250])
        best = {}
        for _ in range(args.rounds):
            result = last_json([*peer, model, "--tasks", tasks, "--dump", prompts, "--batch", "250", "--repetitions", "1", *threads], env)
            best["transformers float32"] = max(best.get("transformers float32", 0), result["best_samples_per_second"])
            result = last_json([os.path.join(bin_dir, "bench", "engine_bench"), model, prompts, "36", "3", str(args.threads)], env)
            best["merganser"] = max(best.get("merganser", 0), result["best_samples_per_second"])
        report["small_samples_per_second"] = {name: round(rate, 1) for name, rate in best.items()}

    for workload, rates in report.items():
        if workload == "share_of_limit":
            continue
        print(workload)
        ours = {name: rate for name, rate in rates.items() if name.startswith("merganser")}
        for name, rate in rates.items():
            times = ", ".join(f"{ours_name} is {mine / rate:.2f} times this" for ours_name, mine in ours.items() if ours_name != name)
            print(f"  {name:24} {rate:10.1f}   {times}")
    for name, share in report.get("share_of_limit", {}).items():
        print(f"{name}: the matrix products alone take {share:.0%} of the time")
    print(json.dumps(report))
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
