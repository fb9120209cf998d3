#!/bin/sh
# Adapters: the same answers by --adapter, alone, and by pie:core/adapter, side by side in one step.
. tests/e2e/lib.sh
[ -x "$BUILD/tests/tools/random_adapter" ] || { echo "$BUILD/tests/tools/random_adapter is missing"; exit 1; }
mkdir -p "$PIE_HOME/adapters"
for name in a b; do
    ${RUN:-} "$BUILD/tests/tools/random_adapter" "$MODEL" "$PIE_HOME/adapters/$name.gguf" "$(printf %d "'$name")" || fail "random_adapter $name"
done
expect "build" 0 "$BAKERY" build tests/data/adapters -o "$scratch/adapters.wasm"
run() { "$PIE" run "$@" raw-completion -- --prompt "Once upon a time" --temperature 0 --max-tokens 24; }
expect "none" 0 run
plain=$out
expect "a" 0 run --adapter "$PIE_HOME/adapters/a.gguf"
with_a=$out
expect "b" 0 run --adapter "$PIE_HOME/adapters/b.gguf"
with_b=$out
[ "$plain" != "$with_a" ] && [ "$with_a" != "$with_b" ] && pass || fail "adapters change answers" "$plain" "$with_a" "$with_b"
expect "side by side" 0 "$PIE" run --path "$scratch/adapters.wasm" --manifest tests/data/adapters/Pie.toml -- --prompt "Once upon a time"
printf '%s\n' "$out" >"$scratch/lines"
line() { sed -n "$1p" "$scratch/lines" | sed 's/^"//; s/"$//; s/\\n/ /g'; }
flat() { printf '%s' "$1" | tr '\n' ' '; }
# The line and raw-completion's text may differ at the ends: white space, and where it stops.
for pair in "1 $plain" "2 $with_a" "3 $with_b"; do
    number=${pair%% *}
    has "line $number" "$(line "$number")" "$(flat "${pair#* }" | sed 's/^ *//; s/ *$//' | cut -c1-40)"
done
expect "not an adapter" 1 run --adapter "$MODEL"
has "it says so" "$err" "no LoRA adapter"
expect "no such file" 1 run --adapter "$scratch/nothing.gguf"
finish
