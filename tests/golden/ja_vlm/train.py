"""Trains a tiny vision-language family (README.md says how far it is): a small model that sees and speaks English, and a language
model tuned on Japanese text.

    python train.py OUT_DIR [--start examples/ja-math/base] [--stage tower base vlm ja data check]

Needs torch, transformers, tokenizers, safetensors, numpy and pillow; one CPU thread, no network. Every number below is part of
the reproducible build.
"""
import argparse
import json
import math
import os
import random
import shutil
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, MistralConfig, MistralForCausalLM,
                          PreTrainedTokenizerFast)

import pictures as pic

HERE = os.path.dirname(os.path.abspath(__file__))
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
PATCH = 8
IMAGE_TOKENS = (pic.EDGE // PATCH) ** 2
VISION = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, image_size=pic.EDGE,
              patch_size=PATCH, projection_dim=64, hidden_act="quick_gelu")
PROMPT = "Q: <image>\n{question}\nA:\n"
TEXT_PROMPT = "Q: {question}\nA:\n"

TOWER = dict(seed=1, steps=900, batch=64, lr=2e-3)
BASE = dict(seed=5, steps=400, batch=32, lr=1e-3)
VLM = dict(seed=3, steps=600, batch=16, lr=6e-4, tower_lr=2e-3)
JA = dict(seed=4, steps=150, batch=24, lr=5e-4)


def pixels(images):
    values = np.stack([np.asarray(i, dtype=np.float32) / 255 for i in images])
    return torch.from_numpy(((values - MEAN) / STD).transpose(0, 3, 1, 2).copy())


