"""lm-evaluation-harness's local-completions client against `merganser serve`, beside its own hf backend on the same model.

    python tests/golden/lm_eval_serve.py MERGANSER MODEL_DIR XWINOGRAD.tsv

Needs lm_eval, torch, transformers. Scores the first 100 Japanese samples of XWinograd's dataset.tsv (two sentences each, up to the option
as context and what follows it as continuation, as the harness's task does) and 40 greedy completions; prints what differs, and how
many of the scores differ when the harness has the server tokenize (tokenizer_backend=remote, which adds no BOS).
"""
import json
import subprocess
import sys

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI

merganser, model, data = sys.argv[1:4]
samples = []
with open(data, encoding="utf-8") as file:
    for line in file:
        fields = line.rstrip("\n").split("\t")
        if fields[0] != "jp" or len(samples) == 100:
            continue
        words, (_, (begin, end), _), options = (json.loads(field) for field in fields[-3:])
        samples.append([("".join(words[:begin]) + option, "".join(words[end:]), right) for option, _, _, right in options[:2]])
pairs = [(before, after) for sample in samples for before, after, _ in sample]
scoring = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
prompts = [f"Q: {i % 7 + 2}+{i % 5 + 3}?\nA:\n" for i in range(40)]
generating = [Instance("generate_until", {}, (p, {"until": ["\n\n"], "max_gen_toks": 24, "temperature": 0}), i) for i, p in enumerate(prompts)]

server = subprocess.Popen([merganser, "serve", model, "--port", "0", "--name", "m"], stdout=subprocess.PIPE, text=True)
try:
    url = server.stdout.readline().split()[-1]
    client = LocalCompletionsAPI(base_url=url + "/completions", model="m", tokenizer=model, tokenizer_backend="huggingface",
                                 num_concurrent=8, batch_size=4, max_length=512, add_bos_token=True)
    ours = client.loglikelihood(scoring)
    our_texts = client.generate_until(generating)
    bare, remote = (LocalCompletionsAPI(base_url=url + "/completions", model="m", num_concurrent=8, batch_size=4, max_length=512, **how)
                    .loglikelihood(scoring) for how in (dict(tokenizer=model, tokenizer_backend="huggingface"), {}))
finally:
    server.terminate()
hf = HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=8, max_length=512, add_bos_token=True)
theirs = hf.loglikelihood(scoring)
their_texts = hf.generate_until(generating)

pick = lambda scores: [int(scores[2 * i + 1][0] > scores[2 * i][0]) for i in range(len(samples))]
right = lambda picks: sum(bool(sample[pick][2]) for pick, sample in zip(picks, samples))
print(json.dumps({
    "samples": len(samples),
    "largest_difference": max(abs(a[0] - b[0]) for a, b in zip(ours, theirs)),
    "greedy_flags_that_differ": sum(bool(a[1]) != bool(b[1]) for a, b in zip(ours, theirs)),
    "choices_that_differ": sum(a != b for a, b in zip(pick(ours), pick(theirs))),
    "right": {"served": right(pick(ours)), "hf": right(pick(theirs))},
    "scores_that_differ_with_the_remote_tokenizer": sum(a != b for a, b in zip(bare, remote)),
    "completions_that_differ": sum(a.strip() != b.strip() for a, b in zip(our_texts, their_texts)),
}))
