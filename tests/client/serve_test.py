"""`merganser serve` as a user starts it: one line on stdout when it listens, answers, and a clean end."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

merganser, model = sys.argv[1:3]


def post(url, body, key=""):
    request = urllib.request.Request(url, json.dumps(body).encode(),
                                     {"Content-Type": "application/json", "Authorization": "Bearer " + key})
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)


server = subprocess.Popen([merganser, "serve", model, "--port", "0", "--name", "mine", "--threads", "1"],
                          stdout=subprocess.PIPE, text=True, env=dict(os.environ, MERGANSER_API_KEY="k"))
try:
    line = server.stdout.readline()
    assert line.startswith("serving mine at http://127.0.0.1:"), line
    url = line.split()[-1]
    prompt = "Q: 3+4?\nA:\n"
    body = {"model": "mine", "prompt": prompt, "max_tokens": 12, "temperature": 0, "stop": "\nQ:"}
    answer = post(url + "/completions", body, "k")
    once = subprocess.run([merganser, "generate", model, "--prompt", prompt, "--max-new-tokens", "12", "--stop", "\nQ:"],
                          capture_output=True, text=True, check=True)
    assert answer["choices"][0]["text"] == once.stdout[:-1], (answer, once.stdout)
    try:
        post(url + "/completions", body, "wrong")
        raise AssertionError("a wrong key was let in")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error.code
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=300) == 0, server.returncode
finally:
    server.kill()

missing = subprocess.run([merganser, "serve", "/nowhere/at-all"], capture_output=True, text=True)
assert missing.returncode == 3 and "MODEL: " in missing.stderr, missing
far = subprocess.run([merganser, "serve", model, "--max-length", "99999999"], capture_output=True, text=True)
assert far.returncode == 2 and "max_length is 99999999, more than the model's" in far.stderr, far

with tempfile.TemporaryDirectory() as folder:  # a tokenizer of another model
    for file in pathlib.Path(model).resolve().iterdir():
        pathlib.Path(folder, file.name).symlink_to(file)
    path = pathlib.Path(folder, "tokenizer.json")
    tokens = json.loads(path.read_text())
    known = len(tokens["model"]["vocab"])
    tokens["added_tokens"].append(dict(tokens["added_tokens"][0], id=known, content="<extra>"))
    path.unlink()
    path.write_text(json.dumps(tokens))
    for verb in (["serve", folder], ["generate", folder, "--prompt", "a"]):
        other = subprocess.run([merganser, *verb], capture_output=True, text=True)
        assert other.returncode == 2 and f"has {known + 1} tokens, but config.json's vocab_size is {known}" in other.stderr, other
