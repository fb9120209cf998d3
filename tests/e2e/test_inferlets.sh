#!/bin/sh
# The standard inferlets keep their promises on the default model.
. tests/e2e/lib.sh
ask() { program=$1; shift; expect "$program" 0 "$PIE" run "$program" -- "$@"; }
matches() { if printf '%s' "$2" | tr '\n' ' ' | grep -Eq "$3"; then pass; else fail "$1" "expected: $3" "found: $2"; fi; }
below() { if awk "BEGIN { exit !($2 <= $3) }"; then pass; else fail "$1" "expected: $2 <= $3"; fi; }
all_but_last() { printf '%s\n' "$1" | sed '$d'; }
last() { printf '%s\n' "$1" | tail -n 1; }
greedy() { ask text-completion --temperature 0 "$@"; plain=$out; }

# The output's language, by another reader of it.
ask constrained-decoding --regex '[0-9]{4}-[0-9]{2}-[0-9]{2}'
matches "regex" "$out" '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
ask constrained-decoding --ebnf 'root ::= ("yes" | "no") "!"{2,3}'
matches "ebnf" "$out" '^(yes|no)!{2,3}$'
expect "two grammars" 1 "$PIE" run constrained-decoding -- --regex a --ebnf 'root ::= "a"'
expect "cut" 1 "$PIE" run constrained-decoding -- --regex '[a-z]{30}' --num-tokens 2
has "cut" "$err" "not complete"
ask json-schema-validation
matches "schema" "$(printf '%s' "$out" | tr '\n\t\r' '   ')" '^\{ *"name": *"[^"]{0,12}", *"age": *[1-9][0-9]?, *"pet": *"(cat|dog|none)" *\}$'
if command -v python3 >/dev/null; then
    expect "json" 0 python3 -c 'import json, sys; v = json.loads(sys.argv[1]); assert list(v) == ["name", "age", "pet"]' "$out"
fi

for prompt in "Tell me a story about a dog." "What is the capital of France?" "Count from one to ten."; do
    ask beam-search --prompt "$prompt" --beam-size 4
    best=$(last "$out" | sed 's/log-probability \([^,]*\),.*/\1/')
    below "the best beam is at least as likely as greedy" "$(last "$out" | sed 's/.*greedy //')" "$best"
    greedy --prompt "$prompt" --max-tokens 24
    ask beam-search --prompt "$prompt" --beam-size 1 --max-tokens 24
    same "one beam is greedy" "$plain" "$(all_but_last "$out")"
    for program in speculative-decoding jacobi-decoding; do
        ask $program --prompt "$prompt" --max-tokens 24
        same "$program gives greedy's text" "$plain" "$(all_but_last "$out")"
    done
    for program in windowed-attention attention-sink; do
        ask $program --prompt "$prompt" --max-tokens 24 --window-size 4000
        same "$program with a long window" "$plain" "$out"
    done
done
ask windowed-attention --window-size 12
narrow=$out
ask attention-sink --window-size 12 --sink-size 0
same "no sink is a window" "$narrow" "$out"
ask attention-sink --window-size 12
if [ "$out" != "$narrow" ]; then pass; else fail "a sink matters" "$out"; fi

# Fewer steps than tokens, where there is something to guess.
fewer() { below "$program takes fewer steps" "$(last "$out" | awk '{ print $4 + 1 }')" "$(last "$out" | awk '{ print $1 }')"; echo "    $program: $(last "$out")"; }
greedy --prompt "Tell me a story about a dog." --max-tokens 64
ask speculative-decoding --prompt "Repeat this story. $plain Tell me a story about a dog." --max-tokens 64
fewer
ask jacobi-decoding --prompt "Tell me a short story about a cat."
fewer

# The mark is seen with the key, and only where it is.
long="Tell me a long story about a dog."
ask watermarking --prompt "$long" --max-tokens 120
marked=$(all_but_last "$out")
has "marked" "$(last "$out")" ": marked"
ask watermarking --detect "$marked"
has "marked, from the text alone" "$out" ": marked"
ask watermarking --detect "$marked" --key 7
has "another key" "$out" ": not marked"
ask watermarking --prompt "$long" --max-tokens 120 --delta 0
has "unmarked" "$(last "$out")" ": not marked"

ask prefix-tree --verify true
has "leaves" "$out" "8 leaves, each as by itself"
leaf=$(printf '%s\n' "$out" | sed -n 1p)
ask raw-completion --prompt "${leaf%%|*}" --max-tokens 16 --temperature 0
same "a leaf is its prompt's completion" "${leaf#*|}" "$out"

ask output-validation
matches "the truth is likeliest" "$out" 'Paris\. 0\.99'
below "probabilities sum to 1" "$(printf '%s\n' "$out" | awk '{ s += $NF } END { d = s - 1; print d < 0 ? -d : d }')" 0.00001
ask sampler-suite
has "samplers" "$out" "all samplers agree"
has "sum" "$out" "sum of the distribution 1.0000"

ask text-completion --temperature 0 --prompt "What is the capital of France?" --max-tokens 64
plain=$out
ask modular-cache --forget true
matches "saved and opened" "$(last "$out")" '^[1-9][0-9]* tokens opened, saved by this run$'
same "the answer" "$plain" "$(all_but_last "$out")"

ask tree-of-thought --temperature 0 --num-branches 3
has "equal branches score alike" "$out" "$(printf '%s\n' "$out" | sed -n 's/branch 0/branch 2/p')"
ask tree-of-thought --seed 3 --num-branches 4
tree=$out
same "four branches" 4 "$(printf '%s\n' "$tree" | grep -c '^branch [0-9] score')"
winner=$(printf '%s\n' "$tree" | awk '/^branch/ { if (n++ == 0 || $4 > m) { m = $4; b = $2 } } END { print b }')
has "the best branch wins" "$tree" "best $winner: "
ask tree-of-thought --seed 3 --num-branches 4
same "a seed repeats" "$tree" "$out"
ask skeleton-of-thought --seed 1 --num-points 4
same "points in order" "1.2.3.4." "$(printf '%s\n' "$out" | grep -Eo '^[1-4]\. [A-Z][a-z ]{4,40}\.' | cut -c1-2 | tr -d '\n')"
ask graph-of-thought --seed 1 --num-proposals 5
has "all proposals are merged" "$out" "4 merges"

ask agent-react --num-function-calls 2
calls=$(printf '%s\n' "$out" | sed -n 's/^calc(\(.*\))$/\1/p')
said=$(printf '%s\n' "$out" | sed -n 's/^calc says //p')
same "two calls" 2 "$(printf '%s\n' "$calls" | grep -c .)"
same "calculated" "$(printf '%s\n' "$calls" | while read -r a op b; do awk "BEGIN { print $a $op $b }"; done)" "$said"
finish
