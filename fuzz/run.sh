#!/bin/bash
# Builds the fuzz targets and runs each in turn. With a stable toolchain alone: what `cargo fuzz` would ask of rustc
# is, without a sanitizer, no more than these flags; and safe Rust gives a sanitizer little to find.
#
#     fuzz/run.sh short           a fixed number of inputs from a fixed seed: for one build the same ones on every run,
#                                 but for config's, where a hash map has its own order each time
#     fuzz/run.sh SECONDS [NAME…] so long for each target, from what was found before (fuzz/corpus)
#
# A failure prints the input's file, kept under fuzz/artifacts. FUZZ_TARGET_DIR is where cargo builds.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(config superblock superblock_patched intent fleet swarm template mountinfo nvme targets)
seconds=${1:?fuzz/run.sh: say short, or how many seconds for each target}
shift
[ $# -gt 0 ] || set -- "${all[@]}"
host=$(rustc -vV | sed -n 's/^host: //p')
built=${FUZZ_TARGET_DIR:-target}

flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
echo "== Building the fuzz targets"
# For glibc, and with Debian's libblkid for it: libFuzzer is not made for a static program.
PKG_CONFIG_PATH= RUSTFLAGS=$flags cargo build --quiet --locked --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$built" --bins

# What was compared is remembered by its address; a sandbox may refuse to have these fixed.
fixed=()
[ "$seconds" != short ] || ! setarch -R true 2>/dev/null || fixed=(setarch -R)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in "$@"; do
    corpus=fuzz/corpus/$name
    # A gigabyte and ten seconds are far more than any input may take.
    args=(-timeout=10 -rss_limit_mb=1024 -print_final_stats=1 "-artifact_prefix=fuzz/artifacts/$name/")
    [ ! -f "fuzz/dict/$name.dict" ] || args+=("-dict=fuzz/dict/$name.dict")
    if [ "$seconds" = short ]; then
        corpus=$scratch/$name
        # The time is for a slow machine; on others the number of inputs comes first.
        args+=(-seed=1 -runs=30000 -max_total_time=30)
        # Entropic scheduling goes by times that it measures.
        args+=(-entropic=0)
    else
        args+=("-max_total_time=$seconds")
    fi
    mkdir -p "$corpus" "fuzz/artifacts/$name"
    # The seeds, and for the config the cases that a person wrote.
    seeds=("fuzz/seeds/$name")
    [ "$name" != config ] || seeds+=(tests/cases)
    if ! "${fixed[@]}" "$built/$host/debug/$name" "${args[@]}" "$corpus" "${seeds[@]}" >"$scratch/log" 2>&1; then
        cat "$scratch/log" >&2
        echo "fuzz/run.sh: $name failed; run it again with $built/$host/debug/$name FILE (the last line names it)" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/log")
    speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$scratch/log")
    coverage=$(sed -n 's/^#.*DONE *cov: \([0-9]*\).*/\1/p' "$scratch/log")
    # Of less than a second libFuzzer tells no speed.
    [ "$speed" = 0 ] && speed= || speed=" $speed a second,"
    printf '%-20s %10s inputs,%s %s edges covered\n' "$name" "$runs" "$speed" "$coverage"
done
