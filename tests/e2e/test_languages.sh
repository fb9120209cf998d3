#!/bin/sh
# Programs in every language that bakery knows. What a missing toolchain says is always tested; the
# builds take minutes and need packages of others, so they run with PIE_TEST_LANGUAGES=1, each where
# its toolchain is there.
. tests/e2e/lib.sh
question='{"prompt":"What is the capital of Japan?","max_tokens":20}'
empty=$scratch/empty
mkdir "$empty"
BAKERY=$(realpath "$BAKERY")

for language in c rust js ts python; do
    expect "create --$language" 0 "$BAKERY" create "my-$language" --$language -o "$scratch/my-$language"
    has "its manifest has its name" "$(cat "$scratch/my-$language/Pie.toml")" "name = \"my-$language\""
done
expect "two languages at once" 2 "$BAKERY" create twice --rust --c -o "$scratch/twice"
expect "no program" 1 "$BAKERY" build "$empty" -o "$scratch/none.wasm"
has "has no Pie.toml" "$err" "Pie.toml"

missing() { # language, what is named
    [ -z "${RUN:-}" ] || return 0 # the emulator needs a PATH
    expect "$1 without its toolchain" 1 env PATH="$empty" "$BAKERY" build "$scratch/my-$1" -o "$scratch/no.wasm"
    has "names what to install" "$err" "$2"
}
missing c "apt-get install clang-19 lld-19"
missing rust "apt-get install cargo-web rustc-web"
missing js "apt-get install npm"
rm "$scratch/my-js/package.json" "$scratch/my-ts/package.json"
missing js "npm install -g esbuild @bytecodealliance/componentize-js"
missing python "pip install componentize-py"

answers() { # language
    expect "$1 builds" 0 "$BAKERY" build "$scratch/my-$1" -o "$scratch/my-$1.wasm"
    expect "$1 runs" 0 "$PIE" run --path "$scratch/my-$1.wasm" --manifest "$scratch/my-$1/Pie.toml" --input "$question"
    has "$1 answers" "$out" "Tokyo"
}
answers c
if [ "${PIE_TEST_LANGUAGES:-}" = 1 ]; then
    if command -v cargo >/dev/null; then answers rust; else echo "skipped: rust, there is no cargo"; fi
    if command -v esbuild >/dev/null && command -v componentize-js >/dev/null; then
        answers js
        answers ts
    else
        echo "skipped: javascript, there is no esbuild or componentize-js"
    fi
    if command -v componentize-py >/dev/null; then answers python; else echo "skipped: python, there is no componentize-py"; fi
fi

# One file beside its Pie.toml, and its commands.
expect "a file" 0 "$BAKERY" build "$scratch/my-c/main.c" -o "$scratch/one.wasm" --debug
has "--debug shows the commands" "$err" "wasm-ld"
expect "json" 0 "$BAKERY" build "$scratch/my-c" -o "$scratch/one.wasm" --json
has "as json" "$out" '{"component":"'
expect "pie new" 0 "$PIE" new by-pie -o "$scratch/by-pie" --json
same "is bakery create" "{\"folder\":\"$scratch/by-pie\",\"name\":\"by-pie\",\"language\":\"c\"}" "$out"
expect "pie build" 0 "$PIE" build "$scratch/by-pie" -o "$scratch/two.wasm"
for command in create build wit login publish keygen "inferlet search" "inferlet info" "inferlet publish"; do
    expect "bakery $command --help" 0 "$BAKERY" $command --help
    has "is there" "$out" "Usage: bakery"
done
expect "wit" 0 "$BAKERY" wit
has "is the interface" "$out" "## pie:core/inference"
sed -i 's/my-c/under_score/' "$scratch/my-c/Pie.toml"
expect "a name that is none in WIT" 1 "$BAKERY" build "$scratch/my-c" -o "$scratch/no.wasm"
has "is named" "$err" 'package.name: "under_score" cannot be exported as pie:under_score/run'
finish
