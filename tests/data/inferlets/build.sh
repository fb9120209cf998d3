#!/bin/sh
# Makes the committed .wasm files of this folder from their sources. Needs clang-19 and wasm-ld-19.
set -eu
cd "$(dirname "$0")"
for source in *.c; do
    clang-19 --target=wasm32 -std=gnu11 -Oz -nostdlib -ffreestanding -Wall -Wextra -Werror \
        -mbulk-memory -c "$source" -o "/tmp/$$.o"
    wasm-ld-19 --no-entry --stack-first -z stack-size=32768 --export-memory --gc-sections \
        --strip-debug "/tmp/$$.o" -o "${source%.c}.wasm"
    rm "/tmp/$$.o"
done
