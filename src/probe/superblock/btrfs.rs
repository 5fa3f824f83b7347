//! Btrfs's superblock: `struct btrfs_super_block` (Linux, `include/uapi/linux/btrfs_tree.h`), little endian,
//! 64 KiB into the device. What is sane is what `btrfs_validate_super` (fs/btrfs/disk-io.c) takes.
//!
//! The size is that of this device's item, not the filesystem's total, which may span several devices.

use super::{CRC32C, Fields, Finding, State, Superblock, checksum, finding, sane};
use crate::bytes::Bytes;
use crate::config::FsType;

/// `BTRFS_SUPER_INFO_OFFSET`
pub(in crate::probe) const AT: u64 = 64 * 1024;
/// `BTRFS_SUPER_INFO_SIZE`
pub(in crate::probe) const LENGTH: usize = 4096;

/// `BTRFS_MAGIC`
const MAGIC: &[u8; 8] = b"_BHRfS_M";
/// `BTRFS_MAGIC_TEMPORARY` (btrfs-progs): mkfs.btrfs and btrfs-convert write the true one last.
const MAGIC_TEMPORARY: &[u8; 8] = b"!BHRfS_M";

const CSUM_CRC32C: u16 = 0;
/// The last one known: crc32c, xxhash64, sha256, blake2b (`enum btrfs_csum_type`).
const CSUM_LAST: u16 = 3;

pub(super) fn find(head: &[u8]) -> Finding {
    let at = usize::try_from(AT).expect("64 KiB is a usize");
    match head.get(at..at + LENGTH) {
        Some(bytes) if has_magic(bytes) => finding(FsType::Btrfs, AT, parse(bytes, AT)),
        Some(_) | None => Finding::Absent,
    }
}

/// Whether a whole mirror of the superblock, that of byte `at`, is at the start of `bytes`.
pub(in crate::probe) fn is_mirror(bytes: &[u8], at: u64) -> bool {
    bytes.get(..LENGTH).is_some_and(|bytes| has_magic(bytes) && parse(bytes, at).is_ok())
}

/// Whether `bytes` are a superblock whose magic number alone was zeroed, as `wipefs` and `btrfs device remove`
/// do: btrfs-progs then takes the device for removed, and `super-recover` will not touch it.
pub(in crate::probe) fn is_wiped(bytes: &[u8]) -> bool {
    bytes.len() >= LENGTH && Fields(bytes).le64(64) == 0 && Fields(bytes).le64(48) == AT
}

fn has_magic(bytes: &[u8]) -> bool {
    let magic: [u8; 8] = Fields(bytes).bytes(64);
    [MAGIC, MAGIC_TEMPORARY].contains(&&magic)
}

fn parse(bytes: &[u8], at: u64) -> Result<Superblock, String> {
    let fields = Fields(bytes);
    let csum_type = fields.le16(196);
    sane(csum_type <= CSUM_LAST, || format!("checksum type {csum_type}, where {CSUM_LAST} is the last known"))?;
    // The others would need a crate each; what they protect, mount(2) verifies.
    if csum_type == CSUM_CRC32C {
        checksum(fields.le32(0), CRC32C.checksum(&bytes[32..]))?;
    }
    let magic: [u8; 8] = fields.bytes(64);
    sane(magic != *MAGIC_TEMPORARY, || {
        "mkfs.btrfs was interrupted (its magic number is the temporary one)".to_owned()
    })?;

    let own = fields.le64(48);
    sane(own == at, || format!("it says that it belongs at byte {own}"))?;
    let devices = fields.le64(136);
    sane(devices > 0, || "it has no devices".to_owned())?;
    let sector_size = fields.le32(144);
    let node_size = fields.le32(148);
    let limits = |size: u32, least: u32| size.is_power_of_two() && (least..=65536).contains(&size);
    sane(limits(sector_size, 4096), || format!("sector size {sector_size}"))?;
    sane(limits(node_size, sector_size), || format!("node size {node_size}"))?;
    // dev_item.total_bytes
    let size = fields.le64(209);
    sane(size > AT + LENGTH as u64, || format!("its device has {size} bytes"))?;

    Ok(Superblock {
        kind: FsType::Btrfs,
        uuid: fields.uuid(32),
        label: fields.text::<256>(299),
        size: Bytes(size),
        block_size: sector_size,
        group_overhead: Bytes(0),
        state: State::Clean,
    })
}
