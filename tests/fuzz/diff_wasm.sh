#!/bin/sh
# Compares COUNT generated modules from seed FIRST on with node; prints the first differences.
# Usage: diff_wasm.sh PROGRAM FIRST COUNT
set -u
program=$1; seed=$2; end=$(($2 + $3)); step=2000; differ=0
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
while [ "$seed" -lt "$end" ]; do
    [ $((seed + step)) -gt "$end" ] && step=$((end - seed))
    "$program" run "$seed" "$step" >"$scratch/ours" || { echo "$program died after seed:"; tail -n 1 "$scratch/ours"; exit 1; }
    "$program" emit "$seed" "$step" | node --stack-size=7000 "$(dirname "$0")/diff_wasm.js" "$seed" >"$scratch/theirs" || exit 1
    if ! cmp -s "$scratch/ours" "$scratch/theirs"; then
        diff "$scratch/ours" "$scratch/theirs" | head -n 20
        differ=$((differ + $(diff "$scratch/ours" "$scratch/theirs" | grep -c '^<')))
    fi
    seed=$((seed + step))
done
echo "seeds $2 to $end: $differ differ"
[ "$differ" -eq 0 ]
