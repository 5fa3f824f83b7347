#!/bin/bash
# Installs those of the named Debian packages that are missing. Where none is, it needs neither root nor a network.
set -euo pipefail

if ! command -v dpkg-query >/dev/null; then
    echo "deps: this is no Debian: see that you have what these packages hold: $*" >&2
    exit 0
fi

missing=()
for package in "$@"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "deps: missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "== Installing from Debian: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1
}
# The lists of a fresh machine are empty, those of an old one name versions that are gone. Else they will do.
if ! install && ! { apt-get update >"$log" 2>&1 && install; }; then
    cat "$log" >&2
    exit 1
fi
