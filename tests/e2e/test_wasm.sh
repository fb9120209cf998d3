#!/bin/sh
# pie wasm: programs on their own, from a person's side. And interp/ on its own: the example links
# with nothing but the interpreter, engine/base and libc.
. tests/e2e/lib.sh
numbers=tests/data/wasm/numbers.wasm
command=tests/data/wasm/command.wasm
preview1=tests/data/component/preview1.wasm
run="$PIE wasm run"

for word in "wasm" "wasm run" "wasm objdump" "wasm profile"; do
    expect "$word --help" 0 $PIE $word --help
    has "$word help" "$out" "Usage: pie $word"
done
expect "no command" 2 "$PIE" wasm
expect "unknown command" 2 "$PIE" wasm frobnicate
has "it is named" "$err" "frobnicate"
expect "no file" 2 $run
expect "words for no function" 2 $run $numbers 1 2
expect "fuel that is none" 2 $run $numbers --fuel x

# invokes NAME RESULT ARG...: an export's result as it is printed.
invokes() { result=$2; set -- "$1" $3; expect "$*" 0 $run $numbers --invoke "$@"; same "$* =" "$result" "$out"; }
invokes add 42 "40 2"
invokes add -2 "-1 0xffffffff"
invokes add64 -9223372036854775807 "-9223372036854775808 1"
invokes half 3.5 7
invokes half -inf -inf
invokes half 0.05 .1
invokes third 0.33333334 1
invokes vector 0x000102030405060708090a0bffffffff "0x000102030405060708090a0b0c0d0e0f -1"
invokes both "2.5
7" "7 2.5"
invokes nothing null null
invokes ready 1 ""
expect "exit status" 7 $run $numbers --invoke bye 7
same "exit says nothing" "" "$out$err"

expect "trap" 1 $run $numbers --invoke ratio 1 0
same "trap and back trace" "trap: integer divide by zero
  0: divide (func 11) +0x4
  1: ratio (func 12) +0x4" "$err"
expect "recursion" 1 $run $numbers --invoke recurse
has "recursion: what" "$err" "trap: call stack exhausted"
has "recursion: one line" "$err" " more of deeper (func 13)"
same "recursion: few lines" 4 "$(printf '%s\n' "$err" | wc -l)"
expect "fuel" 1 $run $numbers --invoke spin --fuel 100000
has "fuel: what" "$err" "100000 units of fuel"
has "fuel: where" "$err" "0: spin (func 15)"
expect "json" 0 $run $numbers --json --invoke both 7 2.5
same "json text" '{"outcome":"done","status":0,"fuel":4,"results":[{"type":"f64","value":"2.5"},{"type":"i32","value":"7"}]}' "$out"
expect "json of a trap" 1 $run $numbers --json --invoke ratio 1 0
has "json of a trap: the text" "$out" '"outcome":"trap","status":1,"fuel":8,"error":"integer divide by zero","stack":"  0: divide'

expect "too few arguments" 1 $run $numbers --invoke add 1
has "they are counted" "$err" "add takes 2 arguments, not 1"
expect "wrong argument" 1 $run $numbers --invoke add 1 4294967296
has "it is named" "$err" "argument 2 of add must be i32, not '4294967296'"
expect "no such export" 1 $run $numbers --invoke nowhere
has "the others are listed" "$err" "add64"
expect "an import passed on" 1 $run $numbers --invoke passed_on 1
has "it is refused" "$err" "function of the host"
expect "memory is no function" 1 $run $numbers --invoke memory
expect "nothing to start" 1 $run $numbers
has "--invoke is suggested" "$err" "--invoke"
expect "no such file" 1 $run "$scratch/nowhere.wasm"
head -c 300 $numbers >"$scratch/cut.wasm"
expect "a cut file" 1 $run "$scratch/cut.wasm" --invoke add 1 2
has "its name" "$err" "cut.wasm"
expect "a module the host cannot link" 1 $run tests/data/component/guest.wasm
has "what is missing" "$err" "test:guest/host"

printf 'one\ntwo' | $run $preview1 -- -x y >"$scratch/out" 2>"$scratch/err"
same "preview 1: exit status" 3 $?
same "preview 1: stdout" "$preview1;-x;y;none
slept 1
read one
read twoopen -1 Capabilities insufficient" "$(cat "$scratch/out")"
same "preview 1: stderr" "to stderr" "$(cat "$scratch/err")"
(printf 'one\n'; sleep 1; printf 'two\n') | $run $preview1 >"$scratch/out" 2>/dev/null
has "stdin that comes late" "$(cat "$scratch/out")" "read two"

