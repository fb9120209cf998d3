# Prints a folder and every folder it may include, directly or through others (FLOORS, column 4).
# Usage: awk -f closure.awk -v folder=engine/forward FLOORS
/^#/ || NF < 3 { next }
{ uses[$2] = ""; for (i = 4; i <= NF; i++) uses[$2] = uses[$2] " " $i }
END {
    list[1] = folder; seen[folder] = 1; count = 1
    for (at = 1; at <= count; at++) {
        n = split(uses[list[at]], next_folders, " ")
        for (i = 1; i <= n; i++)
            if (!(next_folders[i] in seen)) { seen[next_folders[i]] = 1; list[++count] = next_folders[i] }
    }
    if (!("engine/base" in seen)) list[++count] = "engine/base"
    line = ""
    for (i = 1; i <= count; i++) line = line " " list[i]
    print line
}
