//! The superblocks of ext4, XFS and Btrfs, read from bytes: what is there, whole or damaged.
//!
//! Pure: no I/O, no clock, and no input that makes it panic. It never says what to do about a finding, and
//! [`Finding::Absent`] says only that this parser saw nothing; whether a device is blank is
//! [`crate::probe::blank`]'s to prove.

pub(in crate::probe) mod btrfs;
pub(in crate::probe) mod ext4;
pub(in crate::probe) mod xfs;

#[cfg(test)]
mod tests;

use crc::{CRC_32_ISCSI, Crc};

use crate::bytes::Bytes;
use crate::config::FsType;

/// How much of the device's head the parsers look at, in bytes; the last that they want is Btrfs's superblock, of 4 KiB at
/// 64 KiB. A shorter slice, of a smaller device, is fine.
pub const HEAD: usize = 68 * 1024;

/// How much of it one type's parser looks at, in bytes.
pub fn reach(kind: FsType) -> usize {
    match kind {
        FsType::Ext4 => ext4::AT + ext4::LENGTH,
        FsType::Xfs => xfs::LARGEST_SECTOR as usize,
        FsType::Btrfs => HEAD,
    }
}

/// What a filesystem says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The filesystem's type.
    pub kind: FsType,
    /// Its UUID as blkid prints it: lower case, with hyphens.
    pub uuid: String,
    /// Its label; empty where it has none.
    pub label: String,
    /// What it takes of this device. Of a Btrfs over several devices, only the part on this one.
    pub size: Bytes,
    /// Its block size (of Btrfs, the sector size).
    pub block_size: u32,
    /// What the bookkeeping of an ext4's last block group takes: a group that is no larger is left out. 0 of others.
    pub group_overhead: Bytes,
    /// Whether it asks for a check.
    pub state: State,
}

/// Whether a filesystem asks for a check before it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not. (A journal to be replayed is no reason: the mount does that.)
    Clean,
    /// An ext4 that e2fsck would check.
    NeedsCheck {
        /// Why, as the end of a sentence that begins with the filesystem.
        reason: String,
    },
}

/// What a parser made of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No superblock of that type.
    Absent,
    /// A superblock, and nothing about it is wrong.
    Superblock(Superblock),
    /// The magic number of that type, and something that is wrong.
    Damaged {
        /// The type that the magic number tells.
        kind: FsType,
        /// What is wrong and where.
        evidence: String,
    },
}

/// Looks for one type's superblock in the device's first `HEAD` bytes; `now` is the time in seconds since
/// 1970, for ext4's check interval.
pub fn find(kind: FsType, head: &[u8], now: u64) -> Finding {
    match kind {
        FsType::Ext4 => ext4::find(head, now),
        FsType::Xfs => xfs::find(head),
        FsType::Btrfs => btrfs::find(head),
    }
}

/// All that [`find`] finds, without the types that are absent. More than one is a device that cannot be told.
pub fn find_all(head: &[u8], now: u64) -> Vec<Finding> {
    let all = FsType::ALL.into_iter().map(|kind| find(kind, head, now));
    all.filter(|finding| *finding != Finding::Absent).collect()
}

/// A UUID as 8-4-4-4-12 hexadecimal digits.
pub fn uuid(bytes: [u8; 16]) -> String {
    let mut text = format!("{:032x}", u128::from_be_bytes(bytes));
    for hyphen in [20, 16, 12, 8] {
        text.insert(hyphen, '-');
    }
    text
}

/// A superblock's bytes whose length the parser has checked, read field by field.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        let field = self.0.get(at..).and_then(|rest| rest.first_chunk());
        *field.expect("a field's offset is a constant inside its superblock")
    }

    fn u8(self, at: usize) -> u8 {
        u8::from_le_bytes(self.bytes(at))
    }

    fn le16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn le32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn le64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.bytes(at))
    }

    fn be32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    fn be64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }

    fn uuid(self, at: usize) -> String {
        uuid(self.bytes(at))
    }

    /// The text up to the first NUL of a field of `N` bytes.
    fn text<const N: usize>(self, at: usize) -> String {
        let field: [u8; N] = self.bytes(at);
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(N);
        String::from_utf8_lossy(&field[..end]).into_owned()
    }
}

/// Fails with `what` unless it `holds`: one line for each sanity limit.
fn sane(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The checksum of all three. By a table: to ask a virtual machine's CPU for its instruction takes longer than the few KiB
/// that are read here.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The checksum that is stored, against the one that the bytes make.
fn checksum(stored: u32, computed: u32) -> Result<(), String> {
    sane(stored == computed, || format!("checksum {stored:#010x} where {computed:#010x} was expected"))
}

/// A parser's result, with what is wrong placed: "ext4 superblock at byte 1024: …".
fn finding(kind: FsType, at: u64, parsed: Result<Superblock, String>) -> Finding {
    match parsed {
        Ok(superblock) => Finding::Superblock(superblock),
        Err(wrong) => Finding::Damaged { kind, evidence: format!("{kind} superblock at byte {at}: {wrong}") },
    }
}
