//! Where filesystems, RAID, encryption and partition tables keep what they can be known by, besides a
//! device's head and tail. Pure: sizes in, offsets out.

use super::PAGE;

/// What is looked for at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A backup superblock of ext2, ext3 or ext4.
    Ext,
    /// A secondary superblock of XFS, at the start of an allocation group.
    Xfs,
    /// A mirror of Btrfs's superblock.
    Btrfs,
    /// GPT's backup header.
    Gpt,
    /// The superblock of a Linux software RAID.
    Md,
    /// LUKS2's second header.
    Luks2,
    /// Nothing that is looked for by name; it only has to be zero.
    Unnamed,
}

/// A place that is worth a read of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The offset, to the byte.
    pub at: u64,
    /// What is looked for there.
    pub mark: Mark,
}

/// All of them for a device of that size, in no order.
pub fn places(size: u64) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |mark, offsets: &mut dyn Iterator<Item = u64>| {
        places.extend(offsets.filter(|at| *at < size).map(|at| Place { at, mark }));
    };
    add(Mark::Ext, &mut ext(size));
    add(Mark::Xfs, &mut xfs(size));
    // `btrfs_sb_offset`: 64 KiB << 12, and so on by 12; the last was dropped from Linux, not from old disks.
    add(Mark::Btrfs, &mut [64 << 20, 256 << 30, 1 << 50].into_iter());
    // UEFI 5.3.2: the last logical block, of 512 or 4096 bytes.
    add(Mark::Gpt, &mut [512, 4096].into_iter().filter_map(|back| size.checked_sub(back)));
    add(Mark::Md, &mut md(size));
    // cryptsetup, lib/luks2/luks2_disk_metadata.c: a header's size is one of these, and the second follows it.
    add(Mark::Luks2, &mut (14..=22).map(|log| 1 << log));
    // OCFS2's backup superblocks (ocfs2_fs.h, `ocfs2_backup_super_blkno`) and Ceph BlueStore's labels.
    let unnamed = (0..6).map(|n| 1 << (30 + 2 * n)).chain([10, 100, 1000].map(|gib| gib << 30));
    add(Mark::Unnamed, &mut unnamed.into_iter());
    places
}

/// The starts of the groups with a backup superblock: 1 and the powers of 3, 5 and 7 (`ext4_bg_has_super`),
/// and with `sparse_super2` the last. A group is what one block's bits count (mke2fs). 16 KiB blocks stand for
/// bigalloc too, whose groups of 4 KiB blocks in 64 KiB clusters are as long.
fn ext(size: u64) -> impl Iterator<Item = u64> {
    [1u64 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10].into_iter().flat_map(move |block| {
        let first = if block == 1024 { block } else { 0 };
        let group = 8 * block * block;
        let last = size.saturating_sub(first + block) / group;
        // mke2fs drops a last group that is too small.
        let ends = [1, last, last.saturating_sub(1)];
        let powers = [3u64, 5, 7].into_iter().flat_map(move |base| {
            std::iter::successors(Some(base), move |power| power.checked_mul(base)).take_while(move |n| *n <= last)
        });
        ends.into_iter().filter(|n| *n > 0).chain(powers).map(move |n| first + n * group)
    })
}

/// The starts of allocation groups, as mkfs.xfs lays them out (xfsprogs, libxfs/topology.c,
/// `calc_default_ag_geometry`): 4 on a plain disk, 8, 16 or 32 on a RAID, none larger than 1 TiB less a block;
/// of other counts, which a grown filesystem has, the first after the head.
fn xfs(size: u64) -> impl Iterator<Item = u64> {
    const BLOCK: u64 = 4096;
    const LARGEST: u64 = (1 << 40) - BLOCK;
    let blocks = size / BLOCK;
    (2..=64u64).filter(move |count| blocks >= *count).flat_map(move |count| {
        let group = (blocks.div_ceil(count) * BLOCK).min(LARGEST);
        let starts = if matches!(count, 4 | 8 | 16 | 32) { 64 } else { 1 };
        (1..=starts).map(move |n| n * group)
    })
}

/// md(4): version 0.90 in the last whole 64 KiB but one, 1.0 at least 8 KiB before the end on a 4 KiB border,
/// 1.1 at the start and 1.2 at 4 KiB (drivers/md/md.c, `super_90_load`, `super_1_load`).
fn md(size: u64) -> impl Iterator<Item = u64> {
    let old = (size & !0xFFFF).checked_sub(0x1_0000);
    let at_end = size.checked_sub(8192).map(|at| at / PAGE * PAGE);
    old.into_iter().chain(at_end).chain([0, 4096])
}
