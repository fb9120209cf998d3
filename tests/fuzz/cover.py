#!/usr/bin/env python3
"""Which handlers of the interpreter did generated modules run, which not?

    make BUILD=build/cover WASM_COVERAGE=1 build/cover/tests/fuzz/diff_wasm
    rm -f /tmp/counts; WASM_COVERAGE_OUT=/tmp/counts build/cover/tests/fuzz/diff_wasm run 0 20000 >/dev/null
    tests/fuzz/cover.py /tmp/counts

Prints how many handlers of ops.def and of sequences.def ran, and names those that never did."""
import re
import sys

counts = {}
for line in open(sys.argv[1]):
    count, name = line.split()
    counts[name] = counts.get(name, 0) + int(count)
sequences = {}
for line in open('interp/wasm/sequences.def'):
    match = re.match(r'SEQUENCE(?:_LOOP)?\((\d+), \d+, (.*)\)', line)
    if match:
        sequences[match.group(1)] = match.group(2)
ops = {name: count for name, count in counts.items() if not name.isdigit()}
missing = [name for name, count in ops.items() if count == 0]
missing_sequences = [number for number in sequences if counts.get(number, 0) == 0]
print(f'instructions: {len(ops) - len(missing)} of {len(ops)} ran on their own')
print(f'sequences: {len(sequences) - len(missing_sequences)} of {len(sequences)} ran to their end')
for name in missing:
    print('never:', name)
for number in missing_sequences:
    print('never:', number, sequences[number])