def schedule(step, steps, warmup=20):
    return min(1.0, (step + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def run(name, settings, groups, loss_of, clip=1.0):
    """groups: [(parameters, learning rate)]"""
    optimizer = torch.optim.AdamW([dict(params=list(p), lr=lr) for p, lr in groups], betas=(0.9, 0.98), weight_decay=0.01)
    rates, start, total = [lr for _, lr in groups], time.time(), 0.0
    for step in range(settings["steps"]):
        for group, lr in zip(optimizer.param_groups, rates):
            group["lr"] = lr * schedule(step, settings["steps"])
        loss = loss_of(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % 50 == 0:
            print("%s step %d loss %.4f %.0f s" % (name, step + 1, total / 50, time.time() - start), flush=True)
            total = 0.0


def tokenizer_with_image(base):
    """The base's tokenizer.json with <image> as the next id."""
    spec = json.load(open(os.path.join(base, "tokenizer.json"), encoding="utf-8"))
    spec["added_tokens"].append(dict(spec["added_tokens"][0], id=1024, content="<image>"))
    return spec


def load_tokenizer(spec):
    from tokenizers import Tokenizer
    return Tokenizer.from_str(json.dumps(spec))


def batch_of(tokenizer, rows, image_id=None):
    """rows: [(prompt, answer)] -> ids, mask, labels; an <image> is repeated for each row of features. Padded on the right."""
    full = []
    for prompt, answer in rows:
        p, f = tokenizer.encode(prompt).ids, tokenizer.encode(prompt + answer).ids
        assert f[:len(p)] == p, (prompt, answer)
        if image_id is not None:
            expand = lambda ids: [t for i in ids for t in ([i] * IMAGE_TOKENS if i == image_id else [i])]
            p, f = expand(p), expand(f)
        full.append((f + [2], len(p)))
    width = max(len(f) for f, _ in full)
    ids = torch.full((len(full), width), 2)
    labels = torch.full((len(full), width), -100)
    mask = torch.zeros((len(full), width), dtype=torch.long)
    for i, (f, n) in enumerate(full):
        ids[i, :len(f)] = torch.tensor(f)
        mask[i, :len(f)] = 1
        labels[i, n:len(f)] = torch.tensor(f[n:])
    return ids, mask, labels


def answer_loss(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100)


def exact(logits, labels):
    """Share of rows whose answer greedy decoding would give exactly."""
    want, got = labels[:, 1:], logits[:, :-1].argmax(-1)
    return ((want == got) | (want == -100)).all(1)


def make_vlm(base):
    """The base's language model with a new tower and projector, and one more token."""
    text = json.load(open(os.path.join(base, "config.json")))
    text_config = MistralConfig(**{k: text[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                                        "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps",
                                                        "sliding_window", "tie_word_embeddings", "bos_token_id", "eos_token_id")},
                                vocab_size=text["vocab_size"] + 1)
    config = LlavaConfig(vision_config=CLIPVisionConfig(**VISION), text_config=text_config, image_token_index=text["vocab_size"],
                         vision_feature_layer=-2, vision_feature_select_strategy="default", image_seq_length=IMAGE_TOKENS,
                         tie_word_embeddings=False)
    model = LlavaForConditionalGeneration(config)
    own = model.state_dict()
    for name, tensor in load_file(os.path.join(base, "model.safetensors")).items():
        target = own["lm_head.weight" if name == "lm_head.weight" else name.replace("model.", "model.language_model.", 1)]
        target[:len(tensor)] = tensor.float()
        if len(target) != len(tensor):
            target[len(tensor):] = tensor.float().mean(0)  # <image>
    return model


def train_tower(model):
    torch.manual_seed(TOWER["seed"])
    r = random.Random(TOWER["seed"])
    heads = torch.nn.ModuleList([torch.nn.Linear(VISION["hidden_size"], n) for n in (len(pic.THINGS), len(pic.COLORS), pic.MAX_COUNT)])
    tower = model.model.vision_tower

    def loss_of(step):
        scenes = [pic.Scene(r) for _ in range(TOWER["batch"])]
        hidden = tower(pixels([pic.draw(s, r) for s in scenes]), output_hidden_states=True).hidden_states[-2][:, 1:].mean(1)
        labels = [[pic.THINGS.index(s.thing) for s in scenes], [pic.COLORS.index(s.color) for s in scenes], [s.count - 1 for s in scenes]]
        return sum(torch.nn.functional.cross_entropy(head(hidden), torch.tensor(l)) for head, l in zip(heads, labels))

    run("tower", TOWER, [(list(tower.parameters()) + list(heads.parameters()), TOWER["lr"])], loss_of)


def picture_loss(model, tokenizer, settings, r):
    scenes = [pic.Scene(r) for _ in range(settings["batch"])]
    rows = [pic.english_qa(s, r) for s in scenes]
    ids, mask, labels = batch_of(tokenizer, [(PROMPT.format(question=q), a) for q, a in rows], image_id=1024)
    logits = model(input_ids=ids, attention_mask=mask, pixel_values=pixels([pic.draw(s, r) for s in scenes])).logits
    return answer_loss(logits, labels)


def train_vlm(model, tokenizer):
    eyes = list(model.model.multi_modal_projector.parameters()) + list(model.model.vision_tower.parameters())
    language = list(model.model.language_model.parameters()) + list(model.lm_head.parameters())
    r = random.Random(VLM["seed"])
    run("vlm", VLM, [(language, VLM["lr"]), (eyes, VLM["tower_lr"])], lambda step: picture_loss(model, tokenizer, VLM, r))


def tune(name, settings, base, tokenizer, draw):
    """`base` tuned on the texts that `draw` gives."""
    torch.manual_seed(settings["seed"])
    model = MistralForCausalLM.from_pretrained(base, dtype=torch.float32)
    r = random.Random(settings["seed"])

    def loss_of(step):
        rows = [draw(r) for _ in range(settings["batch"])]
        ids, mask, labels = batch_of(tokenizer, [(TEXT_PROMPT.format(question=q), a) for q, a in rows])
        return answer_loss(model(input_ids=ids, attention_mask=mask).logits, labels)

    run(name, settings, [(model.parameters(), settings["lr"])], loss_of)
    return model


def measure(model, tokenizer, japanese, seed=99, pictures=150):
    """{kind of question: share answered exactly}"""
    r = random.Random(seed)
    scenes = [pic.Scene(r) for _ in range(pictures)]
    images = pixels([pic.draw(s, r) for s in scenes])
    result = {}
    with torch.no_grad():
        for k, kind in enumerate(("color", "count", "thing")):
            rows = []
            for s in scenes:
                _, qe, ae, qj, aj = pic.questions(s)[k]
                rows.append((PROMPT.format(question=qj), pic.japanese_answer(aj)) if japanese else
                            (PROMPT.format(question=qe), pic.english_answer(ae)))
            ids, mask, labels = batch_of(tokenizer, rows, image_id=1024)
            logits = model(input_ids=ids, attention_mask=mask, pixel_values=images).logits
            result[kind] = exact(logits, labels).float().mean().item()
    return result


def report(model, tokenizer, name):
    model.eval()
    for japanese in (False, True):
        print(name, "Japanese" if japanese else "English", {k: round(v, 3) for k, v in measure(model, tokenizer, japanese).items()}, flush=True)
    model.train()


def language_state(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items() if "language_model" in k or k.startswith("lm_head")}


def with_language(model, state):
    own = model.state_dict()
    for name, value in state.items():
        own[name].copy_(value)


def as_language(text_model, like):
    """A plain language model's tensors under the VLM's names, with the VLM's row for <image>."""
    out = {}
    for name, tensor in text_model.state_dict().items():
        target = "lm_head.weight" if name == "lm_head.weight" else name.replace("model.", "model.language_model.", 1)
        full = like[target].clone()
        full[:len(tensor)] = tensor
        out[target] = full
    return out


def check(model, ja, base, tokenizer):
    """What merges do with Japanese questions about pictures."""
    vlm = language_state(model)
    b = as_language(MistralForCausalLM.from_pretrained(base, dtype=torch.float32), vlm)
    j = as_language(ja, vlm)
    report(model, tokenizer, "vlm")
    for name, wv, wj in [("ja", 0, 1), ("average", 0.5, 0.5), ("ta 0.8 0.8", 0.8, 0.8), ("ta 1 1", 1, 1), ("ta 0.6 1", 0.6, 1), ("ta 1 0.6", 1, 0.6), ("ta 1 1.3", 1, 1.3)]:
        with_language(model, {k: b[k] + wv * (vlm[k] - b[k]) + wj * (j[k] - b[k]) for k in vlm})
        report(model, tokenizer, name)
    with_language(model, vlm)


def save_config(model, spec, base, out):
    config = model.config.to_dict()
    config["architectures"] = ["LlavaForConditionalGeneration"]
    config["dtype"] = "bfloat16"
    config.pop("transformers_version", None)
    json.dump(config, open(os.path.join(out, "config.json"), "w"), indent=1, sort_keys=True)


def save_vlm(model, spec, base, out):
    os.makedirs(out, exist_ok=True)
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    model.to(torch.float32)
    json.dump(spec, open(os.path.join(out, "tokenizer.json"), "w", encoding="utf-8"), ensure_ascii=False)
    conf = json.load(open(os.path.join(base, "tokenizer_config.json")))
    conf["added_tokens_decoder"]["1024"] = dict(conf["added_tokens_decoder"]["0"], content="<image>")
    conf.update(image_token="<image>", tokenizer_class="PreTrainedTokenizerFast")
    json.dump(conf, open(os.path.join(out, "tokenizer_config.json"), "w"), indent=1)
    shutil.copy(os.path.join(base, "generation_config.json"), out)
    json.dump(dict(image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=pic.EDGE), do_center_crop=True,
                   crop_size=dict(height=pic.EDGE, width=pic.EDGE), do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
                   do_convert_rgb=True, resample=3, image_mean=[float("%.8f" % x) for x in MEAN], image_std=[float("%.8f" % x) for x in STD]),
              open(os.path.join(out, "preprocessor_config.json"), "w"), indent=1)


def save_text_model(model, base, out):
    os.makedirs(out, exist_ok=True)
    state = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(state, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    for name in ("config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copy(os.path.join(base, name), out)


def save_data(out):
    """Pictures and Japanese questions: train.jsonl for the search, test.jsonl held out."""
    os.makedirs(os.path.join(out, "pictures"), exist_ok=True)
    r = random.Random(2024)
    for split, count in (("train", 40), ("test", 80)):
        rows = []
        for i in range(count):
            scene = pic.Scene(r)
            name = "pictures/%s%03d.png" % (split, i)
            pic.draw(scene, r).save(os.path.join(out, name), optimize=True)
            for kind, _, _, question, answer in pic.questions(scene):
                rows.append(dict(image=name, question=question, answer=pic.japanese_answer(answer), kind=kind))
        with open(os.path.join(out, split + ".jsonl"), "w", encoding="utf-8") as f:
            for row in rows:
                f.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--start", default=os.path.join(HERE, "../../../examples/ja-math/base"))
    parser.add_argument("--stage", nargs="*", default=["tower", "base", "vlm", "ja", "data", "check"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    spec = tokenizer_with_image(args.start)
    tokenizer = load_tokenizer(spec)
    work, base = os.path.join(args.out, "work"), os.path.join(args.out, "base")
    os.makedirs(work, exist_ok=True)
    if "data" in args.stage:
        save_data(os.path.join(args.out, "tasks"))
    if "base" in args.stage:
        save_text_model(tune("base", BASE, args.start, tokenizer, pic.mixed_reading), args.start, base)
    if "tower" in args.stage:
        torch.manual_seed(0)
        model = make_vlm(args.start)
        train_tower(model)
        torch.save(model.model.vision_tower.state_dict(), os.path.join(work, "tower.pt"))
    if "vlm" in args.stage:
        torch.manual_seed(0)
        model = make_vlm(base)
        model.model.vision_tower.load_state_dict(torch.load(os.path.join(work, "tower.pt")))
        train_vlm(model, tokenizer)
        save_vlm(model, spec, base, os.path.join(args.out, "vlm"))
        torch.save(model.state_dict(), os.path.join(work, "vlm.pt"))
    if "ja" in args.stage:
        save_text_model(tune("ja", JA, base, tokenizer, pic.japanese_reading), base, os.path.join(args.out, "ja"))
    if "check" in args.stage:
        model = make_vlm(base)
        model.load_state_dict(torch.load(os.path.join(work, "vlm.pt")))
        check(model, MistralForCausalLM.from_pretrained(os.path.join(args.out, "ja"), dtype=torch.float32), base, tokenizer)


if __name__ == "__main__":
    main()
