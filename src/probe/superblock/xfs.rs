//! XFS's superblock: `struct xfs_dsb` (Linux, `fs/xfs/libxfs/xfs_format.h`), big endian, at the head of the
//! device. What is sane is what `xfs_validate_sb_common` (`libxfs/xfs_sb.c`) takes.
//!
//! Both versions: 5 with a checksum, 4 without. The superblock of a mounted XFS is stale in its size; ask the
//! kernel for that.

use super::{CRC32C, Fields, Finding, State, Superblock, checksum, finding, sane};
use crate::bytes::Bytes;
use crate::config::FsType;

/// `XFS_SB_MAGIC`
pub(in crate::probe) const MAGIC: &[u8] = b"XFSB";

/// `sizeof(struct xfs_dsb)`, up to and with `sb_meta_uuid`.
const LENGTH: usize = 264;

/// `XFS_MAX_SECTORSIZE`, in bytes. A superblock takes a sector.
pub(super) const LARGEST_SECTOR: u32 = 32 << 10;

/// Where the checksum is: the only little-endian field.
const CRC: usize = 224;

/// `XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR`: the kernel mounts it only after `xfs_repair`.
const INCOMPAT_NEEDSREPAIR: u32 = 1 << 4;

/// `XFS_MIN_AG_BLOCKS`
const MIN_AG_BLOCKS: u64 = 64;

pub(super) fn find(head: &[u8]) -> Finding {
    if !head.starts_with(MAGIC) || head.len() < LENGTH {
        return Finding::Absent;
    }
    finding(FsType::Xfs, 0, parse(head))
}

fn parse(head: &[u8]) -> Result<Superblock, String> {
    let fields = Fields(head);
    let sector =
        power(fields.be16(102).into(), fields.u8(121), 512..=LARGEST_SECTOR).map_err(|e| format!("sector size {e}"))?;
    let version = fields.be16(100) & 0xF;
    match version {
        4 => {}
        5 => {
            let sector = head.get(..sector as usize).ok_or("the device ends in its first sector")?;
            checksum(fields.le32(CRC), crc(sector))?;
            let repair = fields.be32(216) & INCOMPAT_NEEDSREPAIR != 0;
            sane(!repair, || "it is marked as in need of xfs_repair".to_owned())?;
        }
        other => return Err(format!("version {other}, where 4 and 5 are known")),
    }

    // Set while mkfs.xfs, xfs_copy or xfs_mdrestore is at work and cleared by its last write; the kernel
    // refuses to mount such a one, and libblkid takes it for whole.
    let in_progress = fields.u8(126);
    sane(in_progress == 0, || "mkfs.xfs was interrupted (sb_inprogress is set)".to_owned())?;

    let block_size = power(fields.be32(4), fields.u8(120), 512..=65536).map_err(|e| format!("block size {e}"))?;
    power(fields.be16(104).into(), fields.u8(122), 256..=2048).map_err(|e| format!("inode size {e}"))?;

    let blocks = fields.be64(8);
    let (groups, group) = (u64::from(fields.be32(88)), u64::from(fields.be32(84)));
    let fits = groups > 0
        && group >= MIN_AG_BLOCKS
        && blocks <= groups * group
        && blocks >= (groups - 1) * group + MIN_AG_BLOCKS;
    sane(fits, || format!("{blocks} blocks, in {groups} allocation groups of {group}"))?;
    let size = blocks.checked_mul(u64::from(block_size)).ok_or_else(|| format!("{blocks} blocks"))?;

    Ok(Superblock {
        kind: FsType::Xfs,
        uuid: fields.uuid(32),
        label: fields.text::<12>(108),
        size: Bytes(size),
        block_size,
        group_overhead: Bytes(0),
        state: State::Clean,
    })
}

/// Where the allocation groups behind the first one begin, in bytes: each with a superblock of its own. The
/// superblock in `head` has to be whole; more than `most` groups are not told.
pub(in crate::probe) fn groups(head: &[u8], most: u64) -> impl Iterator<Item = u64> {
    let fields = Fields(head);
    let (block, group, groups) = (u64::from(fields.be32(4)), u64::from(fields.be32(84)), u64::from(fields.be32(88)));
    (1..groups.min(most)).map(move |number| number * group * block)
}

/// A size that must be the power of two that its logarithm says, in a range.
fn power(size: u32, log: u8, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    sane(range.contains(&size) && size.is_power_of_two() && size.trailing_zeros() == u32::from(log), || {
        format!("{size}, its logarithm {log}")
    })?;
    Ok(size)
}

/// `xfs_cksum`: crc32c over the sector, with its own field taken as zero.
fn crc(sector: &[u8]) -> u32 {
    let mut digest = CRC32C.digest();
    for part in [&sector[..CRC], &[0; 4], &sector[CRC + 4..]] {
        digest.update(part);
    }
    digest.finalize()
}
