#!/bin/sh
# A registry from publishing to running: over HTTP and as a folder, with tokens, checksums and
# signatures, and what happens when something is wrong.
. tests/e2e/lib.sh
unset PIE_REGISTRY PIE_REGISTRY_TOKEN BAKERY_HOME
question='{"prompt":"The capital of France is","temperature":0,"max_tokens":24}'
folder=$scratch/registry
server=
trap '[ -z "$server" ] || kill -9 $server 2>/dev/null; rm -rf "$scratch"' EXIT

start_server() {
    "$PIE" registry serve "$folder" --listen 127.0.0.1:0 --token-file "$scratch/token" >"$scratch/server" 2>&1 &
    server=$!
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        url=$(sed -n 's/.* at \(http:[^ ]*\).*/\1/p' "$scratch/server")
        [ -n "$url" ] && break
        sleep 0.2
    done
    printf '[registry]\nurl = %s\n' "$url" >"$PIE_HOME/config.ini"
}

expect "no registry is built in" 1 "$BAKERY" inferlet search
has "it says how to name one" "$err" "[registry] url"
expect "a program that is nowhere" 1 "$PIE" run my-first
echo "0123456789abcdef-secret" >"$scratch/token"
start_server
expect "an empty registry" 0 "$BAKERY" inferlet search
same "holds nothing" "0 found" "$out"

expect "create" 0 "$BAKERY" create my-first -o "$scratch/my-first"
sed -i 's/^description = ""/description = "The very first"/' "$scratch/my-first/Pie.toml"
expect "publishing without a token" 1 "$BAKERY" publish "$scratch/my-first"
has "is refused" "$err" "bakery login"
echo "wrong-wrong-wrong-wrong" >"$scratch/wrong"
"$BAKERY" login <"$scratch/wrong" >"$scratch/out" 2>&1
same "a wrong token" 1 $?
"$BAKERY" login <"$scratch/token" >"$scratch/out" 2>&1
same "the right token" 0 $?
same "the token is its owner's only" 600 "$(stat -c %a "$PIE_HOME/bakery/config.toml")"
expect "publish" 0 "$BAKERY" inferlet publish "$scratch/my-first"
same "says what" "Published my-first@0.1.0" "$out"
expect "publish again" 1 "$BAKERY" publish "$scratch/my-first"
has "the same version" "$err" "published already"
expect "search" 0 "$BAKERY" inferlet search FIRST
has "finds it" "$out" "my-first@0.1.0  The very first"
expect "search json" 0 "$BAKERY" inferlet search --json
has "as the protocol has it" "$out" '"latest_version":"0.1.0"'
expect "info" 0 "$BAKERY" inferlet info my-first
has "shows parameters" "$out" "--prompt string (optional)  What to answer"
has "shows constraints" "$out" "core = ^0.4.0"
expect "info of nothing" 1 "$BAKERY" inferlet info nothing
expect "run by name" 0 "$PIE" run my-first --input "$question"
answer=$out
has "answers" "$answer" "Paris"
if [ -f "$PIE_HOME/programs/my-first/0.1.0.wasm" ]; then pass; else fail "it is installed"; fi

kill -TERM $server
wait $server
same "the server ends when it is told" 0 $?
server=
expect "offline" 0 "$PIE" run my-first --input "$question"
same "from what is installed" "$answer" "$out"
expect "latest without the server" 0 "$PIE" run my-first@latest --input "$question"
has "says that it is old" "$err" "what is installed is run"
expect "offline, not installed" 1 "$PIE" run other

