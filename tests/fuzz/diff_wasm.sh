#!/bin/sh
# Compares COUNT generated modules from seed FIRST on with V8; stops early after SECONDS, if given.
#
#     diff_wasm.sh PROGRAM FIRST COUNT [SECONDS]
#
# NODE names the node to use: 24 or newer, which has all of WebAssembly 3.0 that is compared
# (`npm install node@26` gives one in a folder of its own). A line of progress after every chunk of
# 4,000 seeds says where another run can go on; differing seeds are printed, ours (<) and theirs (>),
# and DIFF_LOG, if set, names a file that they and the progress are appended to. One of them alone:
#     PROGRAM run SEED 1;  PROGRAM emit SEED 1 | tail -c +5 > seed.wasm
set -u
program=$1; seed=$2; end=$(($2 + $3)); limit=${4:-0}
node=${NODE:-node}; log=${DIFF_LOG:-/dev/null}
step=4000; differ=0; began=$(date +%s)
version=$("$node" -p 'process.versions.node.split(".")[0]') || exit 2
[ "$version" -ge 24 ] || { echo "$node is version $version: 24 or newer is needed (NODE=...)"; exit 2; }
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
while [ "$seed" -lt "$end" ]; do
    [ $((seed + step)) -gt "$end" ] && step=$((end - seed))
    "$program" run "$seed" "$step" >"$scratch/ours" &
    ours=$!
    # Liftoff alone: a module runs so briefly that optimising it would be all the work.
    "$program" emit "$seed" "$step" |
        "$node" --stack-size=7000 --liftoff-only --single-threaded "$(dirname "$0")/diff_wasm.js" "$seed" >"$scratch/theirs" ||
        { echo "$node failed"; exit 1; }
    wait "$ours" || { echo "$program died after seed:"; tail -n 1 "$scratch/ours"; exit 1; }
    if ! cmp -s "$scratch/ours" "$scratch/theirs"; then
        diff "$scratch/ours" "$scratch/theirs" | grep '^[<>]' | tee -a "$log"
        differ=$((differ + $(diff "$scratch/ours" "$scratch/theirs" | grep -c '^<')))
    fi
    seed=$((seed + step))
    took=$(($(date +%s) - began))
    echo "$((seed - $2)) modules in $took s, $differ differ; next seed $seed" | tee -a "$log"
    [ "$limit" -gt 0 ] && [ "$took" -ge "$limit" ] && break
done
[ "$differ" -eq 0 ]
