#!/bin/sh
# wasi:sockets through a Rust component with crates.io's bindings (tests/data/component/net-rust):
# two processes talk over the loopback, and what is not allowed is denied.
. tests/e2e/lib.sh
xz -dc tests/data/component/net-rust.wasm.xz >"$scratch/net.wasm"
net() { rules=$1; shift; timeout 60 "$PIE" wasm run ${rules:+--network "$rules"} "$scratch/net.wasm" -- "$@"; }

expect "no network" 1 net "" datagrams 127.0.0.1:0
has "no network: why" "$out" "access-denied"
expect "no names" 1 net "" resolve localhost
has "no names: why" "$out" "access-denied"

expect "datagrams" 0 net "127.0.0.1" datagrams 127.0.0.1:0
same "datagrams arrive" "1 ping
1 pong" "$out"
expect "another address" 1 net "127.0.0.2, 10.0.0.0/8" datagrams 127.0.0.1:0
has "another address: why" "$out" "access-denied"
expect "names" 0 net "*" resolve 127.0.0.1 # a name file is not everywhere
same "the address is found" "true" "$out"

net "127.0.0.0/8" serve 127.0.0.1:0 2 >"$scratch/address" &
server=$!
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -s "$scratch/address" ] && break
    sleep 0.5
done
address=$(head -n 1 "$scratch/address")
expect "much" 0 net "127.0.0.1:1024-65535" send "$address" 3000000
same "all of it came back" "3000000 HELLO true" "$out"
expect "another port" 1 net "127.0.0.1:1-2 [::1]:80" send "$address" 10
has "another port: why" "$out" "access-denied"
expect "little" 0 net "127.0.0.1/32" send "$address" 7
same "it came back" "7 HELLO true" "$out"
wait $server
same "the server has ended well" 0 $?

expect "wrong calls" 0 net "*" wrong 127.0.0.1:1
same "are told so" "not-in-progress invalid-state invalid-state invalid-state invalid-argument invalid-argument connection-refused" \
    "$(echo "$out" | sed -n 's/.*name: "\([a-z-]*\)".*/\1/p' | tr '\n' ' ' | sed 's/ $//')"

for rule in 127.0.0.1/33 x 1.2.3.4: 1.2.3.4:5-4 1.2.3.4:99999 "[::1" "::1/129" 1.2.3.4/8/9; do
    expect "rule $rule" 1 net "$rule" wrong 127.0.0.1:1
    has "rule $rule: which" "$err" "network rule \"$rule\""
done
finish