# A newer version; yanked; constraints.
start_server
sed -i 's/^version = "0.1.0"/version = "0.2.0"/' "$scratch/my-first/Pie.toml"
expect "publish the next" 0 "$BAKERY" publish "$scratch/my-first" --json
has "as json" "$out" '{"published":"my-first@0.2.0","signed":false}'
expect "constraint" 0 "$PIE" run my-first@^0.1 --input "$question"
if [ -f "$PIE_HOME/programs/my-first/0.2.0.wasm" ]; then fail "^0.1 is not 0.2.0"; else pass; fi
expect "nothing fits" 1 "$PIE" run my-first@^7 --input "$question"
has "it says so" "$err" "satisfies ^7"
expect "yank" 0 "$PIE" registry yank "$folder" my-first@0.2.0
expect "latest is the one before" 0 "$PIE" run my-first@latest --input "$question"
if [ -f "$PIE_HOME/programs/my-first/0.2.0.wasm" ]; then fail "a yanked version was installed"; else pass; fi
expect "its exact version is there" 0 "$PIE" run my-first@0.2.0 --input "$question"
expect "yank --undo" 0 "$PIE" registry yank "$folder" my-first@0.2.0 --undo

# What was changed on the way is not installed.
rm -rf "$PIE_HOME/programs"
printf 'x' >>"$folder/my-first/0.2.0.wasm"
expect "a changed program" 1 "$PIE" run my-first@0.2.0 --input "$question"
has "is refused by its checksum" "$err" "checksum"
if [ -e "$PIE_HOME/programs/my-first/0.2.0.wasm" ]; then fail "nothing is kept of it"; else pass; fi

# Signatures.
expect "keygen" 0 "$BAKERY" keygen "$scratch/key"
public=$out
same "a private key is its owner's only" 600 "$(stat -c %a "$scratch/key")"
expect "keygen keeps keys" 1 "$BAKERY" keygen "$scratch/key"
expect "another key" 0 "$BAKERY" keygen "$scratch/other"
other=$out
sed -i 's/^version = "0.2.0"/version = "0.3.0"/' "$scratch/my-first/Pie.toml"
expect "publish signed" 0 "$BAKERY" publish "$scratch/my-first" --key "$scratch/key"
same "says so" "Published my-first@0.3.0, signed" "$out"
expect "info of a signed one" 0 "$BAKERY" inferlet info my-first
has "is marked" "$out" "signed"
printf '[registry]\nurl = %s\ntrusted_keys = %s\n' "$url" "$other" >"$PIE_HOME/config.ini"
expect "another's signature" 1 "$PIE" run my-first@0.3.0 --input "$question"
has "is not trusted" "$err" "no key that is trusted"
expect "no signature" 1 "$PIE" run my-first@0.1.0 --input "$question"
has "is refused" "$err" "is not signed"
printf '[registry]\nurl = %s\ntrusted_keys = %s, %s\n' "$url" "$other" "$public" >"$PIE_HOME/config.ini"
expect "a trusted signature" 0 "$PIE" run my-first@0.3.0 --input "$question"
same "runs" "$answer" "$out"
rm -rf "$PIE_HOME/programs"
sed -i 's/The very first/The changed first/' "$folder/my-first/0.3.0.toml"
expect "a changed manifest" 1 "$PIE" run my-first@0.3.0 --input "$question"
has "does not fit its signature" "$err" "does not fit"
kill -9 $server
wait $server 2>/dev/null
server=
expect "killed" 1 "$PIE" run my-first@0.3.0 --input "$question"

# The folder itself, without a server.
printf '[registry]\nurl = file://%s\n' "$folder" >"$PIE_HOME/config.ini"
expect "a folder is a registry" 0 "$PIE" run my-first@0.1.0 --input "$question"
same "that gives the same" "$answer" "$out"
expect "a path too" 0 env PIE_REGISTRY="$folder" "$BAKERY" inferlet search first
has "which can be searched" "$out" "my-first@0.3.0"
sed -i 's/^version = "0.3.0"/version = "0.4.0"/' "$scratch/my-first/Pie.toml"
expect "and published to" 0 "$BAKERY" publish "$scratch/my-first"
expect "login to a folder" 1 "$BAKERY" login

# Constraints of the Pie.toml.
sed -i 's/^core = .*/core = "^9.0.0"/' "$scratch/my-first/Pie.toml"
expect "a runtime that is not there" 1 "$BAKERY" build "$scratch/my-first" -o "$scratch/out.wasm"
has "file and line" "$err" 'Pie.toml, line 8: runtime.core wants "^9.0.0", but this build honours 0.4.0'
expect "is not published either" 1 "$BAKERY" publish "$scratch/my-first"
finish
