#!/usr/bin/env python3
"""Writes tests/worker/text/testdata: what tokenizers, transformers and jinja2 make of texts, chats and prompts.

  pip install tokenizers==0.23.* transformers==5.* jinja2==3.1.*
  python tests/golden/text_goldens.py

The tokenizers are the example family's (SentencePiece BPE with byte fallback) and a small byte-level BPE that this
script trains on its own texts and stores.
"""
import json
import pathlib

import jinja2
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/worker/text/testdata"
BASE = ROOT / "examples/ja-math/base"

TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n ", "a", " a", "a ", "  a  b   c ", "Hello, world!", "hello\nworld\n",
    "Q: What is 12 + 30?\nA:\n", "Tom has 5 apples. He buys 7 more. How many apples does Tom have?",
    "問題: りんごが5個あります。3個食べました。残りは何個ですか。\n答え:\n", "答えは18です。", "答えは 18 です", "こんにちは世界",
    "東京特許許可局", "ﾊﾝｶｸ カナ", "全角１２３ＡＢＣ", "　全角空白　", "「括弧」、読点。", "日本語とEnglishの混在text",
    "薔薇と鬱と麒麟", "𠮷野家", "🍎", "🍎🍏 apple", "👩‍👩‍👧‍👦 family", "🇯🇵", "é", "e\u0301", "naïve café", "Ünïcödé", "Привет",
    "안녕하세요", "مرحبا", "0", "1234567890", "3.14159", "1,000,000", "12+34=46", "-5 * (3 - 2)", "½ ² ∑ √ ≤",
    "<s>", "</s>", "<unk>", "<s>text</s>", "a<s>b", " <s> ", "<s", "<0x0A>", "▁", "▁▁a", "a▁b", "\u00a0nbsp\u200bzwsp",
    "\ufffd", "x\ufffdy", "\x00\x01\x7f", "\r\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "<|im_start|>user\nhi<|im_end|>",
    "The quick brown fox jumps over the lazy dog. " * 4, "def f(x):\n    return x ** 2\n", "http://example.com/?a=1&b=2",
]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[AddedToken("<|endoftext|>", special=True)], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS, trainer)
    # What a training script may leave behind; loading must ignore both.
    tokenizer.enable_truncation(max_length=4)
    tokenizer.enable_padding(length=8, pad_id=0, pad_token="<|endoftext|>")
    return tokenizer


