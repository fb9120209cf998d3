#!/bin/sh
# The command line as a person uses it: answers, exit statuses, errors.
. tests/e2e/lib.sh
question='{"prompt":"The capital of France is","temperature":0,"max_tokens":24}'

expect "version" 0 "$PIE" --version
has "version text" "$out" "pie 0."
expect "help" 0 "$PIE" --help
has "help lists run" "$out" "run"
for command in "run" "model list" "model info" "model train" "model quantize" "model perplexity" "doctor"; do
    expect "$command --help" 0 $PIE $command --help
    has "$command help" "$out" "Usage: pie $command"
done
expect "no command" 2 "$PIE"
expect "unknown command" 2 "$PIE" frobnicate
has "unknown command is named" "$err" "frobnicate"
expect "unknown option" 2 "$PIE" run --frobnicate
has "unknown option is named" "$err" "--frobnicate"

expect "Paris" 0 "$PIE" run text-completion -- --prompt "The capital of France is" --temperature 0
has "Paris is in the answer" "$out" "Paris"
answer=$out
expect "the same through --input" 0 "$PIE" run text-completion --input "$question"
same "flags and --input agree" "$answer" "$out"
expect "again" 0 "$PIE" run text-completion --input "$question"
same "the same bytes again" "$answer" "$out"
expect "raw" 0 "$PIE" run raw-completion -- --prompt "The capital of France is" --temperature 0 --max-tokens 4
has "raw completion knows it too" "$out" "Paris"
expect "best of n" 0 "$PIE" run best-of-n -- --question "What is the capital of France?" --num-candidates 3 --seed 1
has "three candidates" "$out" "[3]"
expect "chat" 0 "$PIE" run chat -- --prompt "What is the capital of France?" --temperature 0
has "chat answers" "$out" "Paris"
printf 'What is the capital of France?\nWhat is the capital of Italy?\n' >"$scratch/talk"
"$PIE" run chat -i -- --temperature 0 <"$scratch/talk" >"$scratch/out" 2>"$scratch/err"
same "interactive chat ends well" 0 $?
has "first turn" "$(cat "$scratch/out")" "Paris"
has "second turn" "$(cat "$scratch/out")" "Rome"

printf 'What is the capital of France?\nWhat is the capital of Italy?' >"$scratch/talk"
"$PIE" run chat -i -- --temperature 0 <"$scratch/talk" >"$scratch/out" 2>"$scratch/err"
has "a last line without its end counts" "$(cat "$scratch/out")" "Rome"
printf 'What is \377 this?\nWhat is the capital of Italy?\n' >"$scratch/talk"
timeout 60 "$PIE" run chat -i -- --temperature 0 <"$scratch/talk" >"$scratch/out" 2>"$scratch/err"
same "a line that is no text does not stop the talk" 0 $?
has "it is said" "$(cat "$scratch/err")" "UTF-8"
has "the next line is answered" "$(cat "$scratch/out")" "Rome"

expect "seeded" 0 "$PIE" run text-completion -- --prompt "Tell me a story" --temperature 0.9 --seed 7 --max-tokens 30
first=$out
expect "seeded again" 0 "$PIE" run text-completion -- --prompt "Tell me a story" --temperature 0.9 --seed 7 --max-tokens 30
same "a seed repeats" "$first" "$out"

expect "json" 0 "$PIE" run text-completion --json --input "$question"
has "json messages" "$out" '{"event":"message"'
has "json return" "$out" '{"event":"return"'
lines=$(printf '%s\n' "$out" | grep -c '"event":"message"')
if [ "$lines" -ge 2 ]; then pass; else fail "streamed in pieces" "$lines messages"; fi

expect "no inferlet" 1 "$PIE" run
has "no inferlet is said" "$err" "specify an inferlet name or --path"
expect "path without manifest" 1 "$PIE" run --path x.wasm
has "manifest is asked for" "$err" "--manifest is required when --path is used"
expect "path and name" 1 "$PIE" run name --path x.wasm --manifest y.toml
has "exclusive" "$err" 'mutually exclusive with inferlet name "name"'
expect "input and words" 1 "$PIE" run text-completion --input '{"a":1}' -- --prompt hi
has "input and words are exclusive" "$err" "mutually exclusive"
expect "unknown inferlet" 1 "$PIE" run no-such-thing
has "what is installed is listed" "$err" "text-completion"
expect "missing parameter" 1 "$PIE" run text-completion
has "the parameter is named" "$err" "prompt"
expect "bad parameter" 1 "$PIE" run text-completion -- --prompt x --temperature hot
has "the parameter's type is said" "$err" "temperature"
expect "input that is no JSON" 1 "$PIE" run text-completion --input '{"prompt":'
has "said so" "$err" "JSON"
printf '{"prompt":"\377"}' >"$scratch/bytes"
expect "input file that is no text" 1 "$PIE" run text-completion --input "@$scratch/bytes"
has "UTF-8 is asked for" "$err" "not valid UTF-8"
expect "no model" 1 "$PIE" run text-completion --model nowhere --input "$question"
has "the model is named" "$err" "nowhere"

