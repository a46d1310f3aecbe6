"""Asks an exported LLaVA checkpoint through transformers and through `merganser generate` and compares the answers.

    python tests/golden/check_vlm_export.py MERGANSER MODEL_DIR PROMPT PICTURE...
    python tests/golden/check_vlm_export.py MERGANSER MODEL_DIR PROMPT SAMPLES.jsonl

PROMPT holds one <image>, and {{question}} where samples (`image`, `question`) are given. fp32, greedy, 16 tokens; tokens are those
of MODEL_DIR/tokenizer.json on both sides. Needs torch, transformers, tokenizers and pillow.
"""
import json
import os
import subprocess
import sys

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer


def asked(prompt, files):
    """[(prompt, picture)]"""
    if not files[0].endswith(".jsonl"):
        return [(prompt, picture) for picture in files]
    rows = [json.loads(line) for line in open(files[0], encoding="utf-8")]
    return [(prompt.replace("{{question}}", row["question"]), os.path.join(os.path.dirname(files[0]), row["image"])) for row in rows]


def main():
    merganser, model_dir, samples = sys.argv[1], sys.argv[2], asked(sys.argv[3], sys.argv[4:])
    config = json.load(open(model_dir + "/config.json"))
    model = getattr(transformers, config["architectures"][0]).from_pretrained(model_dir, dtype=torch.float32).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(model_dir)
    tokenizer = Tokenizer.from_file(model_dir + "/tokenizer.json")
    image_token = model.config.image_token_index if hasattr(model.config, "image_token_index") else model.config.image_token_id
    equal = 0
    for prompt, picture in samples:
        inputs = processor(images=Image.open(picture).convert("RGB"), return_tensors="pt")
        with torch.no_grad():
            features = model.get_image_features(**inputs)
            features = getattr(features, "pooler_output", features)
            rows = sum(len(f) if f.ndim == 2 else f.shape[-2] for f in features)
            ids = [t for i in tokenizer.encode(prompt).ids for t in ([i] * rows if i == image_token else [i])]
            out = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                                 max_new_tokens=16, pad_token_id=2, **inputs)[0, len(ids):].tolist()
        theirs = tokenizer.decode([t for t in out if t != 2], skip_special_tokens=True)
        ours = subprocess.run([merganser, "generate", model_dir, "--image", picture, "--prompt", prompt, "--max-new-tokens", "16", "--device",
                               "cpu", "--compute", "fp32"], check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip("\n")
        equal += ours == theirs.rstrip("\n")
        if ours != theirs.rstrip("\n"):
            print(picture, repr(ours), repr(theirs))
    print("%d of %d answers are equal" % (equal, len(samples)))
    sys.exit(equal != len(samples))


if __name__ == "__main__":
    main()
