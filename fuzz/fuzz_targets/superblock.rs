//! Any bytes as the head of a disk: no parser panics, and what one believes is sane.
//!
//! The first 4 KiB of the input are the disk's first, the rest is what begins at 64 KiB, where Btrfs has its superblock:
//! so that inputs are short.

#![no_main]

use libfuzzer_sys::fuzz_target;
use volinit::config::FsType;
use volinit::probe::find;

mod believed;

const BTRFS: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let (first, rest) = data.split_at(data.len().min(4096));
    let mut head = first.to_vec();
    if !rest.is_empty() {
        head.resize(BTRFS, 0);
        head.extend_from_slice(rest);
    }
    for kind in FsType::ALL {
        // The clock: at 1970, and far from it.
        for now in [0, 4_000_000_000, u64::MAX] {
            believed::check(kind, &find(kind, &head, now));
        }
    }
});
