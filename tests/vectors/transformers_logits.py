"""Prints what transformers (PyTorch, CPU, float32) computes for a folder of safetensors: the source
of forward/st-*.txt. Not part of the build; see forward/README.md.
    transformers_logits.py FOLDER ID ID ...     the logits behind every token, one row a line"""
import sys

import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager")
ids = torch.tensor([[int(word) for word in sys.argv[2:]]])
with torch.no_grad():
    for row in model(ids).logits[0].tolist():
        print(*("%.9g" % value for value in row))
