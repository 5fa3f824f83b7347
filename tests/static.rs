//! The binary needs nothing of the machine it runs on, and is small.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Of the release, with the same features as this test.
const LIMIT: u64 = if cfg!(feature = "ec2") { 5_000_000 } else { 1_500_000 };

fn shown(program: &str, binary: &Path) -> String {
    let output =
        Command::new(program).arg(binary).output().unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn assert_static(binary: &Path) {
    let file = shown("file", binary);
    assert!(file.contains("static-pie linked"), "{file}");
    let ldd = shown("ldd", binary);
    assert!(["statically linked", "not a dynamic executable"].iter().any(|words| ldd.contains(words)), "{ldd}");
}

#[test]
fn what_is_tested_is_static() {
    assert_static(Path::new(env!("CARGO_BIN_EXE_volinit")));
}

#[test]
#[ignore = "`make test` runs it, once `make release` has built the binary"]
fn the_release_is_static_and_small() {
    let binary: PathBuf = Path::new(env!("CARGO_BIN_EXE_volinit")).ancestors().nth(2).unwrap().join("release/volinit");
    assert_static(&binary);
    let size = binary.metadata().unwrap().len();
    assert!(size <= LIMIT, "{} has {size} bytes, {} too many", binary.display(), size - LIMIT);
    println!("{} has {size} bytes", binary.display());
}
