#!/usr/bin/env python3
"""Writes tests/worker/benchmark/testdata/number_rules.jsonl: what the two published extraction rules find in texts.

Usage: number_rules.py OUT_FILE
Sakana: re.findall(r"\\d*\\.?\\d+", text)[-1] as a float. JP-LMEH: re.findall(r"(\\-?[0-9\\.\\,]+)", text)[-1], "." stripped,
"," dropped, must be an integer (where the original would raise, nothing is found). Python 3.11, Unicode 14.
"""
import json
import random
import re
import sys

TEXTS = [
    "", "答えは18です。", "1,234", "1,000", "100,000円", "−5", "-5", "1.2.3", "2024年5月", "１２", "答えは１２．５です",
    "十八", "١٢٣", "१८", "𝟙𝟘", "5.", ".5", "-.5", "...", ".,", "-", "--5", "3-4", "5,.", "1.0", "1.5", "12.50 ドル", "7.0.",
    "9" * 20, "9" * 400, "0.1", "1e5", "²", "½", "①", "Ⅳ", "5\n6", "$1,234,567.00", "a1b2c", "٣.٤", "3.٤", "1٫5",
    "\u0000 7", "007", "答えは 42", "#### 1,080", "x=-0", "1,2,3", "100%", "3:30", "᠑᠒", "-1,000", "0.30000000000000004",
]
ALPHABET = list("0123456789.,- 5５٣९答a-.,.\n\t²𝟗$") + ["\u0000", "😀", "、", "−"]


def sakana(text):
    matches = re.findall(r"\d*\.?\d+", text)
    return repr(float(matches[-1].replace(",", ""))) if matches else None


def jp_lmeh(text):
    matches = re.findall(r"(\-?[0-9\.\,]+)", text)
    if not matches:
        return None
    try:
        number = float(matches[-1].strip(".").replace(",", ""))
    except ValueError:
        return None
    return str(int(number)) if number.is_integer() else None


def main(path):
    rng = random.Random(42)
    texts = TEXTS + ["".join(rng.choices(ALPHABET, k=rng.randint(1, 16))) for _ in range(600)]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for text in texts:
            golden = {"text": text, "sakana": sakana(text), "jp_lmeh": jp_lmeh(text)}
            file.write(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
