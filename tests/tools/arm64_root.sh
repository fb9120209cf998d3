#!/bin/sh
# Makes a folder with Debian's arm64 libraries and headers, to compile and emulate against; the
# machine's own packages stay as they are.
# Usage: arm64_root.sh FOLDER PACKAGE...
set -eu
root=$1; shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$root"
: >"$work/state/status"
apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$work/state" \
        -o Dir::State::status="$work/state/status" -o Dir::Cache="$work/cache" \
        -o Debug::NoLocking=1 "$@"
}
echo "fetching arm64 packages into $root: $*"
if ! { apt update && apt install -d -y --no-install-recommends "$@"; } >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    exit 1
fi
for package in "$work"/cache/archives/*.deb; do
    dpkg -x "$package" "$root"
done
