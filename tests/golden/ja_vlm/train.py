"""Trains examples/ja-vlm's family: a base language model of both languages, a small model that sees and speaks English, and the base
tuned on Japanese text. README.md says what for and what came out.

    python train.py OUT_DIR [--stage base tower vlm ja data check]

Needs torch, transformers, tokenizers, numpy and pillow; one CPU thread, no network. Every number below is part of
the reproducible build.
"""
import argparse
import json
import math
import os
import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, MistralConfig, MistralForCausalLM

import pictures as pic

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
IMAGE_TOKENS = pic.GRID ** 2
TEXT = dict(hidden_size=96, intermediate_size=192, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=24,
            max_position_embeddings=512, rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
            pad_token_id=2)
VISION = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, image_size=pic.EDGE, patch_size=pic.CELL,
              projection_dim=48, hidden_act="quick_gelu")
PICTURE_PROMPT = "Q: <image>\n{question}\nA:\n"

BASE = dict(seed=5, steps=1300, batch=32, lr=2e-3)
TOWER = dict(seed=1, steps=400, batch=32, lr=2e-3)
PROJECTOR = dict(seed=2)
VLM = dict(seed=3, steps=250, batch=24, lr=6e-4, captions=0.35)
JA = dict(seed=4, steps=120, batch=24, lr=3e-4)


def pixels(images):
    values = np.stack([np.asarray(i, dtype=np.float32) / 255 for i in images])
    return torch.from_numpy(((values - MEAN) / STD).transpose(0, 3, 1, 2).copy())


