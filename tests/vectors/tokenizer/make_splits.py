#!/usr/bin/env python3
"""Writes splits.txt.xz: random texts and how Hugging Face's `tokenizers` (PyPI, its Split pre-tokenizer
runs Oniguruma) splits them by the published regular expressions.

usage: make_splits.py EXPRESSIONS > splits.txt
EXPRESSIONS holds name NUL expression NUL ...; expressions joined by newlines apply one after another
(tok_split_expression). Each output line: name, the text in hexadecimal, the pieces' lengths in bytes.
Made with tokenizers 0.23.3 and Python 3.11; only characters of Unicode 14 are used."""
import random
import re
import sys
import unicodedata
from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split

ALPHABET = list("abcXYZ019 .,'’\"!?$+<=>^~|`_-/\\()[]{}#@&*%:;\t\r\n") + list(
    "\u00a0\u0085\u200b\u2003\u3000\u2028éßÜǅʰªΩжЖـ中文龥가\ud7a3ไที่่่́̈٣५Ⅷ½²㎡€©™😀👩\u200d\ufe0f\u0301·—…。、！？～\u017f\u212aſ\u0130\u0300ヿ゠぀ࠀ一\u0800")
BITS = ["'s", "'T", "'re", "'VE", "'lL", "'d", "'\u017f", "  ", "   ", "\r\n", "\n\n", " \n ", "Hello", " World",
        "12345", "1234567", " 42", "don't", "I'M", "...", "!!!", "//", "\n/", "HTMLParser", "camelCase", "ÀÉ", "naïve",
        "\t\t", " \u3000", "русский", "日本語", "한국어", "हिन्दी"]


def text(rng):
    parts = []
    for _ in range(rng.randint(1, 24)):
        kind = rng.random()
        if kind < 0.5:
            parts.append(rng.choice(ALPHABET))
        elif kind < 0.85:
            parts.append(rng.choice(BITS))
        else:
            while True:
                point = rng.randrange(0x20, rng.choice([0x250, 0x3100, 0x1F700]))
                if unicodedata.category(chr(point)) not in ("Cs", "Cn", "Co"):
                    break
            parts.append(chr(point))
    return "".join(parts)


def unescape(token):
    """A token's line in a .vocab file to its bytes."""
    return re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), token)


def main():
    fields = open(sys.argv[1], "rb").read().decode().split("\0")[:-1]
    for name, expression in zip(fields[::2], fields[1::2]):
        rng = random.Random(name)
        splitter = Sequence([Split(Regex(e), "isolated") for e in expression.split("\n")])
        for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 400):
            sample = text(rng)
            pieces = [len(piece.encode()) for piece, _ in splitter.pre_tokenize_str(sample)]
            assert sum(pieces) == len(sample.encode())
            print(name, sample.encode().hex(), ",".join(map(str, pieces)))


if __name__ == "__main__":
    main()
