#!/usr/bin/env python3
"""Writes sentences.txt: random texts and the ids of Google's sentencepiece for SentencePiece vocabularies:
`make_sentences.py COUNT NAME.vocab... | xz -9e > sentences.txt.xz` with the vocabularies unpacked.
Each line: the vocabulary, the text in hexadecimal, the ids. Texts hold no control token's text."""
import random
import sys
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from make_splits import text, unescape

for path in sys.argv[2:]:
    lines = open(path, "rb").read().split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(b"tokens "))
    count = int(lines[at].split()[1])
    tokens = [unescape(t) for t in lines[at + 1:at + 1 + count]]
    at += 1 + count
    types, scores = [], []
    for section, values in ((b"types", types), (b"scores", scores)):
        assert lines[at].startswith(section)
        runs = int(lines[at].split()[1])
        for line in lines[at + 1:at + 1 + runs]:
            parts = line.split()
            for k in range(int(parts[0])):
                values.append(int(parts[1]) if section == b"types" else float(parts[1]) + k * float(parts[2]))
        at += 1 + runs

    model = model_pb2.ModelProto()
    for token, kind, score in zip(tokens, types, scores):
        piece = model.pieces.add()
        piece.piece, piece.score, piece.type = token.decode(), score, kind
    model.trainer_spec.model_type = model_pb2.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(tokens)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    rng = random.Random(7)
    for _ in range(int(sys.argv[1])):
        sample = text(rng)
        ids = ",".join(map(str, processor.encode(sample)))
        print(path.split("/")[-1].split(".")[0], sample.encode().hex(), ids)
