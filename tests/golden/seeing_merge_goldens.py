"""What transformers answers with the average, made with numpy, of two models that see.

    python tests/golden/seeing_merge_goldens.py

writes tests/worker/evaluate/testdata/seeing_merge.json for seeing_merge_test.cc: the LLaVA-NeXT fixture of
tests/worker/vision/testdata with the tokenizer of examples/ja-math and an <image> token, a second one whose weights are 1.25 and 0.75
times the first's in turn, and the answers (fp32, greedy, 8 tokens) of both and of their average. Needs torch, transformers, tokenizers,
numpy and pillow.
"""
import json
import os
import tempfile

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FIXTURE = os.path.join(ROOT, "tests", "worker", "vision", "testdata")
QUESTIONS = [("rocket.jpg", "これは何ですか。"), ("page.png", "これは何ですか。"), ("rocket.jpg", "何色ですか。"), ("page.png", "What is it?")]
IMAGE = 1024


def other(x):
    factors = np.where(np.arange(x.size) % 2 == 0, np.float32(1.25), np.float32(0.75))
    return (x.reshape(-1) * factors).reshape(x.shape)


def answers(model, processor, tokenizer):
    texts = []
    for picture, question in QUESTIONS:
        image = Image.open(os.path.join(FIXTURE, "images", picture)).convert("RGB")
        inputs = processor(images=image, return_tensors="pt")
        with torch.no_grad():
            features = model.get_image_features(**inputs)
            features = getattr(features, "pooler_output", features)
            rows = sum(len(f) if f.ndim == 2 else f.shape[-2] for f in features)
            ids = [t for i in tokenizer.encode("<image>\n" + question).ids for t in ([i] * rows if i == IMAGE else [i])]
            out = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                                 max_new_tokens=8, pad_token_id=2, **inputs)[0, len(ids):].tolist()
        texts.append(tokenizer.decode([t for t in out if t != 2], skip_special_tokens=True))
    return texts


def main():
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(os.path.join(ROOT, "examples", "ja-math", "base", "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<image>", special=True)])
    assert tokenizer.token_to_id("<image>") == IMAGE
    fixture = os.path.join(FIXTURE, "llava_next")
    processor = transformers.AutoImageProcessor.from_pretrained(fixture)
    # Weights as the file has them, so that "in turn" means the same here and there.
    own = load_file(os.path.join(fixture, "model.safetensors"))
    assert all(x.dtype == np.float32 for x in own.values())
    result = {}
    for name, make in (("vlm", lambda x: x), ("other", other), ("average", lambda x: np.float32(0.5) * x + np.float32(0.5) * other(x))):
        with tempfile.TemporaryDirectory() as folder:
            for file in ("config.json", "generation_config.json", "preprocessor_config.json"):
                with open(os.path.join(fixture, file)) as source, open(os.path.join(folder, file), "w") as target:
                    target.write(source.read())
            save_file({key: make(x) for key, x in own.items()}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
            model = transformers.LlavaNextForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
            result[name] = answers(model, processor, tokenizer)
        print(name, result[name])
    out = os.path.join(ROOT, "tests", "worker", "evaluate", "testdata")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "seeing_merge.json"), "w", encoding="utf-8") as file:
        json.dump(result, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
