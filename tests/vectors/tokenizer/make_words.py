#!/usr/bin/env python3
"""Writes words.txt: random texts and the ids of Hugging Face's `tokenizers` for byte-level vocabularies:
`make_words.py COUNT EXPRESSIONS NAME.vocab... | xz -9e > words.txt.xz` with the vocabularies unpacked.
Each line: the vocabulary, the text in hexadecimal, the ids; special tokens in the text are parsed."""
import random
import sys
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from make_splits import text, unescape

fields = open(sys.argv[2], "rb").read().decode().split("\0")[:-1]
expressions = dict(zip(fields[::2], fields[1::2]))
for path in sys.argv[3:]:
    lines = open(path, "rb").read().split(b"\n")
    scalars = dict(line.decode().split(" ", 1) for line in lines[:9] if line.startswith((b"tok", b"gen")))
    pre = scalars["tokenizer.ggml.pre"]
    at = next(i for i, line in enumerate(lines) if line.startswith(b"tokens "))
    count = int(lines[at].split()[1])
    raw = [unescape(t) for t in lines[at + 1:at + 1 + count]]
    tokens = [t.decode() for t in raw]
    at += 1 + count
    types = []
    runs = int(lines[at].split()[1])
    for line in lines[at + 1:at + 1 + runs]:
        types += [int(line.split()[1])] * int(line.split()[0])
    at += 1 + runs
    merges, last = [], 0
    for line in lines[at + 1:at + 1 + int(lines[at].split()[1])]:
        delta, left = map(int, line.split())
        last += delta
        merges.append((raw[last][:left].decode(), raw[last][left:].decode()))
    expression = expressions["starcoder" if pre == "refact" else "gpt-2" if pre == "mpt" else pre]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges,
                                     ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(e), "isolated") for e in expression.split("\n")] +
        [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    specials = [t for t, kind in zip(tokens, types) if kind in (3, 4)]
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in specials])
    rng = random.Random(path.split("/")[-1])
    for _ in range(int(sys.argv[1])):
        sample = text(rng)
        if rng.random() < 0.3:
            sample += rng.choice(specials) + text(rng)
        ids = tokenizer.encode(sample, add_special_tokens=False).ids
        print(path.split("/")[-1].split(".")[0], sample.encode().hex(), ",".join(map(str, ids)))
