#!/usr/bin/env python3
"""Chooses the fused instruction sequences of interp/wasm/sequences.def from profiles.

    make BUILD=/tmp/profile WASM_PROFILE=1 /tmp/profile/bench/bench_interp
    for each program: WASM_PROFILE_OUT=DIR/NAME.txt /tmp/profile/bench/bench_interp --rounds 1 NAME
    bench/sequences.py COUNT DIR/*.txt --static DIR2/*.txt > interp/wasm/sequences.def

Profiles behind --static count the instructions of modules that were not run, in the same format.
Every program weighs the same, a static one a third. Greedy, as in byte-pair encoding: join the two neighbours that are
run one after the other most often, COUNT times; then keep what the best cover still uses.
"""
import collections
import sys

LONGEST = 12
SLOW = ("memory_", "table_", "data_", "elem_", "ref_func", "throw", "switch_", "host_", "return_call",
        "halt", "unreachable", "global_get_far", "global_setv", "call_table")


def read(path, share):
    """Straight lines of [(name, weight of running, weight of falling through)]."""
    rows = []
    for line in open(path):
        address, name, words, ran, fell = line.split()
        rows.append((int(address, 16), name, int(words), int(ran), int(fell)))
    rows.sort()
    total = (sum(row[3] for row in rows) or 1) / share
    lines, expected = [], None
    for address, name, words, ran, fell in rows:
        slow = name.startswith(SLOW)
        if address != expected or slow:
            lines.append([])
        if not slow:
            lines[-1].append((name, ran / total, fell / total))
        expected = address + 8 * words
    return [line for line in lines if len(line) > 1]


def main():
    count = int(sys.argv[1])
    run, _, counted = " ".join(sys.argv[2:]).partition("--static")
    lines = [line for path in run.split() for line in read(path, 1.0)]
    lines_run = len(lines)
    lines += [line for path in counted.split() for line in read(path, 0.33)]
    # Tokens: (sequence of names, weight of falling out of its end)
    texts = [[((name,), fell) for name, _, fell in line] for line in lines]
    weights, places = collections.Counter(), collections.defaultdict(set)

    def count_pairs(text, sign):
        for (left, fell), (right, _) in zip(texts[text], texts[text][1:]):
            if len(left) + len(right) <= LONGEST:
                weights[left, right] += sign * fell
                places[left, right].add(text)

    for text in range(len(texts)):
        count_pairs(text, 1)
    chosen = []
    for _ in range(count):
        (first, second), weight = max(weights.items(), key=lambda item: (round(item[1], 12), item[0]))
        if weight <= 1e-12:
            break
        joined = first + second
        chosen.append(joined)
        for text in sorted(places.pop((first, second))):
            count_pairs(text, -1)
            old, new, i = texts[text], [], 0
            while i < len(old):
                if i + 1 < len(old) and old[i][0] == first and old[i + 1][0] == second:
                    new.append((joined, old[i + 1][1]))
                    i += 2
                else:
                    new.append(old[i])
                    i += 1
            texts[text] = new
            count_pairs(text, 1)
        del weights[first, second]
    known = set(chosen)
    used, loops = collections.Counter(), set()
    before = after = 0.0
    for number, line in enumerate(lines):
        cost, step = [0.0] * (len(line) + 1), [1] * (len(line) + 1)
        names = [name for name, _, _ in line]
        for i in range(len(line) - 1, -1, -1):
            cost[i], step[i] = 1 + cost[i + 1], 1
            for n in range(2, LONGEST + 1):
                if i + n <= len(line) and tuple(names[i:i + n]) in known and 1 + cost[i + n] < cost[i]:
                    cost[i], step[i] = 1 + cost[i + n], n
        # From every place that is entered: the line's start, and wherever a branch comes in.
        for entry, (_, ran, _) in enumerate(line):
            flow = ran - (line[entry - 1][2] if entry > 0 else 0.0)
            i = entry
            # What enters here comes mostly from a branch of the same sequence: a loop.
            taken = sum(ran - fell for _, ran, fell in line[i:i + step[i]])
            if number < lines_run and flow > 1e-4 and 0.7 * flow < taken < 1.5 * flow:
                loops.add(tuple(names[i:i + step[i]]))
            while i < len(line) and flow > 1e-15:
                after += flow
                if step[i] > 1:
                    used[tuple(names[i:i + step[i]])] += flow
                for _, ran, fell in line[i:i + step[i]]:
                    before += flow
                    flow *= fell / ran if ran > 0 else 0.0
                i += step[i]
    kept = sorted(sequence for sequence in known if used[sequence] > 0)
    print("/* Instruction sequences that run as one handler, chosen by bench/sequences.py from profiles")
    print(" * of programs: SEQUENCE(number, count, instructions), or _LOOP where it is entered about as often as\n * it is left by a branch. */")
    for number, sequence in enumerate(kept):
        is_loop = sequence in loops and any(name.startswith("br_") for name in sequence) \
            and not any(name.startswith(("br_table", "call", "ret_")) for name in sequence)
        kind = "SEQUENCE_LOOP" if is_loop else "SEQUENCE"
        print("%s(%d, %d, %s)" % (kind, number, len(sequence), ", ".join(sequence)))
    print("%d sequences; dispatches: %.3f of before" % (len(kept), after / before), file=sys.stderr)


main()
