#!/bin/sh
# make bench: runs the benches in turn, shows their tables, and collects every line that begins with
# "json: " into BUILD/bench.json. Bench programs can be run alone too; each says how at its top.
# PEER_MODELS="a.gguf b.gguf" adds models to the forward bench, PEER_GUESTS="a.wasm" components to the
# load bench, PEER_INTERPS="name=command {file} {n}" (a line each) interpreters to the
# interpreter bench; each program says what it prints.
set -u
build=$1
results=$build/bench.json
: >"$build/bench.txt"
show() { echo; echo "## $*"; "$@" 2>&1 | tee -a "$build/bench.txt" | grep -v '^json: '; }
show "$build/bench/bench_engine"
show "$build/bench/bench_tok"
for model in build/home/models/default.gguf ${PEER_MODELS:-}; do
    show "$build/bench/bench_forward" "$model"
done
show "$build/bench/bench_interp" --json
show "$build/bench/bench_load" --json build/inferlets/*/*.wasm ${PEER_GUESTS:-}
{ echo '['; sed -n 's/^json: //p' "$build/bench.txt" | sed '$!s/$/,/'; echo ']'; } >"$results"
echo; echo "figures as JSON: $results"
