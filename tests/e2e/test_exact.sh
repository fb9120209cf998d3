#!/bin/sh
# The same bytes for any number of threads and any instruction set.
. tests/e2e/lib.sh
story='{"prompt":"Tell me a short story about a cat.","temperature":0.8,"seed":11,"max_tokens":60}'
reference=
for simd in scalar avx2 avx512 vnni neon dotprod; do # the best there is for those this CPU lacks
    for threads in 1 2 3; do
        expect "$simd, $threads threads" 0 env PIE_SIMD=$simd "$PIE" run text-completion --threads $threads --input "$story"
        [ -n "$reference" ] || reference=$out
        same "$simd, $threads threads: the same bytes" "$reference" "$out"
    done
done
finish
