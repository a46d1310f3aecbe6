"""Merganser beside mergekit 0.1.5 on one machine: wall time and peak memory of whole merges, load and save included.

    python -m venv peers && peers/bin/pip install mergekit==0.1.5 torch transformers
    ./dev build
    peers/bin/python tests/bench/merge/run.py [--parameters 0.35] [--rounds 1] [--dir DIR] [--methods ties,della]

Writes a family of three Llama-shaped bf16 checkpoints of random weights (a base and two fine-tunes) to a temporary folder
and runs both programs by turns, each as a process of its own with all cores. The folder is made in memory (/dev/shm) where that
is to be had, so that the disk's speed is not measured: ours waits until a checkpoint is safely written, mergekit does not. mergekit
runs in the environment of this interpreter, or of MERGEKIT_PYTHON; ours is `build/bin/merganser merge`, or what MERGANSER names. Both
read the same mergekit YAML. Peak memory is the process's largest resident set; ours counts the pages of mapped input files, which
the system can drop at any time.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
METHODS = {
    "linear": {"weight": 0.5},
    "slerp": {"t": 0.4},
    "task_arithmetic": {"weight": 0.5},
    "ties": {"weight": 0.5, "density": 0.5},
    "dare_ties": {"weight": 0.5, "density": 0.5},
    "della": {"weight": 0.5, "density": 0.5},
}
# parameters (billions): hidden, intermediate, layers, vocabulary
SHAPES = {0.03: (512, 1408, 6, 16000), 0.1: (768, 2048, 10, 32000), 0.35: (1024, 2816, 24, 32000)}


def write_family(directory, parameters):
    import torch
    from safetensors.torch import save_file

    hidden, inner, layers, vocabulary = SHAPES[parameters]
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner,
              "num_hidden_layers": layers, "num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 64,
              "vocab_size": vocabulary, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048, "rope_theta": 10000.0,
              "tie_word_embeddings": False, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,),
              "lm_head.weight": (vocabulary, hidden)}
    for i in range(layers):
        for name in ("q", "k", "v", "o"):
            shapes[f"model.layers.{i}.self_attn.{name}_proj.weight"] = (hidden, hidden)
        shapes[f"model.layers.{i}.mlp.gate_proj.weight"] = shapes[f"model.layers.{i}.mlp.up_proj.weight"] = (inner, hidden)
        shapes[f"model.layers.{i}.mlp.down_proj.weight"] = (hidden, inner)
        shapes[f"model.layers.{i}.input_layernorm.weight"] = (hidden,)
        shapes[f"model.layers.{i}.post_attention_layernorm.weight"] = (hidden,)
    base = {}
    for number, model in enumerate(("base", "a", "b")):
        generator = torch.Generator().manual_seed(number)
        tensors = {}
        for name, shape in shapes.items():
            noise = torch.randn(shape, generator=generator)
            tensors[name] = (0.02 * noise if model == "base" else base[name].float() + 0.002 * noise).bfloat16()
        if model == "base":
            base = tensors
        path = directory / model
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    return sum(t.numel() for t in base.values())


def timed(command, environment=None):
    """Wall seconds, processor seconds and peak resident GB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{command[0]} failed:\n{process.stderr.read().decode()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def mergekit_config(directory, method, parameters):
    own = {k: v for k, v in parameters.items() if k in ("weight", "density")}
    sources = ["a"] if method == "slerp" else ["a", "b"]
    config = {"merge_method": method, "dtype": "bfloat16",
              "models": [{"model": str(directory / s), "parameters": own} if own else {"model": str(directory / s)}
                         for s in sources]}
    if method != "linear":
        config["base_model"] = str(directory / "base")
    if "t" in parameters:
        config["parameters"] = {"t": parameters["t"]}
    path = directory / f"{method}.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


RUN_MERGEKIT = """
import sys, yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
run_merge(MergeConfiguration.model_validate(yaml.safe_load(open(sys.argv[1]))), sys.argv[2],
          MergeOptions(random_seed=0, quiet=True, copy_tokenizer=False, write_model_card=False))
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--parameters", type=float, default=0.35, choices=sorted(SHAPES), help="billions per checkpoint")
    arguments.add_argument("--rounds", type=int, default=1, help="runs of each program per method; the medians are compared")
    arguments.add_argument("--dir", default="/dev/shm" if os.path.isdir("/dev/shm") else None, help="where the temporary folder is made")
    arguments.add_argument("--methods", default=",".join(METHODS))
    arguments = arguments.parse_args()
    ours = os.environ.get("MERGANSER", str(ROOT / "build" / "bin" / "merganser"))
    python = os.environ.get("MERGEKIT_PYTHON", sys.executable)
    environment = dict(os.environ, HF_HUB_OFFLINE="1")
    with tempfile.TemporaryDirectory(dir=arguments.dir) as temporary:
        directory = pathlib.Path(temporary)
        count = write_family(directory, arguments.parameters)
        print(f"{count / 1e9:.3f} B parameters a checkpoint, bf16, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print("wall time, processor time (less upset by other programs), peak resident memory; ratios of the first two")
        print(f"{'method':16} {'mergekit':>27} {'merganser':>27} {'wall':>8} {'cpu':>8}")
        for method in arguments.methods.split(","):
            parameters = METHODS[method]
            config = mergekit_config(directory, method, parameters)
            command = [ours, "merge", str(config), str(directory / "ours")]
            times = {"mergekit": [], "merganser": []}
            for _ in range(arguments.rounds):
                times["merganser"].append(timed(command))
                shutil.rmtree(directory / "ours")
                times["mergekit"].append(timed([python, "-c", RUN_MERGEKIT, str(config), str(directory / "theirs")], environment))
                shutil.rmtree(directory / "theirs")
            peer, own = (sorted(times[name])[len(times[name]) // 2] for name in ("mergekit", "merganser"))
            columns = " ".join(f"{wall:9.2f} s {cpu:7.2f} s {peak:5.2f} GB" for wall, cpu, peak in (peer, own))
            print(f"{method:16} {columns} {peer[0] / own[0]:7.1f}x {peer[1] / own[1]:7.1f}x", flush=True)


if __name__ == "__main__":
    main()