expect "component: command" 0 $run $command
same "component: says nothing" "" "$out$err"
expect "component: s8" 0 $run $command --invoke add 100 100
same "component: s8 result" "-56" "$out"
expect "component: out of range" 1 $run $command --invoke add 128 0
has "component: the type" "$err" "argument 1 of add must be s8"
expect "component: f64 and u64" 0 $run $command --invoke quotient 7.9 2
same "component: u64 result" 3 "$out"
expect "component: string" 0 $run $command --invoke echo 'say "hé"'
same "component: string result" '"say \"hé\""' "$out"
expect "component: string as json" 0 $run $command --json --invoke echo x
has "component: json" "$out" '"results":[{"type":"string","value":"x"}]'
expect "component: by interface" 0 $run $command --invoke wasi:cli/run@0.2.0#run
same "component: result" "ok" "$out"
expect "component: trap" 1 $run $command --invoke quotient 7 0
has "component: back trace" "$err" "0: divide (func 3)"
if command -v xz >/dev/null; then
    xz -dc tests/data/component/hello-rust.wasm.xz >"$scratch/hello.wasm"
    expect "Rust" 0 $run "$scratch/hello.wasm" --invoke run you
    has "Rust says" "$out" "Hello from Rust, you"
    expect "too little memory" 1 $run "$scratch/hello.wasm" --memory-mb 1 --invoke run you
    has "the limit is said" "$err" "memor"
    expect "Rust's modules" 0 $PIE wasm objdump "$scratch/hello.wasm" --headers
    has "Rust's exports" "$out" "export pie:hello/run#run"
    has "more modules than one" "$out" "core module 1"
fi

expect "objdump" 0 $PIE wasm objdump $numbers
has "objdump: sections" "$out" 'export "half" = 5 func (f64) -> (f64)'
has "objdump: bodies" "$out" "i32.div_s"
expect "objdump of one" 0 $PIE wasm objdump $numbers --func divide
same "objdump of one: all of it" "func 11 <divide> type 3 (i32 i32) -> (i32)
00000171:   local.get 0
00000173:   local.get 1
00000175:   i32.div_s
00000176:   i32.const 0
00000178:   i32.add
00000179: end" "$out"
one=$out
expect "objdump by index" 0 $PIE wasm objdump $numbers --func 11
same "the same one" "$one" "$out"
expect "objdump by export" 0 $PIE wasm objdump $numbers --func half
has "the exported one" "$out" "f64.div"
expect "objdump without bodies" 0 $PIE wasm objdump $numbers --headers
case $out in *i32.div_s*) fail "headers only" ;; *) pass ;; esac
expect "objdump of nothing" 1 $PIE wasm objdump $numbers --func nowhere
expect "objdump of a component" 0 $PIE wasm objdump $command
has "its exports" "$out" "export wasi:cli/run@0.2.0#run"
has "its modules" "$out" "core module 0"

expect "profile" 0 $PIE wasm profile $numbers --invoke work
has "profile: the fuel" "$out" "9000010 units of fuel"
has "profile: who burns it" "$(printf '%s\n' "$out" | sed -n 4p)" "turns (func 16)"
first=$out
for line in "100.00 .* 100.00 .*turns (func 16)" " 0.00 .* 90.00 .*often (func 17)" \
    " 0.00 .* 10.00 .*seldom (func 18)" " 0.00 .* 100.00 .*work (func 19)"; do
    if printf '%s\n' "$out" | grep -q "$line"; then pass; else fail "profile: $line" "$out"; fi
done
expect "profile again" 0 $PIE wasm profile $numbers --invoke work
same "profile: the same figures" "$first" "$out"
expect "profile, top one" 0 $PIE wasm profile $numbers --invoke work --top 1
has "profile: there are more" "$out" "3 more functions"
expect "profile as json" 0 $PIE wasm profile $numbers --invoke work --json
has "profile as json: functions" "$out" '{"module":0,"func":16,"name":"turns","self":'
expect "profile to the fuel's end" 1 $PIE wasm profile $numbers --invoke spin --fuel 100000
has "profile: what is known by then" "$out" "spin (func 15)"
expect "profile of recursion" 1 $PIE wasm profile $numbers --invoke recurse --fuel 100000
has "recursion counts once" "$out" "100.00"
"$PIE" wasm profile $numbers --invoke spin >"$scratch/out" 2>"$scratch/err" </dev/null &
child=$!
sleep 1
kill -INT $child
wait $child
same "Ctrl-C ends a profile with 130" 130 $?
has "and prints it" "$(cat "$scratch/out")" "spin (func 15)"
expect "profile of a program" 3 $PIE wasm profile $preview1
has "its output is on stderr" "$err" "slept 1"

case $BUILD in
*asan) san=-fsanitize=address,undefined ;;
*ubsan) san=-fsanitize=undefined ;;
*tsan) san=-fsanitize=thread ;;
*) san= ;;
esac
expect "interp/ alone" 0 ${CC:-gcc} -std=gnu11 -I. $san tests/tools/example_embedding.c \
    "$BUILD/lib/interp_wasm.a" "$BUILD/lib/engine_base.a" -lm -pthread -o "$scratch/example"
expect "the example" 0 ${RUN:-} "$scratch/example"
has "the example works" "$out" "sum(3) = 6, for 37 units of fuel"
finish
