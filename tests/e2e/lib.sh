# Shared by the end-to-end scripts: a scratch folder, counting, and a few expectations. Source it
# from the repository's root; $BUILD names the build folder.
set -u
BUILD=${BUILD:-build}
PIE=$BUILD/pie
BAKERY=$BUILD/bakery
MODEL=build/home/models/default.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -n "${RUN:-}" ]; then # an emulator
    for program in pie bakery; do
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$RUN" "$PWD/$BUILD/$program" >"$scratch/$program"
        chmod +x "$scratch/$program"
    done
    PIE=$scratch/pie
    BAKERY=$scratch/bakery
fi
export PIE_HOME=$scratch/home
[ "$BUILD" = build ] || export PIE_SDK=$PWD/sdk # beside build/bakery it is found without help
mkdir -p "$PIE_HOME/models"
[ -f "$MODEL" ] && ln -s "$PWD/$MODEL" "$PIE_HOME/models/default.gguf"
passed=0
failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAILED: $1"; shift; for line in "$@"; do echo "    $line"; done; }

# expect NAME STATUS COMMAND...: runs it, keeps $out and $err, checks the exit status.
expect() {
    name=$1; want=$2; shift 2
    "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
    got=$?
    out=$(cat "$scratch/out"); err=$(cat "$scratch/err")
    if [ "$got" -eq "$want" ]; then pass; else fail "$name" "exit $got, expected $want" "stdout: $out" "stderr: $err"; fi
}
# has NAME TEXT PART: TEXT contains PART.
has() { case $2 in *"$3"*) pass ;; *) fail "$1" "expected: $3" "found: $2" ;; esac; }
same() { if [ "$2" = "$3" ]; then pass; else fail "$1" "expected: $2" "found: $3"; fi; }
finish() { echo "$passed passed, $failed failed"; [ "$failed" -eq 0 ]; exit; }
