//! ext4's superblock: `struct ext4_super_block` (Linux, fs/ext4/ext4.h), little endian, 1024 bytes into the
//! device. What is sane is what `ext4_fill_super` (fs/ext4/super.c) takes.
//!
//! ext2, ext3 and a journal device have the same magic number and are other types, told apart by their
//! features as libblkid does: absent here, and never mounted, checked or grown as ext4.

use super::{CRC32C, Fields, Finding, State, Superblock, checksum, finding, sane};
use crate::bytes::Bytes;
use crate::config::FsType;

/// Where the primary superblock is, and how long each copy is.
pub(in crate::probe) const AT: usize = 1024;
pub(in crate::probe) const LENGTH: usize = 1024;

const MAGIC: u16 = 0xEF53;

const STATE_VALID: u16 = 1;
const STATE_ERROR: u16 = 2;

const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_64BIT: u32 = 0x80;
/// What ext3 knows (`EXT3_FEATURE_INCOMPAT_SUPP`): file types, recovery, meta block groups.
const INCOMPAT_EXT3: u32 = 0x2 | INCOMPAT_RECOVER | 0x10;
/// What ext3 knows (`EXT3_FEATURE_RO_COMPAT_SUPP`): sparse superblocks, large files, B-tree directories.
const RO_COMPAT_EXT3: u32 = 0x1 | 0x2 | 0x4;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// What the magic number belongs to.
enum Family {
    Ext4,
    Ext2Or3,
    Journal,
}

/// A backup superblock that can be trusted.
pub(in crate::probe) struct Backup {
    /// False for ext2 and ext3.
    pub ext4: bool,
    /// The filesystem's block size, for `e2fsck -B`.
    pub block_size: u32,
}

pub(super) fn find(head: &[u8], now: u64) -> Finding {
    let Some(fields) = superblock(head, AT) else {
        return Finding::Absent;
    };
    match family(fields) {
        Some(Family::Ext4) => finding(FsType::Ext4, AT as u64, parse(fields, now)),
        Some(Family::Ext2Or3 | Family::Journal) | None => Finding::Absent,
    }
}

/// When it was last mounted, in seconds since 1970 (`s_mtime`); 0 where `head` says nothing of it.
pub(in crate::probe) fn last_mount(head: &[u8]) -> u64 {
    superblock(head, AT).map_or(0, |fields| u64::from(fields.u8(0x275)) << 32 | u64::from(fields.le32(0x2C)))
}

/// Whether there is a superblock that says that its journal is to be replayed.
pub(in crate::probe) fn awaits_replay(head: &[u8]) -> bool {
    superblock(head, AT).is_some_and(|fields| features(fields).0 & INCOMPAT_RECOVER != 0)
}

/// The backup superblock at the start of `bytes`, where it is whole.
pub(in crate::probe) fn backup(bytes: &[u8]) -> Option<Backup> {
    let fields = superblock(bytes, 0)?;
    let ext4 = match family(fields)? {
        Family::Ext4 => true,
        Family::Ext2Or3 => false,
        Family::Journal => return None,
    };
    let superblock = parse(fields, 0).ok()?;
    Some(Backup { ext4, block_size: superblock.block_size })
}

fn superblock(bytes: &[u8], at: usize) -> Option<Fields<'_>> {
    bytes.get(at..at + LENGTH).map(Fields)
}

/// As libblkid's ext.c: ext4 is what has a feature that ext3 does not know.
fn family(fields: Fields<'_>) -> Option<Family> {
    if fields.le16(0x38) != MAGIC {
        return None;
    }
    let (incompat, ro_compat) = features(fields);
    Some(match () {
        // Before all else: with this feature a checksum tells whether the others can be believed.
        () if ro_compat & RO_COMPAT_METADATA_CSUM != 0 && incompat & INCOMPAT_JOURNAL_DEV == 0 => Family::Ext4,
        () if incompat & INCOMPAT_JOURNAL_DEV != 0 => Family::Journal,
        () if incompat & !INCOMPAT_EXT3 != 0 || ro_compat & !RO_COMPAT_EXT3 != 0 => Family::Ext4,
        () => Family::Ext2Or3,
    })
}

/// Incompatible and read-only compatible features; revision 0 (`EXT4_GOOD_OLD_REV`) has none.
fn features(fields: Fields<'_>) -> (u32, u32) {
    match fields.le32(0x4C) {
        0 => (0, 0),
        _ => (fields.le32(0x60), fields.le32(0x64)),
    }
}

