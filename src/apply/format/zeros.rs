//! Which zeros a new filesystem relies on that are not in what is copied: the places where mkfs writes zeros
//! itself. They are read whole; samples are enough only where EC2 says that the disk was made of zeros.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Result, bail};

use crate::config::FsType;

/// XFS's log and ext4's journal. Btrfs writes no zeros that it reads again.
pub fn relied_on(scratch: &File, kind: FsType) -> Result<Vec<Range<u64>>> {
    match kind {
        FsType::Ext4 => journal(scratch),
        FsType::Xfs => Ok(vec![log(scratch)?]),
        FsType::Btrfs => Ok(Vec::new()),
    }
}

/// The parts of such a range that are read of a disk that EC2 made of zeros: both ends, and a page in each MiB.
pub fn samples(range: &Range<u64>) -> Vec<Range<u64>> {
    const END: u64 = 64 << 10;
    const PAGE: u64 = 4096;
    if range.end - range.start <= 2 * END {
        return vec![range.clone()];
    }
    let pages = (range.start..range.end - END).step_by(1 << 20).map(|at| at..at + PAGE);
    [range.start..range.start + END, range.end - END..range.end].into_iter().chain(pages).collect()
}

/// `struct xfs_sb` (Linux, `fs/xfs/libxfs/xfs_format.h`), big endian.
fn log(scratch: &File) -> Result<Range<u64>> {
    let superblock = read(scratch, 0, 256)?;
    let u32_at = |at: usize| u64::from(u32::from_be_bytes(four(&superblock, at)));
    let (block, group_blocks, log_blocks) = (u32_at(4), u32_at(84), u32_at(96));
    let start =
        u64::from_be_bytes([four(&superblock, 48), four(&superblock, 52)].concat().try_into().expect("eight bytes"));
    if start == 0 {
        bail!("its log is on another device, which volinit does not keep together");
    }
    // A filesystem block's number has the group in its high bits (`XFS_FSB_TO_AGNO`).
    let group_bits = u32::from(superblock[124]);
    let (group, within) = (start >> group_bits, start & ((1 << group_bits) - 1));
    let first = (group * group_blocks + within) * block;
    Ok(first..first + log_blocks * block)
}

/// The superblock keeps a copy of the journal inode's block map (`s_jnl_blocks`, ext4's
/// `Documentation/filesystems/ext4/super.rst`): an extent tree of at most one level below the root.
fn journal(scratch: &File) -> Result<Vec<Range<u64>>> {
    const EXTENTS: u32 = 0x40;
    let superblock = read(scratch, 1024, 1024)?;
    let u32_at = |at: usize| u32::from_le_bytes(four(&superblock, at));
    let block = 1024u64 << u32_at(24).min(6);
    // s_feature_compat, HAS_JOURNAL; s_journal_inum; s_feature_incompat.
    if u32_at(92) & 4 == 0 {
        return Ok(Vec::new());
    }
    if u32_at(224) == 0 {
        bail!("its journal is on another device, which volinit does not keep together");
    }
    if u32_at(96) & EXTENTS == 0 {
        bail!("its journal is mapped block by block, which can't be rehearsed: leave `^extent` out of mkfs-options");
    }
    let root = &superblock[0x10c..0x10c + 60];
    let mut extents = Vec::new();
    for leaf in leaves(scratch, root, block)? {
        extents.extend(entries(&leaf).map(|entry| {
            let length = u64::from(u16::from_le_bytes([entry[4], entry[5]]));
            let start = (u64::from(u16::from_le_bytes([entry[6], entry[7]])) << 32)
                | u64::from(u32::from_le_bytes(four(entry, 8)));
            start * block..(start + length) * block
        }));
    }
    if extents.is_empty() {
        bail!("its journal can't be found");
    }
    // Its first block is the journal's superblock, and among what is copied.
    extents[0].start += block;
    Ok(extents)
}

/// The nodes of the tree that hold extents.
fn leaves(scratch: &File, root: &[u8], block: u64) -> Result<Vec<Vec<u8>>> {
    const MAGIC: [u8; 2] = 0xf30au16.to_le_bytes();
    match (root[..2] == MAGIC, u16::from_le_bytes([root[6], root[7]])) {
        (true, 0) => Ok(vec![root.to_vec()]),
        (true, 1) => {
            let below = entries(root).map(|entry| {
                let start = (u64::from(u16::from_le_bytes([entry[8], entry[9]])) << 32)
                    | u64::from(u32::from_le_bytes(four(entry, 4)));
                let node = read(scratch, start * block, usize::try_from(block)?)?;
                if node[..2] != MAGIC || node[6..8] != [0, 0] {
                    bail!("its journal's extents make no sense");
                }
                Ok(node)
            });
            below.collect()
        }
        _ => bail!("its journal's extents make no sense"),
    }
}

/// The entries of a node, twelve bytes each, behind its header (`struct ext4_extent_header`).
fn entries(node: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = usize::from(u16::from_le_bytes([node[2], node[3]]));
    node[12..].chunks_exact(12).take(count)
}

fn read(scratch: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    scratch.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    bytes[at..at + 4].try_into().expect("four bytes are four")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_both_ends_and_a_page_in_each_mib() {
        const MIB: u64 = 1 << 20;
        for length in [0, 4096, 128 << 10] {
            assert_eq!(samples(&(MIB..MIB + length)), vec![MIB..MIB + length; 1]);
        }
        let (start, end) = (7 * MIB + 4096, 71 * MIB + 8192);
        let samples = samples(&(start..end));
        let met = |at| samples.iter().any(|sample| sample.contains(&at));
        assert!([start, start + 65535, end - 65536, end - 1].into_iter().all(met));
        assert!((start..end - MIB).step_by(4096).all(|at| (at..at + MIB).step_by(4096).any(met)));
        assert!(samples.iter().all(|sample| start <= sample.start && sample.end <= end && sample.start % 4096 == 0));
        assert!(samples.iter().map(|sample| sample.end - sample.start).sum::<u64>() < MIB);
    }
}
