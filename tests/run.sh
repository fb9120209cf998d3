#!/bin/sh
# Runs test programs and adds up what they report. A program is a cmocka binary, or a script or
# binary that prints a line `N passed, N failed`. One that reports nothing or dies counts as failed.
# Usage: run.sh BUILD PROGRAM...; $RUN, if set, is what runs a binary (an emulator).
set -u
build=$1; shift
passed=0; failed=0
mkdir -p "$build/logs"
for program in "$@"; do
    log="$build/logs/$(echo "$program" | tr '/' '_').log"
    begin=$(date +%s)
    case $program in
    *.sh) BUILD=$build sh "$program" >"$log" 2>&1 ;;
    *) BUILD=$build ${RUN:-} "$program" >"$log" 2>&1 ;;
    esac
    code=$?
    seconds=$(($(date +%s) - begin))
    counts=$(awk '
        /^\[  PASSED  \] [0-9]+ test/ { p += $4; seen = 1 }
        /^\[  FAILED  \] [0-9]+ test/ { f += $4; seen = 1 }
        /^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3; seen = 1 }
        END { print p + 0, f + 0, seen + 0 }' "$log")
    set -- $counts "$@"
    p=$1; f=$2; seen=$3; shift 3
    if [ "$seen" -eq 0 ] || { [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; }; then f=$((f + 1)); fi
    passed=$((passed + p)); failed=$((failed + f))
    if [ "$f" -ne 0 ]; then
        printf 'FAIL  %s (exit %d, %d failed; %s)\n' "$program" "$code" "$f" "$log"
        tail -n 30 "$log" | sed 's/^/      | /'
    else
        printf 'ok    %s (%d, %d s)\n' "$program" "$p" "$seconds"
        sed -n 's/^note: /      /p' "$log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
