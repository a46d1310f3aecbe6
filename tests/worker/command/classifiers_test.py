"""examples/classifiers, as its page says: models of a family that the engine does not run, scored by a program."""
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

merganser, example = os.path.abspath(sys.argv[1]), sys.argv[2]
# score.yaml's `python3` is the Python that runs this test.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
try:
    import torch  # noqa: F401
except Exception as error:  # another Python than the torch wheel's
    print(f"skipped: {error}")
    sys.exit(77)


def without_owner():
    """Checkpoints in memory that nobody holds: other processes' are locked as long as these live."""
    left = set()
    for name in os.listdir("/dev/shm"):
        if name.startswith("merganser-model-"):
            try:
                at = os.open(os.path.join("/dev/shm", name), os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(at, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.add(name)
            except BlockingIOError:
                pass
            os.close(at)
    return left


with tempfile.TemporaryDirectory() as folder:
    for name in ("make.py", "score.py", "score.yaml", "job.yaml"):
        shutil.copy(os.path.join(example, name), folder)
    subprocess.run([sys.executable, "make.py"], cwd=folder, check=True)

    layers = open(os.path.join(folder, "job.yaml")).read().replace("granularity: model", "granularity: layer")
    with open(os.path.join(folder, "layers.yaml"), "w") as file:
        file.write(layers)
    refused = subprocess.run([merganser, "run", "layers.yaml", "--allow-commands"], cwd=folder, capture_output=True, text=True)
    assert refused.returncode != 0 and "use granularity: model or {filters: [...]}" in refused.stderr, refused

    refused = subprocess.run([merganser, "run", "job.yaml"], cwd=folder, capture_output=True, text=True)
    assert refused.returncode != 0 and "--allow-commands" in refused.stderr, refused

    subprocess.run([merganser, "run", "job.yaml", "--allow-commands", "--out", "out"], cwd=folder, check=True)
    with open(os.path.join(folder, "out", "summary.json"), encoding="utf-8") as file:
        summary = json.load(file)
    best = list(summary["best"]["fitness"].values())[0]
    alone = {}
    for name in ("base", "left", "right"):
        env = dict(os.environ, MERGANSER_MODEL_DIR=os.path.join(folder, name))
        out = subprocess.run([sys.executable, "score.py"], cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True)
        alone[name] = json.loads(out.stdout)["acc"]
    print("alone", alone, "merged", best)
    assert best > max(alone.values()) + 0.1, (alone, best)
    assert os.path.exists(os.path.join(folder, "out", "best", "model.safetensors"))
    left = without_owner()
    if left:  # another process may have made one that it has not locked yet
        time.sleep(1)
        left &= without_owner()
    assert not left, left
