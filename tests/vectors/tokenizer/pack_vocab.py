#!/usr/bin/env python3
"""Turns the tokenizer metadata of a GGUF file into the text that vocab.h reads (the tests build an
in-memory GGUF from it again): `pack_vocab.py FILE.gguf | xz -9e > NAME.vocab.xz`.

Lines: `key value` for scalars, then sections. Tokens: one a line, \\ \\n \\r escaped. Types: `count type`
runs. Scores: `count first step` runs of arithmetic sequences. Merges, in order: `delta left`, the merged token's id minus that of the merge before, and the
length in bytes of its left part. Needs `pip install gguf`."""
import struct
import sys
from gguf import GGUFReader

reader = GGUFReader(sys.argv[1])
out = sys.stdout.buffer


def strings(key):
    field = reader.fields.get(key)
    return None if field is None else [bytes(field.parts[i]) for i in field.data]


def numbers(key):
    field = reader.fields.get(key)
    return None if field is None else [field.parts[i][0] for i in field.data]


def scalar(key):
    field = reader.fields.get(key)
    if field is not None:
        value = field.parts[field.data[0]]
        text = bytes(value) if field.types[0].name == "STRING" else str(int(value[0])).encode()
        out.write(key.encode() + b" " + text + b"\n")


for key in ["general.architecture"] + ["tokenizer.ggml." + k for k in (
        "model", "pre", "bos_token_id", "eos_token_id", "unknown_token_id", "eot_token_id",
        "add_bos_token", "add_eos_token", "add_space_prefix")]:
    scalar(key)

tokens = strings("tokenizer.ggml.tokens")
out.write(b"tokens %d\n" % len(tokens))
for token in tokens:
    out.write(token.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r") + b"\n")

types = numbers("tokenizer.ggml.token_type")
runs = []
for value in types:
    if runs and runs[-1][1] == value:
        runs[-1][0] += 1
    else:
        runs.append([1, value])
out.write(b"types %d\n" % len(runs))
for count, value in runs:
    out.write(b"%d %d\n" % (count, value))

scores = numbers("tokenizer.ggml.scores")
if scores:
    runs = []
    for value in map(float, scores):
        if runs and (runs[-1][0] == 1 or value == runs[-1][1] + runs[-1][0] * runs[-1][2]):
            if runs[-1][0] == 1:
                runs[-1][2] = value - runs[-1][1]
            runs[-1][0] += 1
        else:
            runs.append([1, value, 0.0])
    out.write(b"scores %d\n" % len(runs))
    for count, first, step in runs:
        out.write(b"%d %.9g %.9g\n" % (count, first, step))
        check = [struct.unpack("f", struct.pack("f", float("%.9g" % first) + i * float("%.9g" % step)))[0] for i in range(count)]
        at = sum(r[0] for r in runs[:runs.index([count, first, step])])
        assert check == [float(s) for s in scores[at:at + count]]

merges = strings("tokenizer.ggml.merges")
if merges:
    ids = {token: i for i, token in enumerate(tokens)}
    out.write(b"merges %d\n" % len(merges))
    last = 0
    for merge in merges:
        space = merge.index(b" ", 1)
        merged = ids[merge[:space] + merge[space + 1:]]
        out.write(b"%d %d\n" % (merged - last, space))
        last = merged
