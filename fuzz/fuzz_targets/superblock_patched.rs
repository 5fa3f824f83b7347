//! Real superblocks with bytes changed and the checksum put right, so that the fuzzer gets past it: no parser panics,
//! what one believes is sane, and a change that the checksum does not know of is never believed.
//!
//! The input: which superblock, which bit is flipped last, and patches, each an offset (two bytes), a length (one) and
//! its bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use volinit::config::FsType;
use volinit::probe::{Finding, find};

mod believed;

/// Made by `superblocks/make.sh`: the type, where it stands, and its bytes.
const REAL: [(FsType, usize, &[u8]); 6] = [
    (FsType::Ext4, 1024, include_bytes!("../superblocks/ext4.bin")),
    (FsType::Ext4, 1024, include_bytes!("../superblocks/ext4-no-checksum.bin")),
    (FsType::Ext4, 1024, include_bytes!("../superblocks/ext4-bigalloc.bin")),
    (FsType::Xfs, 0, include_bytes!("../superblocks/xfs.bin")),
    (FsType::Xfs, 0, include_bytes!("../superblocks/xfs-4.bin")),
    (FsType::Btrfs, 65536, include_bytes!("../superblocks/btrfs.bin")),
];

fuzz_target!(|data: &[u8]| {
    let Some((&[which, flip_low, flip_high], mut patches)) = data.split_first_chunk::<3>() else { return };
    let (kind, at, real) = REAL[usize::from(which) % REAL.len()];
    let mut superblock = real.to_vec();
    while let Some((&[low, high, length], rest)) = patches.split_first_chunk::<3>() {
        let offset = usize::from(u16::from_le_bytes([low, high])) % superblock.len();
        let length = usize::from(length).min(rest.len()).min(superblock.len() - offset).min(16);
        let (bytes, rest) = rest.split_at(length);
        superblock[offset..offset + length].copy_from_slice(bytes);
        patches = rest;
    }
    put_right(kind, &mut superblock);

    let look = |superblock: &[u8]| {
        let mut head = vec![0; at];
        head.extend_from_slice(superblock);
        let finding = find(kind, &head, 4_000_000_000);
        believed::check(kind, &finding);
        finding
    };
    if !matches!(look(&superblock), Finding::Superblock(_)) || !has_checksum(kind, &superblock) {
        return;
    }
    let bit = usize::from(u16::from_le_bytes([flip_low, flip_high])) % (superblock.len() * 8);
    // Btrfs has 32 bytes for a checksum, and of a CRC-32C the last 28 are not looked at, nor by the kernel.
    if kind == FsType::Btrfs && (4..32).contains(&(bit / 8)) {
        return;
    }
    superblock[bit / 8] ^= 1 << (bit % 8);
    // One bit can also say that there is no checksum, or one that volinit leaves to the kernel.
    if has_checksum(kind, &superblock) {
        let finding = look(&superblock);
        assert!(!matches!(finding, Finding::Superblock(_)), "bit {bit} was flipped, and {finding:?}");
    }
});

/// The CRC-32C of the bytes as they are now, in its place.
fn put_right(kind: FsType, superblock: &mut [u8]) {
    let (at, sum) = match kind {
        FsType::Ext4 => (0x3FC, !crc32c::crc32c(&superblock[..0x3FC])),
        FsType::Xfs => {
            superblock[224..228].fill(0);
            (224, crc32c::crc32c(superblock))
        }
        FsType::Btrfs => (0, crc32c::crc32c(&superblock[32..])),
    };
    superblock[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Whether the superblock says that it has a CRC-32C.
fn has_checksum(kind: FsType, superblock: &[u8]) -> bool {
    match kind {
        // Not revision 0, and RO_COMPAT_METADATA_CSUM.
        FsType::Ext4 => superblock[0x4C..0x50] != [0; 4] && superblock[0x65] & 4 != 0,
        FsType::Xfs => superblock[101] & 0xF == 5,
        // CRC-32C is the type 0.
        FsType::Btrfs => superblock[196..198] == [0; 2],
    }
}
