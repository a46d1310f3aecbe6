"""A search over a tiny model that sees: samples per second beside transformers, and the share of the vision tower with and without
the cache of features.

    python3 tests/bench/vision.py --peer-python PYTHON [--candidates 40] [--questions 5] [--rounds 3] [--threads 2] [--output FILE]

PYTHON has torch, torchvision and transformers. The model is the LLaVA-NeXT fixture of the tests with the example's tokenizer; the job merges the
example's `ja` into it, and scores each candidate on the pictures of the tests, each with several questions. Every round runs
transformers (all samples as one batch), the job, and the job with MERGANSER_IMAGE_CACHE_MIB=0, so that a load that comes and goes
meets all of them; the best round of each counts. Prints a table, then JSON. --bin names another build than build/bin.
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

import side_by_side
from side_by_side import EXAMPLE, ROOT

TESTDATA = ROOT / "tests" / "worker" / "vision" / "testdata"
PICTURES = ["astronaut.png", "camera.png", "chelsea.png", "coffee.png", "horse.png", "page.png", "rocket.jpg"]
QUESTIONS = ["これは何ですか。", "何色ですか。", "いくつありますか。", "どこにありますか。", "誰がいますか。"]
NEW_TOKENS = 16


def write_model(folder):
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.copy(TESTDATA / "llava_next" / name, folder)
    shutil.copy(EXAMPLE / "base" / "tokenizer_config.json", folder)
    tokenizer = json.loads((EXAMPLE / "base" / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"].append(dict(tokenizer["added_tokens"][0], id=1024, content="<image>"))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def write_job(folder, candidates, questions):
    write_model(folder / "vlm")
    with open(folder / "samples.jsonl", "w", encoding="utf-8") as file:
        for question in QUESTIONS[:questions]:
            for name in PICTURES:
                sample = {"image": str(TESTDATA / "images" / name), "question": question, "answer": "?"}
                file.write(json.dumps(sample, ensure_ascii=False) + "\n")
    (folder / "seeing.yaml").write_text(
        'data: samples.jsonl\nprompt: "<image>\\n{{question}}"\ntarget: "{{answer}}"\nmax_new_tokens: %d\nstop: []\n'
        'metrics: [exact_match]\n' % NEW_TOKENS, encoding="utf-8")
    job = {"name": "vision-bench", "seed": 1, "dtype": "float32",
           "models": {"vlm": {"path": str(folder / "vlm")}, "ja": {"path": str(EXAMPLE / "ja"), "rename": {"": "language_model."}}},
           "space": {"parameter": {"method": "linear", "sources": ["vlm", "ja"], "bounds": {"weight": [0.1, 1]}}},
           "optimizer": {"random": {}},
           "objectives": [{"benchmark": "seeing", "metric": "exact_match"}],
           "benchmarks": {"seeing": {"use": "./seeing.yaml"}},
           "budget": {"candidates": candidates}}
    (folder / "job.yaml").write_text(json.dumps(job), encoding="utf-8")  # JSON is YAML


def run_job(merganser, folder, threads, cached):
    """Seconds of an evaluation by phase, the mean over the candidates."""
    env = dict(os.environ)
    env.pop("MERGANSER_IMAGE_CACHE_MIB", None)
    if not cached:
        env["MERGANSER_IMAGE_CACHE_MIB"] = "0"
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run([merganser, "run", folder / "job.yaml", "--out", out, "--device", "cpu", "--threads", str(threads)], env=env,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    with open(out / "candidates.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if row["state"] == "succeeded" and row["kind"] == "search"]
    phases = {}
    for row in rows:
        for phase, value in row["timings"].items():
            phases[phase] = phases.get(phase, 0.0) + value / len(rows)
    phases.pop("record", None)
    return phases


def peer(folder, threads):
    """In PYTHON: seconds of transformers for all samples, reading the pictures included, and of the tower and projector alone."""
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, LlavaNextForConditionalGeneration, LlavaNextProcessor, PreTrainedTokenizerFast

    torch.set_num_threads(threads)
    directory = str(folder / "vlm")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=directory + "/tokenizer.json", bos_token="<s>", eos_token="</s>",
                                        pad_token="<unk>", padding_side="left")
    model = LlavaNextForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
    processor = LlavaNextProcessor(AutoImageProcessor.from_pretrained(directory), tokenizer,
                                   patch_size=model.config.vision_config.patch_size, vision_feature_select_strategy="default",
                                   image_token="<image>", num_additional_image_tokens=1)
    with open(folder / "samples.jsonl", encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    best = {}
    for _ in range(2):
        with torch.inference_mode():
            start = time.perf_counter()
            images = [Image.open(sample["image"]).convert("RGB") for sample in samples]
            inputs = processor(images=images, text=["<image>\n" + sample["question"] for sample in samples], padding=True,
                               return_tensors="pt")
            inputs.pop("token_type_ids", None)
            read = time.perf_counter()
            model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)
            end = time.perf_counter()
            model.get_image_features(pixel_values=inputs["pixel_values"], image_sizes=inputs["image_sizes"])
            tower = time.perf_counter() - end
        for name, value in (("all", end - start), ("read", read - start), ("tower", tower)):
            best[name] = min(best.get(name, value), value)
    print(json.dumps(best))


def main():
    parser = side_by_side.options()
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--questions", type=int, default=len(QUESTIONS))
    parser.add_argument("--peer-of", type=pathlib.Path, help=argparse.SUPPRESS)
    args = side_by_side.parse(parser)
    if args.peer_of:
        return peer(args.peer_of, args.threads)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_job(folder, args.candidates, args.questions)

        def job(cached):
            phases = run_job(args.bin / "merganser", folder, args.threads, cached)
            return dict(phases, all=sum(phases.values()))

        best = side_by_side.in_turn(
            {"transformers": lambda: side_by_side.last_json([args.peer_python, __file__, "--peer-python", args.peer_python, "--peer-of",
                                                             folder, "--threads", args.threads]),
             "kept": lambda: job(True), "anew": lambda: job(False)},
            args.rounds, lambda a, b: a["all"] < b["all"])
    samples = len(PICTURES) * min(args.questions, len(QUESTIONS))
    theirs = best["transformers"]["all"]
    # Pictures are read where prompts are made: in a job, the phase "tokenize".
    share = {key: round(best[key]["tokenize"] / best[key]["all"], 3) for key in ("kept", "anew")}
    share["transformers"] = round((best["transformers"]["read"] + best["transformers"]["tower"]) / theirs, 3)
    report = {"samples": samples, "pictures": len(PICTURES), "candidates": args.candidates, "threads": args.threads,
              "samples_per_second": {key: round(samples / best[key]["all"], 1) for key in best},
              "share_of_pictures": share,
              "seconds": best}
    labels = {"kept": "merganser, features kept", "anew": "merganser, MERGANSER_IMAGE_CACHE_MIB=0", "transformers": "transformers"}
    print("%d samples on %d pictures, %d threads" % (samples, len(PICTURES), args.threads))
    for key, label in labels.items():
        print("  %-40s %8.1f samples/s   reading and encoding pictures: %4.1f %%   %.1f times transformers"
              % (label, report["samples_per_second"][key], 100 * report["share_of_pictures"][key], theirs / best[key]["all"]))
    side_by_side.write(report, args.output)


if __name__ == "__main__":
    main()