def schedule(step, steps, warmup=20):
    return min(1.0, (step + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def run(name, settings, parameters, loss_of):
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01)
    start, total = time.time(), 0.0
    for step in range(settings["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = settings["lr"] * schedule(step, settings["steps"])
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % 50 == 0:
            print("%s step %d loss %.4f %.0f s" % (name, step + 1, total / 50, time.time() - start), flush=True)
            total = 0.0


def make_tokenizer(image=True):
    """A byte-level BPE whose merges build the words of pictures.py and never join two of them, and its size; <image>, if it has it,
    comes after."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=4096, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(pic.WORDS, trainer)
    size = tokenizer.get_vocab_size()
    if image:
        tokenizer.add_special_tokens(["<image>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, size


def batch_of(tokenizer, rows, image_id=None):
    """rows: [(prompt, answer)] -> ids, mask, labels; an <image> is repeated for each row of features. Padded on the right."""
    full = []
    for prompt, answer in rows:
        p, f = tokenizer.encode(prompt).ids, tokenizer.encode(prompt + answer).ids
        assert f[:len(p)] == p, (prompt, answer)
        if image_id is not None:
            p, f = ([t for i in ids for t in ([i] * IMAGE_TOKENS if i == image_id else [i])] for ids in (p, f))
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
    """For each row, whether greedy decoding gives exactly its answer."""
    want, got = labels[:, 1:], logits[:, :-1].argmax(-1)
    return ((want == got) | (want == -100)).all(1)


def tune(name, settings, model, tokenizer, draw):
    """Trains `model` on the texts that `draw` gives."""
    r = random.Random(settings["seed"])

    def loss_of():
        ids, mask, labels = batch_of(tokenizer, [draw(r) for _ in range(settings["batch"])])
        return answer_loss(model(input_ids=ids, attention_mask=mask).logits, labels)

    run(name, settings, model.parameters(), loss_of)


def make_vlm(base):
    """The base's language model with a new tower and projector, and one more token."""
    vocab = base.config.vocab_size
    config = LlavaConfig(vision_config=CLIPVisionConfig(**VISION), text_config=MistralConfig(**TEXT, vocab_size=vocab + 1),
                         image_token_index=vocab, vision_feature_layer=-2, vision_feature_select_strategy="default",
                         image_seq_length=IMAGE_TOKENS, tie_word_embeddings=False)
    model = LlavaForConditionalGeneration(config)
    with_language(model, as_language(base, model.state_dict()))
    return model


def train_tower(model):
    """The tower learns what is in each cell: a thing of a colour, or nothing."""
    r = random.Random(TOWER["seed"])
    heads = torch.nn.ModuleList([torch.nn.Linear(VISION["hidden_size"], n + 1) for n in (len(pic.THINGS), len(pic.COLORS))])
    tower = model.model.vision_tower

    def loss_of():
        scenes = [pic.Scene(r) for _ in range(TOWER["batch"])]
        hidden = tower(pixels([pic.draw(s, r) for s in scenes]), output_hidden_states=True).hidden_states[-2][:, 1:]
        loss = 0
        for head, index in zip(heads, (lambda s: pic.THINGS.index(s.thing), lambda s: pic.COLORS.index(s.color))):
            labels = torch.zeros(len(scenes), IMAGE_TOKENS, dtype=torch.long)
            for i, s in enumerate(scenes):
                labels[i, s.cells] = index(s) + 1
            loss = loss + torch.nn.functional.cross_entropy(head(hidden).flatten(0, 1), labels.flatten())
        return loss

    run("tower", TOWER, list(tower.parameters()) + list(heads.parameters()), loss_of)


def start_projector(model):
    """At random, its features as large as the base's embeddings."""
    r = random.Random(PROJECTOR["seed"])
    projector = model.model.multi_modal_projector
    with torch.no_grad():
        for linear in (projector.linear_1, projector.linear_2):
            torch.nn.init.normal_(linear.weight, std=linear.in_features ** -0.5)
            torch.nn.init.zeros_(linear.bias)
        images = pixels([pic.draw(pic.Scene(r), r) for _ in range(64)])
        features = projector(model.model.vision_tower(images, output_hidden_states=True).hidden_states[-2][:, 1:])
        projector.linear_2.weight *= model.model.language_model.embed_tokens.weight[:-1].std() / features.std()


def picture_batch(model, tokenizer, scenes, rows, r):
    ids, mask, labels = batch_of(tokenizer, rows, image_id=model.config.image_token_index)
    return dict(input_ids=ids, attention_mask=mask, pixel_values=pixels([pic.draw(s, r) for s in scenes])), labels


def train_vlm(model, tokenizer):
    """English questions and captions; only the language model learns. The projector stays at random, so it is the language model
    that learns to read pictures, and a model without its changes does not see."""
    r = random.Random(VLM["seed"])
    language = list(model.model.language_model.parameters()) + list(model.lm_head.parameters())

    def loss_of():
        scenes = [pic.Scene(r) for _ in range(VLM["batch"])]
        rows = [("Q: <image>\n%sA:\n" % q, a) for q, a in (pic.english_qa(s, r, VLM["captions"]) for s in scenes)]
        batch, labels = picture_batch(model, tokenizer, scenes, rows, r)
        return answer_loss(model(**batch).logits, labels)

    run("vlm", VLM, language, loss_of)


def measure(model, tokenizer, japanese, seed=99, pictures=100):
    """[share of questions of each kind answered exactly]"""
    r = random.Random(seed)
    scenes = [pic.Scene(r) for _ in range(pictures)]
    images = pixels([pic.draw(s, r) for s in scenes])
    with torch.no_grad():
        rows = []
        for k in range(len(pic.KINDS)):
            for s in scenes:
                _, qe, ae, qj, aj = pic.questions(s)[k]
                rows.append((PICTURE_PROMPT.format(question=qj), pic.japanese_answer(aj)) if japanese else
                            (PICTURE_PROMPT.format(question=qe), pic.english_answer(ae)))
        ids, mask, labels = batch_of(tokenizer, rows, image_id=model.config.image_token_index)
        logits = model(input_ids=ids, attention_mask=mask, pixel_values=images.repeat(len(pic.KINDS), 1, 1, 1)).logits
        return exact(logits, labels).float().view(len(pic.KINDS), pictures).mean(1).tolist()


def percent(shares):
    return "%5.1f (%s)" % (100 * sum(shares) / len(shares), " ".join("%3.0f" % (100 * x) for x in shares))


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


def check(model, base, ja, tokenizer):
    """What merges do with Japanese questions about new pictures, beside the sources."""
    vlm = language_state(model)
    b, j = as_language(base, vlm), as_language(ja, vlm)
    print("exact answers in % of all (color count thing), 300 questions on 100 new pictures")
    for name, of_vlm, of_ja in [("base", 0, 0), ("vlm", 1, 0), ("ja", 0, 1), ("average", 0.5, 0.5)] + \
            [("task arithmetic", v, w) for v in (0.6, 0.8, 1, 1.2) for w in (0.6, 0.8, 1, 1.2, 1.4)]:
        with_language(model, {k: b[k] + of_vlm * (vlm[k] - b[k]) + of_ja * (j[k] - b[k]) for k in vlm})
        print("%-15s vlm %.1f ja %.1f  English %s  Japanese %s" % (name, of_vlm, of_ja, percent(measure(model, tokenizer, False)),
                                                                  percent(measure(model, tokenizer, True))), flush=True)
    with_language(model, vlm)


# The form of the lessons; a system text, of which there are none, would stand on a line before it.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + '\\n' }}"
    "{% elif m['role'] == 'user' %}{{ 'Q: ' + m['content'] + '\\n' }}{% else %}{{ 'A:\\n' + m['content'] + '\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'A:\\n' }}{% endif %}\n")


def save_tokenizer(tokenizer, out):
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    tokens = {str(i): dict(content=t, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
              for t, i in ((t, tokenizer.token_to_id(t)) for t in ("<unk>", "<s>", "</s>", "<image>")) if i is not None}
    config = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>",
                  clean_up_tokenization_spaces=False, model_max_length=TEXT["max_position_embeddings"], added_tokens_decoder=tokens)
    if tokenizer.token_to_id("<image>") is not None:
        config.update(image_token="<image>")
        with open(os.path.join(out, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write(CHAT_TEMPLATE)
    json.dump(config, open(os.path.join(out, "tokenizer_config.json"), "w"), indent=1)


def save_model(model, tokenizer, out):
    os.makedirs(out, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    model.to(torch.float32)
    save_tokenizer(tokenizer, out)
    if not isinstance(model, LlavaForConditionalGeneration):
        return
    json.dump(dict(image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=pic.EDGE), do_center_crop=True,
                   crop_size=dict(height=pic.EDGE, width=pic.EDGE), do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
                   do_convert_rgb=True, resample=3, image_mean=[float("%.8f" % x) for x in MEAN], image_std=[float("%.8f" % x) for x in STD]),
              open(os.path.join(out, "preprocessor_config.json"), "w"), indent=1)


def save_data(out, seed=2024):
    """Pictures and Japanese questions: train.jsonl for the search, test.jsonl held out."""
    os.makedirs(os.path.join(out, "pictures"), exist_ok=True)
    r = random.Random(seed)
    for split, count in (("train", 50), ("test", 100)):
        with open(os.path.join(out, split + ".jsonl"), "w", encoding="utf-8") as f:
            for i in range(count):
                scene = pic.Scene(r)
                name = "pictures/%s%03d.png" % (split, i)
                pic.draw(scene, r).save(os.path.join(out, name), optimize=True)
                for kind, _, _, question, answer in pic.questions(scene):
                    row = dict(image=name, question=question, answer=pic.japanese_answer(answer), kind=kind)
                    f.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--stage", nargs="*", default=["base", "tower", "vlm", "ja", "data", "check"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeing_tokenizer, vocabulary = make_tokenizer()
    tokenizer, _ = make_tokenizer(image=False)
    path = lambda name: os.path.join(args.out, name)
    work = path("work")
    os.makedirs(work, exist_ok=True)
    load = lambda name: MistralForCausalLM.from_pretrained(path(name), dtype=torch.float32)
    if "data" in args.stage:
        save_data(path("tasks"))
    if "base" in args.stage:
        torch.manual_seed(0)
        base = MistralForCausalLM(MistralConfig(**TEXT, vocab_size=vocabulary))
        tune("base", BASE, base, tokenizer, pic.bilingual_reading)
        save_model(base, tokenizer, path("base"))
    if "tower" in args.stage:
        torch.manual_seed(0)
        model = make_vlm(load("base"))
        train_tower(model)
        torch.save(model.model.vision_tower.state_dict(), os.path.join(work, "tower.pt"))
    if "vlm" in args.stage:
        torch.manual_seed(0)
        model = make_vlm(load("base"))
        model.model.vision_tower.load_state_dict(torch.load(os.path.join(work, "tower.pt")))
        start_projector(model)
        train_vlm(model, seeing_tokenizer)
        save_model(model, seeing_tokenizer, path("vlm"))
    if "ja" in args.stage:
        ja = load("base")
        tune("ja", JA, ja, tokenizer, pic.japanese_reading)
        save_model(ja, tokenizer, path("ja"))
    if "check" in args.stage:
        check(LlavaForConditionalGeneration.from_pretrained(path("vlm"), dtype=torch.float32), load("base"), load("ja"), seeing_tokenizer)


if __name__ == "__main__":
    main()
