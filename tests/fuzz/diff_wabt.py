#!/usr/bin/env python3
"""Compares generated modules with wabt's interpreter (Debian: wabt), which shares no code with V8.

    tests/fuzz/diff_wabt.py build/tests/fuzz/diff_wasm FIRST COUNT [SECONDS]

Only what wabt 1.0.32 knows: vectors, tail calls, several memories and tables, shapes. It does not
show memory, so that the modules hash theirs. What differs is printed; wabt's traps in words of its
own are reduced to the classes of outcome.c."""
import os
import struct
import subprocess
import sys
import tempfile
import time

SIMD, TAIL_CALLS, MEMORIES, TABLES, SHAPES, START, FLOATS, HASH = 1, 2, 8, 64, 256, 512, 1024, 2048
MIXES = [TAIL_CALLS, SIMD | TAIL_CALLS, SHAPES, SHAPES | SIMD, MEMORIES | SIMD,
         TABLES | TAIL_CALLS | START, TABLES | SIMD | FLOATS]
CLASSES = [('out of bounds memory access', 'memory'), ('memory', 'memory'),
           ('unreachable', 'unreachable'), ('integer divide by zero', 'divide'),
           ('integer overflow', 'number'), ('invalid conversion to integer', 'number'),
           ('uninitialized table element', 'call'), ('indirect call signature mismatch', 'call'),
           ('undefined table index', 'table'), ('out of bounds table access', 'table'),
           ('call stack exhausted', 'stack')]


def theirs(path):
    out = subprocess.run(['wasm-interp', '--enable-tail-call', '--enable-multi-memory',
                          '--run-all-exports', path], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=60, check=False).stdout
    words = []
    for line in out.splitlines():
        if line.startswith('error initializing'):
            return ['instantiate:trap']
        if '=> i64:' in line:
            words.append('%016x' % int(line.split(':')[1]))
        elif '=> error: ' in line:
            text = line.split('=> error: ')[1]
            words.append(next((word for start, word in CLASSES if text.startswith(start)), text))
        else:
            words.append(line)
    return words


def main():
    program, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    limit = float(sys.argv[4]) if len(sys.argv) > 4 else 0
    began, differ, done, step = time.time(), 0, 0, 100
    with tempfile.NamedTemporaryFile(suffix='.wasm') as file:
        for seed in range(first, first + count, step):
            n = min(step, first + count - seed)
            environ = dict(os.environ, DIFF_FEATURES=str(HASH | MIXES[seed // step % len(MIXES)]))
            modules, lines = (subprocess.run([program, verb, str(seed), str(n)], env=environ,
                                             capture_output=True, check=True).stdout
                              for verb in ('emit', 'run'))
            at = 0
            for line in lines.decode().splitlines():
                size, = struct.unpack_from('<I', modules, at)
                file.seek(0)
                file.truncate()
                file.write(modules[at + 4:at + 4 + size])
                file.flush()
                at += 4 + size
                ours = [word for word in line.split()[1:] if ':' not in word or word[0] == 'i']
                other = theirs(file.name)
                if ours != other:
                    differ += 1
                    print('<', line, '\n>', line.split()[0], *other, environ['DIFF_FEATURES'], flush=True)
            done += n
            if done % 1000 == 0 or done == count:
                print(f'{done} modules in {time.time() - began:.0f} s, {differ} differ', flush=True)
            if limit and time.time() - began > limit:
                break
    sys.exit(differ != 0)


main()
