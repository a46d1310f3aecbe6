#!/usr/bin/env python3
"""Validates each job of examples/published and runs two generations of it on small stand-ins of the same architecture.

    published_jobs_test.py MERGANSER SOURCE_DIR

Models and data are replaced; space, optimizer, population and the order of stages stay as the files say.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

STAND_INS = {"base": "ja-math/base", "shisa": "ja-math/ja", "wizard": "ja-math/math-en", "arithmo": "ja-math/math-en",
             "abel": "ja-paths/math-x-drop", "evollm": "ja-paths/ja-drop"}


def make_vlm(source, folder):
    """The tiny LLaVA-NeXT of the tests, with the examples' tokenizer and an <image> token; and questions about two pictures."""
    vlm, base = os.path.join(folder, "vlm"), os.path.join(source, "examples/ja-math/base")
    shutil.copytree(os.path.join(source, "tests/worker/vision/testdata/llava_next"), vlm)
    shutil.copy(os.path.join(base, "tokenizer_config.json"), vlm)
    with open(os.path.join(base, "tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    tokenizer["added_tokens"].append(dict(tokenizer["added_tokens"][0], id=1024, content="<image>"))
    with open(os.path.join(vlm, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(tokenizer, file)
    pictures = os.path.join(source, "tests/worker/vision/testdata/images")
    with open(os.path.join(folder, "vqa.jsonl"), "w", encoding="utf-8") as file:
        for name in ("rocket.jpg", "page.png"):
            file.write(json.dumps(dict(image=os.path.join(pictures, name), qas=[dict(question="何ですか。", answer="写真です。")])) + "\n")
    # MeCab's dictionary is not everywhere, and the stand-ins have 512 positions.
    with open(os.path.join(folder, "vqa.yaml"), "w", encoding="utf-8") as file:
        file.write('data: vqa.jsonl\nprompt: "<image>\\n{{qas[0].question}}"\ntarget: "{{qas[0].answer}}"\nmax_new_tokens: 8\nlanguage: ja\n'
                   'language_of_reference: true\nmetrics: [{name: rougeL, unit: characters}]\nsampling: {beams: 5, repetition_penalty: 1.5}\n')


def small_vlm(text, examples, folder):
    for name, path in (("base", "ja-math/base"), ("shisa", "ja-math/ja")):
        text, n = re.subn(r"(?m)^(  %s: +\{path: )[^,]+," % name, r"\g<1>%s/%s," % (examples, path), text)
        assert n == 1, text
    text, n = re.subn(r"(?m)^(  llava: \{path: )\S+\}$", r"\g<1>%s/vlm}" % folder, text)
    assert n == 1, text
    text = re.sub(r"\{use: ja_v\w+, data: data/\S+\.jsonl\}", "{use: %s/vqa.yaml}" % folder, text)
    return text.replace("budget: {candidates: 1000}", "budget: {generations: 2}")


def small(text, examples, data):
    def model(match):
        return f"{match[1]}{match[2]}:{match[3]}{{path: {examples}/{STAND_INS[match[2]]}}}"
    text, models = re.subn(r"(?m)^(  )(\w+):( +)\{path: \S+/\S+\}$", model, text)
    assert models >= 2, text
    text = re.sub(r"data: data/\S+\.jsonl", f"data: {data}", text)
    text = re.sub(r"\{use: mgsm_ja, ", "{use: mgsm_ja, max_new_tokens: 8, prompt: \"Q: {{question}}\\\\nA:\\\\n\", ", text)
    text = re.sub(r"budget: \{(candidates|generations): \d+\}", "budget: {generations: 2}", text)
    return text.replace("per_generation: 200", "per_generation: 4")


def main():
    merganser, source = (os.path.abspath(path) for path in sys.argv[1:3])
    examples = os.path.join(source, "examples")
    published = os.path.join(examples, "published")
    names = sorted(name for name in os.listdir(published) if name.endswith(".yaml"))
    assert len(names) >= 5, names
    env = dict(os.environ, LID176FTZ_PATH=os.path.join(examples, "ja-math/lid.176.ftz"))
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data.jsonl")
        with open(os.path.join(examples, "ja-math/tasks/ja_math.train.jsonl"), encoding="utf-8") as rows:
            lines = [next(rows) for _ in range(8)]
        with open(data, "w", encoding="utf-8") as out:
            out.writelines(lines)
        make_vlm(source, folder)
        for name in names:
            with open(os.path.join(published, name), encoding="utf-8") as file:
                text = file.read()
            sees = "llava" in text
            job = os.path.join(folder, name)
            with open(job, "w", encoding="utf-8") as file:
                file.write(small_vlm(text, examples, folder) if sees else small(text, examples, data))
            plan = json.loads(subprocess.run([merganser, "validate", job, "-o", "json"], env=env, check=True,
                                             stdout=subprocess.PIPE).stdout)
            out = os.path.join(folder, "out-" + name)
            done = subprocess.run([merganser, "run", job, "--out", out, "--threads", "1", "--device", "cpu"], env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}"
            with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
                summary = json.load(file)
            assert summary["state"] == "succeeded", summary
            stages = plan.get("stages", [plan])
            searched = sum(2 * stage["population"] for stage in stages)
            assert summary["candidates"]["search"] == searched, (name, summary["candidates"])
            if "data_flow" in text:
                assert stages[-1]["population"] == 128 and stages[-1]["dimension"] == 3 * 12 + 12 * 12, plan
            else:
                assert (stages[0]["population"], stages[0]["dimension"]) == ((8, 4) if sees else (9, 6)), plan
            scores = summary["held_out"]["ja_vg_vqa_500" if sees else "mgsm_ja_test"]
            assert "winner" in scores
            # A path is folded into the checkpoint, and what was written is scored again.
            assert ("exported" in scores) == bool(summary["best"]["recipe"].get("path")), scores
            assert os.path.exists(os.path.join(out, "best/config.json"))
            assert os.path.exists(os.path.join(out, "best/preprocessor_config.json")) == sees
            print(f"{name}: {searched} candidates in {len(stages)} stages", flush=True)


if __name__ == "__main__":
    main()
