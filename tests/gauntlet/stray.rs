//! Bytes that no program recognises: a byte at each edge, a short text, a file written to the bare disk, and
//! 8 MiB of noise wherever it falls.

use crate::case::{BYTES, Case, SIZE, disk};
use crate::rig::MIB;

/// 8 MiB anywhere on such a disk is promised to be met; far less is, in truth.
const RUN: u64 = 8 * MIB;

pub fn cases() -> Vec<Case> {
    [bytes(), files(), runs()].into_iter().flatten().collect()
}

/// One byte each, where something would be kept.
fn bytes() -> Vec<Case> {
    let places = [
        ("byte-0", 0),
        ("byte-511", 511),
        ("byte-1023", 1023),
        ("byte-4095", 4095),
        ("byte-65535", 65535),
        ("last-byte", SIZE - 1),
        ("last-512", SIZE - 512),
        ("last-4-kib", SIZE - 4096),
        ("last-64-kib", SIZE - 65536),
        ("last-mib", SIZE - MIB),
        ("at-ext-backup-of-4k-blocks", 32768 * 4096),
        ("at-ext-backup-of-1k-blocks", 8193 * 1024),
        ("at-xfs-group-1-of-4", SIZE / 4),
        ("at-xfs-group-3-of-4", SIZE / 4 * 3),
        ("at-btrfs-mirror", 64 * MIB),
        ("at-md-0.90", (SIZE & !0xFFFF) - 65536),
        ("at-md-1.0", SIZE - 8192),
    ];
    let byte = |(name, at)| disk(format!("stray-{name}")).write(at, [1]).says(format!("{BYTES}{at}"));
    places.into_iter().map(byte).collect()
}

/// What people write to a bare disk on purpose.
fn files() -> Vec<Case> {
    vec![
        disk("text-at-head").write(0, b"do not touch, ask Mary\n").says(BYTES),
        disk("text-at-tail").write(SIZE - 23, b"do not touch, ask Mary\n").says(BYTES),
        disk("tar").run("tar --create --file $DISK --directory $FILES .").says(BYTES),
        disk("tar-gz").run("tar --create --gzip --file $DISK --directory $FILES .").says(BYTES),
        disk("elf").run("cp /bin/true $DISK").says(BYTES),
        disk("sqlite").write(0, b"SQLite format 3\0").says(BYTES),
        disk("qcow2").write(0, b"QFI\xfb\0\0\0\x03").says(BYTES),
        disk("all-ones-tail").write(SIZE - MIB, vec![0xFF; 1 << 20]).says(BYTES),
        // A Postgres page's header and one row, as a raw store would have them, far from both ends.
        disk("one-mib-in-the-middle").write(SIZE / 2 + 511, noise(2, MIB)).says(BYTES),
    ]
}

fn runs() -> Vec<Case> {
    // Seeded, so that a failure comes again: the same dozen places every time.
    let mut state = 0x766F_6C69_6E69_7421;
    let place = |part: u64| {
        let at = next(&mut state) % (SIZE - RUN);
        disk(format!("noise-{part}")).write(at, noise(part, RUN)).says(BYTES)
    };
    (1..=12).map(place).collect()
}

/// Bytes without a pattern.
pub fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    (0..length / 8).flat_map(|_| next(&mut state).to_le_bytes()).collect()
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}
