"""examples/ja-vlm as its page says, with a few generations: a merge answers Japanese questions about new pictures that its sources
do not answer, a path through its layers is searched behind the same eyes, and the exported checkpoints answer as they were scored."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

merganser, example = os.path.abspath(sys.argv[1]), sys.argv[2]
THREADS = dict(os.environ, OMP_WAIT_POLICY="passive")


def search(folder, job, *candidates):
    """summary.json of `job`, whose stages are given so many candidates."""
    left = list(candidates)
    with open(os.path.join(example, job), encoding="utf-8") as file:
        text = re.sub(r"candidates: \d+", lambda _: f"candidates: {left.pop(0)}", file.read())
    assert not left, left
    with open(os.path.join(folder, job), "w", encoding="utf-8") as file:
        file.write(text)
    out = os.path.join(folder, "out-" + job)
    subprocess.run([merganser, "run", os.path.join(folder, job), "--out", out], check=True, env=THREADS)
    with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
        return json.load(file), out


def answer(model, tasks, row, prompt, *flags):
    return subprocess.run([merganser, "generate", model, "--image", os.path.join(tasks, row["image"]), "--prompt", prompt,
                           "--max-new-tokens", "12", "--device", "cpu", *flags],
                          check=True, stdout=subprocess.PIPE, text=True, env=THREADS).stdout.strip()


def answers(model, tasks, rows):
    """The share of rows that `merganser generate` answers exactly."""
    right = 0
    for row in rows:
        right += answer(model, tasks, row, f"Q: <image>\n{row['question']}\nA:\n") == row["answer"]
    return right / len(rows)


with tempfile.TemporaryDirectory() as folder:
    for name in ("base", "ja", "vlm", "tasks"):
        os.symlink(os.path.abspath(os.path.join(example, name)), os.path.join(folder, name))
    shutil.copy(os.path.join(example, "pictures.yaml"), folder)

    summary, out = search(folder, "job.yaml", 33)
    held_out = {model: metrics["exact_match"] for model, metrics in summary["held_out"]["pictures_test"].items()}
    print({model: score["value"] for model, score in held_out.items()})
    assert held_out["vlm"]["value"] <= 0.02, held_out["vlm"]
    assert set(held_out) == {"base", "ja", "vlm", "average", "winner"}, set(held_out)
    for other in ("base", "ja", "vlm", "average"):
        assert held_out["winner"]["low"] > held_out[other]["high"], (other, held_out)

    with open(os.path.join(example, "tasks", "test.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:24]
    shares = {name: answers(path, os.path.join(example, "tasks"), rows)
              for name, path in (("winner", os.path.join(out, "best")), ("vlm", os.path.join(example, "vlm")))}
    print("generate", shares)
    assert shares["vlm"] <= 0.05 and shares["winner"] > 0.4, shares

    # Through the chat template, as the published model is called: the same prompt.
    best, tasks = os.path.join(out, "best"), os.path.join(example, "tasks")
    for flags in ([], ["--beams", "5", "--repetition-penalty", "1.5"]):
        plain = [answer(best, tasks, row, f"Q: <image>\n{row['question']}\nA:\n", *flags) for row in rows[:3]]
        assert [answer(best, tasks, row, row["question"], "--chat", *flags) for row in rows[:3]] == plain, plain

    summary, out = search(folder, "hybrid.yaml", 22, 24)
    held_out = {model: metrics["exact_match"] for model, metrics in summary["held_out"]["pictures_test"].items()}
    assert held_out["winner"]["low"] > max(held_out[m]["high"] for m in ("base", "ja", "vlm", "average")), held_out
    with open(os.path.join(out, "best", "config.json"), encoding="utf-8") as file:
        assert json.load(file)["architectures"] == ["LlavaForConditionalGeneration"]