standard=$(ls "$BUILD"/inferlets/text-completion/*.wasm)
manifest=${standard%.wasm}.toml
expect "by path" 0 "$PIE" run --path "$standard" --manifest "$manifest" --input "$question"
same "by path answers the same" "$answer" "$out"
head -c 3000 "$standard" >"$scratch/cut.wasm"
expect "truncated wasm" 1 "$PIE" run --path "$scratch/cut.wasm" --manifest "$manifest"
has "truncated wasm: the file is named" "$err" "cut.wasm"
echo "not wasm" >"$scratch/text.wasm"
expect "no wasm at all" 1 "$PIE" run --path "$scratch/text.wasm" --manifest "$manifest"
printf '[package]\nname = "x"\nversion = 3\n' >"$scratch/bad.toml"
expect "bad manifest" 1 "$PIE" run --path "$standard" --manifest "$scratch/bad.toml"
has "bad manifest: the line" "$err" "line 3"
head -c 5000 "$MODEL" >"$scratch/cut.gguf"
expect "truncated model" 1 "$PIE" run text-completion --model "$scratch/cut.gguf" --input "$question"
has "truncated model: the file" "$err" "cut.gguf"
printf '[engine]\nthreads = many\n' >"$scratch/bad.ini"
expect "bad configuration" 1 "$PIE" run -c "$scratch/bad.ini" text-completion --input "$question"
has "bad configuration: the key" "$err" "threads"
printf '[engine]\nthreads = 1\n[model]\nname = default\n' >"$scratch/good.ini"
expect "configuration" 0 "$PIE" run -c "$scratch/good.ini" text-completion --input "$question"
same "one thread answers the same" "$answer" "$out"

expect "model list" 0 "$PIE" model list
has "the default model is listed" "$out" "default"
expect "model list json" 0 "$PIE" model list --json
expect "model info" 0 "$PIE" model info
has "its architecture" "$out" "llama"
expect "model info of a broken file" 1 "$PIE" model info "$scratch/cut.gguf"
expect "train does not overwrite" 1 "$PIE" model train
expect "train a tiny one" 0 "$PIE" model train --tiny --name tiny -q
expect "and again elsewhere" 0 "$PIE" model train --tiny -o "$scratch/again.gguf" -q --threads 1
if cmp -s "$scratch/again.gguf" "$PIE_HOME/models/tiny.gguf"; then pass; else fail "training is deterministic"; fi
LC_ALL=C sed 's/general.name\(........\)\(....\)...../general.name\1\2\x1B[2J\xFF/' "$PIE_HOME/models/tiny.gguf" >"$scratch/evil.gguf"
expect "info of a model with an evil name" 0 "$PIE" model info "$scratch/evil.gguf"
has "its name cannot steer the terminal" "$out" "?[2J?"
expect "quantize" 0 "$PIE" model quantize tiny "$scratch/tiny-q8.gguf" --type q8_0 --json
has "quantize counts" "$out" '"quantised":'
expect "quantize does not overwrite" 1 "$PIE" model quantize tiny "$scratch/tiny-q8.gguf" --type Q8_0
expect "quantize to what there is not" 1 "$PIE" model quantize tiny "$scratch/q9.gguf" --type Q9
has "quantize names the types" "$err" "Q4_K_M"
expect "the quantised model runs" 0 "$PIE" run raw-completion --model "$scratch/tiny-q8.gguf" -- --prompt "The" --max-tokens 5
expect "quantised at load" 0 "$PIE" run raw-completion --model tiny --quantize Q8_0 -- --prompt "The" --max-tokens 5
plain=$out
expect "packed weights are written" 0 "$PIE" run raw-completion --model tiny --quantize Q8_0 --packed-cache -- --prompt "The" --max-tokens 5
same "writing them changes nothing" "$plain" "$out"
expect "packed weights are read" 0 "$PIE" run raw-completion --model tiny --quantize Q8_0 --packed-cache -- --prompt "The" --max-tokens 5
same "reading them changes nothing" "$plain" "$out"
expect "doctor counts them" 0 "$PIE" doctor
has "one model's" "$out" "1 model,"
expect "doctor clears them" 0 "$PIE" doctor --clear-cache
has "none is left" "$out" "0 models, 0 B"
expect "quantised at load to what there is not" 1 "$PIE" run raw-completion --model tiny --quantize Q9 -- --prompt "The"
expect "perplexity" 0 "$PIE" model perplexity tiny --text tests/vectors/perplexity.txt --context 32 --json
has "perplexity is a number" "$out" '"perplexity":'
expect "perplexity of a short text" 1 "$PIE" model perplexity tiny --text tests/vectors/perplexity.txt --context 100000
expect "the tiny model runs" 0 "$PIE" run raw-completion --model tiny -- --prompt "The" --max-tokens 5
expect "doctor" 0 "$PIE" doctor
has "doctor names the kernels" "$out" "kernels"
expect "doctor json" 0 "$PIE" doctor --json

expect "bakery create" 0 "$BAKERY" create my-first -o "$scratch/my-first"
expect "bakery create twice" 1 "$BAKERY" create my-first -o "$scratch/my-first"
expect "bakery refuses bad names" 2 "$BAKERY" create ../evil
expect "bakery build" 0 "$BAKERY" build "$scratch/my-first" -o "$scratch/my-first.wasm"
expect "what bakery built runs" 0 "$PIE" run --path "$scratch/my-first.wasm" --manifest "$scratch/my-first/Pie.toml" --input "$question"
same "and answers the same" "$answer" "$out"

"$PIE" run chat >"$scratch/out" 2>"$scratch/err" </dev/zero & # waits for a message for ever
child=$!
sleep 1
kill -INT $child
wait $child
same "Ctrl-C ends with 130" 130 $?
finish
