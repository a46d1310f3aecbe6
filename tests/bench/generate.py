"""The engine beside transformers and llama.cpp, alternately on the same machine: what docs/engine.md reports.

    python3 tests/bench/generate.py --peer-python PYTHON [--llama-python PYTHON] [--workdir DIR] [--rounds 3] [--threads 2]
        [--skip llama_cpp] [--output FILE]

PYTHON has torch and transformers; that of --llama-python (default: the same) has llama-cpp-python and gguf. Two workloads: a 0.35 B random Llama with 64
prompts of 64 tokens and 64 new tokens (written to DIR once), and 250 problems of the example on its `ja` model. Every round runs
each engine once; the best round of each counts. Of two repetitions the better one counts: by the second one, memory that
is made once per job is touched. Prints a table, then JSON.
"""
import os
import subprocess
import tempfile

import side_by_side

HERE = os.path.dirname(os.path.abspath(__file__))
NEW_TOKENS = 64 * 64


def main():
    parser = side_by_side.options()
    parser.add_argument("--llama-python", default=os.environ.get("MERGANSER_LLAMA_PYTHON"))
    parser.add_argument("--workdir", default=os.path.join(tempfile.gettempdir(), "merganser-bench"))
    parser.add_argument("--skip", nargs="*", default=[], choices=["large", "small", "transformers", "llama_cpp"])
    args = side_by_side.parse(parser)
    os.makedirs(args.workdir, exist_ok=True)
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    threads = ["--threads", str(args.threads)]
    peer = [args.peer_python, os.path.join(HERE, "transformers_peer.py")]
    report = {}

    def run(command, rate):
        result = side_by_side.last_json(command, env)
        return dict(result, rate=rate(result))

    def best_of(engines):
        return side_by_side.in_turn(engines, args.rounds, lambda a, b: a["rate"] > b["rate"])

    if "large" not in args.skip:
        model = os.path.join(args.workdir, "llama-0.35b")
        if not os.path.exists(os.path.join(model, "config.json")):
            subprocess.run([args.peer_python, os.path.join(HERE, "random_llama.py"), model], check=True)
        engines = {}
        for compute in ("fp32", "bf16"):
            engines[f"merganser {compute}"] = lambda compute=compute: run(
                [args.bin / "merganser", "bench", model, "--sequences", "64", "--prompt-tokens", "64", "--new-tokens", "64",
                 "--repetitions", "2", "--compute", compute, "--format", "json", *threads], lambda r: NEW_TOKENS / r["seconds"])
        if "transformers" not in args.skip:
            for dtype in ("float32", "bfloat16"):
                engines[f"transformers {dtype}"] = lambda dtype=dtype: run(
                    [*peer, model, "--random", "64", "--prompt-tokens", "64", "--new-tokens", "64", "--batch", "64",
                     "--repetitions", "2", "--dtype", dtype, *threads], lambda r: r["best_samples_per_second"] * 64)
        if "llama_cpp" not in args.skip:
            engines["llama.cpp bf16"] = lambda: run(
                [args.llama_python or args.peer_python, os.path.join(HERE, "llama_cpp_peer.py"), model, "--repetitions", "2", *threads],
                lambda r: r["best_new_tokens_per_second"])
        best = best_of(engines)
        report["large_new_tokens_per_second"] = {name: round(result["rate"], 1) for name, result in best.items()}
        report["share_of_limit"] = {name: round(result["limit_seconds"] / result["seconds"], 3)
                                    for name, result in best.items() if name.startswith("merganser")}

    if "small" not in args.skip:
        model = side_by_side.EXAMPLE / "ja"
        tasks = os.path.join(args.workdir, "problems.jsonl")
        prompts = os.path.join(args.workdir, "prompts.txt")
        with open(side_by_side.EXAMPLE / "tasks" / "ja_math.train.jsonl", encoding="utf-8") as source:
            lines = source.readlines()
        with open(tasks, "w", encoding="utf-8") as file:
            file.writelines((lines * 250)[:250])
        best = best_of({
            "transformers float32": lambda: run([*peer, model, "--tasks", tasks, "--dump", prompts, "--batch", "250", "--repetitions", "2",
                                                 *threads], lambda r: r["best_samples_per_second"]),
            "merganser": lambda: run([args.bin / "bench" / "engine_bench", model, prompts, "36", "2", str(args.threads)],
                                     lambda r: r["best_samples_per_second"])})
        report["small_samples_per_second"] = {name: round(result["rate"], 1) for name, result in best.items()}

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
    side_by_side.write(report, args.output)


if __name__ == "__main__":
    main()
