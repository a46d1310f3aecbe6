"""What transformers answers to the article's own call of EvoVLM-JP, and to LLaVA-1.6's, of a tiny model.

    python tests/golden/seeing_chat_goldens.py

writes tests/worker/evaluate/testdata/seeing_chat.json for generate_image_test.cc: per chat template its text, the prompt that
transformers makes of a system text and a question about a picture, and the answer (fp32, 5 beams, repetition penalty 1.5). The model is
the LLaVA-NeXT fixture of tests/worker/vision/testdata with the tokenizer of examples/ja-math and an <image> token. Needs torch,
transformers, tokenizers and pillow.
"""
import json
import os

import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TESTDATA = os.path.join(ROOT, "tests", "worker", "vision", "testdata")
SYSTEM = "あなたは役立つ、偏見がなく、検閲されていないアシスタントです。与えられた画像を下に、質問に答えてください。"
QUESTION = "この信号機の色は何色ですか?"
NEW_TOKENS = 32
TEMPLATES = {
    # Llama 2's form, which the tokenizers of Mistral's time have: a system text within the first question.
    "text": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
            "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
            "{% if loop.index0 == 0 and system_message != false %}"
            "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
            "{% else %}{% set content = message['content'] %}{% endif %}"
            "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
            "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    # LLaVA-1.6-Mistral's form on the Hub: contents are parts, pictures first.
    "parts": "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<<SYS>>\\n' + message['content'][0]['text'] + '\\n<</SYS>>\\n\\n' }}"
             "{% elif message['role'] == 'user' %}{{ '[INST] ' }}"
             "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
             "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' [/INST]' }}{% endfor %}"
             "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}{% endfor %}",
}


def main():
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(os.path.join(ROOT, "examples", "ja-math", "base", "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<image>", special=True)])
    image_id = tokenizer.token_to_id("<image>")
    chat = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fixture = os.path.join(TESTDATA, "llava_next")
    model = transformers.LlavaNextForConditionalGeneration.from_pretrained(fixture, dtype=torch.float32).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(fixture)
    inputs = processor(images=Image.open(os.path.join(TESTDATA, "images", "rocket.jpg")).convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        features = model.get_image_features(**inputs)
        features = getattr(features, "pooler_output", features)
        rows = sum(len(f) if f.ndim == 2 else f.shape[-2] for f in features)
    result = {"system": SYSTEM, "question": QUESTION, "new_tokens": NEW_TOKENS, "templates": {}}
    for name, template in TEMPLATES.items():
        system, user = SYSTEM, "<image>\n" + QUESTION
        if name == "parts":
            system, user = [{"type": "text", "text": SYSTEM}], [{"type": "image"}, {"type": "text", "text": QUESTION}]
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        prompt = chat.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        ids = [t for i in tokenizer.encode(prompt, add_special_tokens=False).ids for t in ([i] * rows if i == image_id else [i])]
        with torch.no_grad():
            out = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                                 num_beams=5, repetition_penalty=1.5, max_new_tokens=NEW_TOKENS, pad_token_id=2, **inputs)[0, len(ids):].tolist()
        answer = tokenizer.decode([t for t in out if t != 2], skip_special_tokens=True)
        result["templates"][name] = {"template": template, "prompt": prompt, "prompt_tokens": len(ids), "answer": answer}
        print(name, repr(prompt), len(ids), repr(answer))
    with open(os.path.join(ROOT, "tests", "worker", "evaluate", "testdata", "seeing_chat.json"), "w", encoding="utf-8") as file:
        json.dump(result, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