fn parse(fields: Fields<'_>, now: u64) -> Result<Superblock, String> {
    let (incompat, ro_compat) = features(fields);
    if ro_compat & RO_COMPAT_METADATA_CSUM != 0 {
        let kind = fields.u8(0x175);
        sane(kind == 1, || format!("checksum type {kind}, where 1 (crc32c) is the only one"))?;
        // `ext4_superblock_csum`: seeded with ~0 and not inverted at the end, which the crate's is.
        checksum(fields.le32(0x3FC), !CRC32C.checksum(&fields.0[..0x3FC]))?;
    }

    let log_block_size = fields.le32(0x18);
    sane(log_block_size <= 6, || format!("block size 1024 << {log_block_size}, where 64 KiB is the limit"))?;
    let block_size = 1024 << log_block_size;

    let high = if incompat & INCOMPAT_64BIT != 0 { fields.le32(0x150) } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(fields.le32(0x04));
    let first = fields.le32(0x14);
    sane(blocks > u64::from(first), || format!("{blocks} blocks, the first data block being {first}"))?;
    let size = blocks.checked_mul(u64::from(block_size)).ok_or_else(|| format!("{blocks} blocks"))?;

    // A bitmap of one block bounds what a group can hold: blocks, or with bigalloc clusters.
    let (unit, units) = match ro_compat & RO_COMPAT_BIGALLOC {
        0 => ("blocks", fields.le32(0x20)),
        _ => ("clusters", fields.le32(0x24)),
    };
    sane((1..=block_size * 8).contains(&units), || format!("{units} {unit} a group"))?;
    let inodes = fields.le32(0x28);
    sane((1..=block_size * 8).contains(&inodes), || format!("{inodes} inodes a group"))?;
    let inode_size = if fields.le32(0x4C) == 0 { 128 } else { u32::from(fields.le16(0x58)) };
    let whole = inode_size.is_power_of_two() && (128..=block_size).contains(&inode_size);
    sane(whole, || format!("inodes of {inode_size} bytes"))?;

    Ok(Superblock {
        kind: FsType::Ext4,
        uuid: fields.uuid(0x68),
        label: fields.text::<16>(0x78),
        size: Bytes(size),
        block_size,
        group_overhead: group_overhead(fields, incompat, blocks, u64::from(inodes) * u64::from(inode_size)),
        state: state(fields, incompat, now),
    })
}

/// As resize2fs counts it (e2fsprogs, resize/resize2fs.c, `adjust_fs_info`): the bitmaps and the inode table, a backup
/// of the superblock and of the descriptors, and 50 blocks for whatever is to be in the group.
fn group_overhead(fields: Fields<'_>, incompat: u32, blocks: u64, inode_table: u64) -> Bytes {
    let block_size = 1024u64 << fields.le32(0x18);
    let groups = blocks.div_ceil(u64::from(fields.le32(0x20)).max(1));
    let descriptor = if incompat & INCOMPAT_64BIT == 0 { 32 } else { u64::from(fields.le16(0xFE)) };
    let descriptors = groups.saturating_mul(descriptor).div_ceil(block_size) + u64::from(fields.le16(0xCE));
    Bytes((2 + inode_table.div_ceil(block_size) + 1 + descriptors + 50).saturating_mul(block_size))
}

/// Why e2fsck would not skip this filesystem, in its own order (e2fsprogs, e2fsck/unix.c, `check_if_skip`).
fn state(fields: Fields<'_>, incompat: u32, now: u64) -> State {
    let state = fields.le16(0x3A);
    let mounts = fields.le16(0x34);
    let max_mounts = i16::from_le_bytes(fields.bytes(0x36));
    let interval = u64::from(fields.le32(0x44));
    let last_check = u64::from(fields.u8(0x277)) << 32 | u64::from(fields.le32(0x40));
    // A clock before the last check (1970, where there is none) proves nothing: no check.
    let age = now.saturating_sub(last_check);

    let reason = if state & STATE_ERROR != 0 {
        "has recorded errors".to_owned()
    } else if state & STATE_VALID == 0 && incompat & INCOMPAT_RECOVER == 0 {
        "was not cleanly unmounted".to_owned()
    } else if u16::try_from(max_mounts).is_ok_and(|max| max > 0 && mounts >= max) {
        format!("has been mounted {mounts} times without a check")
    } else if interval > 0 && age >= interval {
        format!("has gone {} days without a check", age / 86400)
    } else {
        return State::Clean;
    };
    State::NeedsCheck { reason }
}
