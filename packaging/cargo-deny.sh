#!/bin/bash
# cargo-deny with these arguments; compiled from source first, once for this user, where there is none.
set -euo pipefail

bin=${CARGO_HOME:-$HOME/.cargo}/bin
PATH=$PATH:$bin
if ! command -v cargo-deny >/dev/null; then
    echo "== Building cargo-deny, once: $bin/cargo-deny"
    # Unoptimised: it takes a minute of two cores in place of many, and a check takes a second either way.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug cargo-deny
fi
exec cargo deny --all-features --log-level error "$@"
