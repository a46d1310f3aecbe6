#!/usr/bin/env python3
"""Goldens of worker/vision, made with transformers 5, torchvision and Pillow.

    python tests/golden/vision_goldens.py LLAVA_NEXT_FIXTURE_DIR IMAGES_DIR

writes tests/worker/vision/testdata: decoded pictures' digests (images.json), what the image processors make of them, a tiny LLaVA-1.5
model with reference outputs (llava/), and beam outputs for the LLaVA-NeXT fixture (llava_next/).
"""
import hashlib
import json
import os
import shutil
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration,
                          LlavaNextForConditionalGeneration)
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor
from transformers.models.llava_next.image_processing_llava_next import LlavaNextImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "worker", "vision", "testdata")
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def levels(values, processor):
    """Pixel values back to the 8-bit levels that they were made of."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (processor.image_mean, processor.image_std))
    x = (values.double() * std + mean) * 255
    assert (x - x.round()).abs().max() < 1e-2
    return x.round().to(torch.uint8).numpy()


def made_images(folder):
    """Kinds of files that the set lacks, from a crop of one that it has."""
    photo = Image.open(os.path.join(folder, "rocket.jpg")).convert("RGB").crop((300, 60, 397, 133))
    photo.convert("CMYK").save(os.path.join(OUT, "images", "cmyk.jpg"), quality=90)
    photo.convert("L").save(os.path.join(OUT, "images", "grey.jpg"), quality=90)
    photo.save(os.path.join(OUT, "images", "progressive.jpg"), quality=85, progressive=True)
    photo.convert("LA").save(os.path.join(OUT, "images", "grey_alpha.png"))
    photo.convert("1").save(os.path.join(OUT, "images", "one_bit.png"))
    Image.fromarray((np.asarray(photo.convert("L")).astype(np.uint16) * 257)).save(os.path.join(OUT, "images", "grey16.png"))


def images(folder):
    os.makedirs(os.path.join(OUT, "images"), exist_ok=True)
    for name in sorted(os.listdir(folder)):
        if name.endswith((".png", ".jpg")):
            shutil.copyfile(os.path.join(folder, name), os.path.join(OUT, "images", name))
    made_images(os.path.join(OUT, "images"))
    clip = CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    padded = LlavaImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_pad=True)
    pil = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    anyres = LlavaNextImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, image_grid_pinpoints=PINPOINTS)
    result = {}
    for name in sorted(os.listdir(os.path.join(OUT, "images"))):
        if name in ("truncated.jpg", "grey16.png"):
            continue
        image = Image.open(os.path.join(OUT, "images", name)).convert("RGB")
        entry = {"width": image.width, "height": image.height, "rgb": digest(np.asarray(image))}
        values = clip(images=image, return_tensors="pt")["pixel_values"]
        ours = levels(values, clip)
        entry["clip"] = digest(ours)
        entry["padded"] = digest(levels(padded(images=image, return_tensors="pt")["pixel_values"], padded))
        entry["clip_first"] = values[0, :, 0, 0].tolist()
        theirs = levels(pil(images=image, return_tensors="pt")["pixel_values"], pil)
        difference = np.abs(ours.astype(int) - theirs.astype(int))
        entry["pillow_differs"] = float((difference > 0).mean())
        entry["pillow_difference_max"] = int(difference.max())
        tiles = anyres(images=image, return_tensors="pt")["pixel_values"][0]
        entry["tiles"] = tiles.shape[0]
        entry["anyres"] = digest(levels(tiles, anyres))
        result[name] = entry
        print(name, entry["width"], entry["height"], "tiles", entry["tiles"], "pillow differs", round(entry["pillow_differs"], 4),
              "by at most", entry["pillow_difference_max"])
    json.dump(result, open(os.path.join(OUT, "images.json"), "w"), indent=1)


def beams(model, **inputs):
    return model.generate(**inputs, do_sample=False, num_beams=5, repetition_penalty=1.5, max_new_tokens=16, pad_token_id=2,
                          eos_token_id=2)


def llava():
    """A tiny LLaVA-1.5 over a Llama, files as transformers writes them."""
    out = os.path.join(OUT, "llava")
    os.makedirs(out, exist_ok=True)
    vision = CLIPVisionConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, image_size=24,
                              patch_size=8, projection_dim=32, hidden_act="quick_gelu")
    text = LlamaConfig(vocab_size=301, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
                       num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=300, vision_feature_layer=-2,
                         vision_feature_select_strategy="default")
    model = LlavaForConditionalGeneration(config).eval()
    random = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 0.7 / (p[0].numel() ** 0.5) if p.ndim == 2 else 0.05 if p.ndim == 4 else 0.02
            p.copy_(torch.randn(p.shape, generator=random) * scale + (1 if p.ndim == 1 and not name.endswith("bias") else 0))
        table = model.get_input_embeddings().weight
        table.copy_(torch.randn(table.shape, generator=random) * 0.3)
    model.save_pretrained(out)
    processor = CLIPImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    processor.save_pretrained(out)
    image = Image.open(os.path.join(OUT, "images", "rocket.jpg")).convert("RGB")
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    ids = torch.tensor([[1, 17, 45] + [300] * 9 + [101, 5, 250, 33]])
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)
    with torch.no_grad():
        features = model.get_image_features(pixel_values=pixels)
        features = getattr(features, "pooler_output", features)
        features = features[0] if isinstance(features, (list, tuple)) else features
        logits = model(**inputs).logits
        greedy = model.generate(**inputs, do_sample=False, max_new_tokens=16, pad_token_id=2, eos_token_id=2)
        best = beams(model, **inputs)
    n = ids.shape[1]
    save_file({"pixel_values": pixels, "image_features": features.reshape(-1, 48).contiguous(), "input_ids": ids,
               "logits": logits.float().contiguous(), "greedy": greedy[:, n:].contiguous(), "beams": best[:, n:].contiguous()},
              os.path.join(out, "reference.safetensors"))
    print("llava", sum(p.numel() for p in model.parameters()), "parameters; greedy", greedy[0, n:].tolist(), "beams", best[0, n:].tolist())


def llava_next(fixture):
    out = os.path.join(OUT, "llava_next")
    os.makedirs(out, exist_ok=True)
    for name in ("config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors", "image.png"):
        shutil.copyfile(os.path.join(fixture, name), os.path.join(out, name))
    reference = load_file(os.path.join(fixture, "reference.safetensors"))
    model = LlavaNextForConditionalGeneration.from_pretrained(fixture, dtype=torch.float32).eval()
    ids = reference["input_ids"]
    with torch.no_grad():
        best = beams(model, input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=reference["pixel_values"],
                     image_sizes=reference["image_sizes"])
    reference["beams"] = best[:, ids.shape[1]:].contiguous()
    # Only some rows: the file is otherwise mostly logits.
    reference["logits"] = reference["logits"][:, -8:].contiguous()
    save_file(reference, os.path.join(out, "reference.safetensors"))
    print("llava_next beams", reference["beams"][0].tolist())


if __name__ == "__main__":
    torch.set_num_threads(1)
    images(sys.argv[2])
    llava()
    llava_next(sys.argv[1])