def encodings(tokenizer):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        cases.append({
            "text": text, "ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=False),
            "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    return cases


CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{% endif %}
"""

LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{%- if date_string is not defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

PYTHONIC = """{# what templates in the wild ask of Python #}
{%- set ns = namespace(last=-1, multi=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and message.content is string and not(message.content.startswith('<tool>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
last={{ ns.last }} none={{ none }} true={{ true }} list={{ [1, 'a', none, 2.5, "it's"] }} float={{ 1e16 }} {{ 0.00001 }} {{ 2.0 }}
{% for message in messages %}
    {% if message.content is string %}
        {% set parts = message.content.split('</think>') %}
<{{ message.role|upper }}>{{ parts[-1].lstrip('\\n') }}{{ message.content.strip().endswith('.') }}
    {% else %}
        {% for part in message.content %}
            {% if part.type == 'image' %}<image>{% continue %}{% endif %}
{{ part['text']|replace('a', 'A') }}
        {% endfor %}
    {% endif %}
    {% generation %}[{{ message.get('name', 'nobody') }}]{% endgeneration %}

{% endfor %}
{% for key, value in (extra or {}).items() %}
{{ key }}={{ value|tojson }}{{ ', ' if not loop.last }}
{%- endfor %}
{{ missing }}{{ messages|map(attribute='role')|join('/') }}{{ {'b': 1, 'a': [true]}|tojson(sort_keys=true, separators=(',', ':')) }}
{{ {'k': 'é<&>\\'"\\n', 'e': [], 'n': [1, {'x': none}]}|tojson(indent=2) }}{{ 'é🍎'|tojson(ensure_ascii=true) }}
{% macro field(name, value=3) %}{{ name }}:{{ value }};{% endmacro %}
{{ field('x') }}{{ field('y', value=none) }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}
"""

USER = {"role": "user", "content": "1 + 1 は?"}
ASSISTANT = {"role": "assistant", "content": "<think>\nlet me see\n</think>\n\n2 です。", "tool_calls": None}
SYSTEM = {"role": "system", "content": "  You are <helpful> & kind.\n"}
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {"b": 1.5, "a": "é<b>"}}}]}
IMAGE = {"role": "user", "name": "ann", "content": [{"type": "image"}, {"type": "text", "text": "What is a banana?"}]}
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds <two> \"numbers\".", "parameters": {}}}

CHATS = [
    ("chatml", CHATML, [SYSTEM, USER], True, {}), ("chatml", CHATML, [USER, ASSISTANT, USER], False, {}),
    ("llama3", LLAMA3, [SYSTEM, USER], True, {}), ("llama3", LLAMA3, [USER, ASSISTANT], False, {"date_string": "1 Jan"}),
    ("llama3", LLAMA3, [USER, CALL], True, {"tools": [TOOL]}), ("mistral", MISTRAL, [USER, ASSISTANT, USER], True, {}),
    ("mistral", MISTRAL, [USER, USER], True, {}), ("mistral", MISTRAL, [SYSTEM], True, {}),
    ("llama3", LLAMA3, [{"role": "assistant", "tool_calls": []}], True, {}),
    ("pythonic", PYTHONIC, [SYSTEM, USER, ASSISTANT, IMAGE], True, {"extra": {"z": [1, 2.5, None], "a": "é"}}),
    ("pythonic", PYTHONIC, [USER], False, {}),
]


def chats():
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(BASE / "tokenizer.json"), bos_token="<s>", eos_token="</s>",
                                        unk_token="<unk>")
    cases = []
    for name, source, messages, prompt, extra in CHATS:
        tokenizer.chat_template = source
        case = {"template": name, "messages": messages, "add_generation_prompt": prompt, "extra": extra}
        try:
            case["text"] = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompt, **extra)
        except jinja2.exceptions.TemplateError as e:
            case["error"] = str(e)
        cases.append(case)
    return {"templates": {name: source for name, source, *_ in CHATS}, "cases": cases}


PROMPTS = [
    ("Q: {{question}}\nA:\n", {"question": "1 < 2 & \"3\"?"}),
    ("{{question}}", {"question": "りんご🍎\n"}), ("\n\n{{x}}\n\n", {"x": ""}), ("plain text, no newline", {}),
    ("{% for c in choices %}\n{{ loop.index }}. {{ c }}\n{% endfor %}\nAnswer:", {"choices": ["a", "b"]}),
    ("  {% if n > 1 %}\nmany\n  {% else %}one{% endif %}\n", {"n": 2}),
    ("{{ choices }} {{ n }} {{ f }} {{ t }} {{ nothing }} {{ d }}",
     {"choices": ["it's", 'say "x"', "日本"], "n": 3, "f": 0.1, "t": True, "nothing": None, "d": {"k": [1.0]}}),
    ("{{ choices[answer] }}{{ ['A', 'B', 'C'].index(letter) }}", {"choices": ["x", "y"], "answer": 1, "letter": "C"}),
    ("{{ q.strip() }}|{{ q|trim }}|{{ q.split()[0].capitalize() }}|{{ q|length }}", {"q": "  hello world "}),
    ("{{ x if x is defined else 'unset' }}{{ y|default('d') }}", {}),
    ("{{ doc.a.b }}/{{ doc['a']['b'] }}/{{ doc.list[-1] }}", {"doc": {"a": {"b": "deep"}, "list": [1, 2, 3]}}),
    ("{% set ns = namespace(n=0) %}{% for v in vs %}{% set ns.n = ns.n + v %}{% endfor %}{{ ns.n }}", {"vs": [1, 2, 3]}),
    ("{{ text | regex_replace('\\\\s+', ' ') }}{{ text | regex_replace('(\\\\w)(\\\\d)?x', '\\\\2-\\\\g<1>', 1) }}",
     {"text": "a  b1x\n cx"}),
    ("{{ a ~ b }}{{ a // 2 }}{{ a / 2 }}{{ a % 4 }}{{ a ** 2 }}{{ '%.2f'|format(a) }}", {"a": 7, "b": "s"}),
    ("{{ choices.label.index(answerKey) }}{{ s.index('界') }}{{ s.partition('世') }}{{ 'a.b.c'.rpartition('.')[0] }}",
     {"choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B", "s": "世界"}),
    ("{{ 'a.b.c'.rsplit('.', 1) }}{{ '  a b  c '.rsplit(None, 1) }}{{ ' x  y '.rsplit() }}{{ 'a.b'.rsplit('.') }}"
     "{{ 'Q: x'.removeprefix('Q: ') }}{{ 'x.'.removesuffix('.') }}{{ 'x'.removeprefix('y') }}", {}),
    ("{{ '{:,}'.format(n) }}{{ 'x' in s }}{{ s[1:3] }}{{ s[::-1] }}", {"n": 1234567, "s": "xyzw"}),
]


def regex_replace(string, pattern, repl, count=0):
    import re
    return re.compile(pattern).sub(repl, string, count=count)


def prompts():
    # lm-evaluation-harness, lm_eval/utils.py
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = regex_replace
    return [{"template": source, "context": context, "text": environment.from_string(source).render(**context)}
            for source, context in PROMPTS]


def write(name, value):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, list):
        text = "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]\n"
    else:
        text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text)


def main():
    write("byte_fallback.json", encodings(Tokenizer.from_file(str(BASE / "tokenizer.json"))))
    trained = byte_level()
    (OUT / "byte_level").mkdir(parents=True, exist_ok=True)
    (OUT / "byte_level/tokenizer.json").write_text(trained.to_str(pretty=False) + "\n")
    write("byte_level.json", encodings(trained))
    write("chats.json", chats())
    write("prompts.json", prompts())


if __name__ == "__main__":
    main()
