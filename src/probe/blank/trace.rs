//! What is on a device that is not blank: a backup superblock or another mark, so that a person is told how to
//! get their data back. It only adds to a refusal, so what cannot be read here is passed over.

use std::ops::Range;

use super::places::{Mark, Place, places};
use super::{DEVICE, Found, PAGE, ReadAt, fetch, passing_over};
use crate::config::FsType;
use crate::probe::direct::Buffer;
use crate::probe::superblock::{btrfs, ext4, xfs};

/// `MD_SB_MAGIC` (Linux, `include/uapi/linux/raid/md_p.h`); in version 0.90 in the byte order of its host.
const MD: [[u8; 4]; 2] = [0xA92B_4EFC_u32.to_le_bytes(), 0xA92B_4EFC_u32.to_be_bytes()];

/// What the known places tell; backup superblocks before all else, the lowest first. `ours` tells nothing.
pub fn look(device: &impl ReadAt, size: u64, ours: &[Range<u64>]) -> Found {
    let mut places = places(size);
    places.sort_unstable_by_key(|place| (place.mark, place.at));
    let mut buffer = Buffer::new(2 * PAGE);
    places.into_iter().find_map(|place| known(device, size, &mut buffer, place, ours)).unwrap_or(Found::Bytes)
}

fn known(
    device: &impl ReadAt,
    size: u64,
    buffer: &mut Buffer,
    Place { at, mark }: Place,
    ours: &[Range<u64>],
) -> Option<Found> {
    let start = at / PAGE * PAGE;
    // Two pages, so that a superblock which begins within a page is read to its end.
    let read = start..size.min(start + 2 * PAGE);
    let bytes = passing_over(fetch(device, buffer, &read).ok()?, &read, ours);
    let bytes = &bytes[usize::try_from(at - start).ok()?..];
    let trace = |what, command: &str| Found::Trace { what, offset: at, repair: format!("{command} {DEVICE}") };
    let backup = |kind, command: &str| Found::Backup { kind, offset: at, repair: format!("{command} {DEVICE}") };

    match mark {
        Mark::Ext => {
            let found = ext4::backup(bytes).filter(|found| at % u64::from(found.block_size) == 0)?;
            let block_size = found.block_size;
            let command = format!("e2fsck -b {} -B {block_size}", at / u64::from(block_size));
            Some(if found.ext4 {
                backup(FsType::Ext4, &command)
            } else {
                trace("a backup superblock of ext2 or ext3", &command)
            })
        }
        Mark::Xfs => bytes.starts_with(xfs::MAGIC).then(|| backup(FsType::Xfs, "xfs_repair")),
        Mark::Btrfs => {
            if !btrfs::is_mirror(bytes, at) {
                return None;
            }
            let primary = fetch(device, buffer, &(btrfs::AT..btrfs::AT + PAGE)).ok()?;
            Some(if btrfs::is_wiped(primary) {
                // The mirrors' numbers are those of `btrfs_sb_offset`; a third is none that btrfs-progs knows.
                backup(FsType::Btrfs, &format!("btrfs-select-super -s {}", 1 + u8::from(at > 64 << 20)))
            } else {
                backup(FsType::Btrfs, "btrfs rescue super-recover")
            })
        }
        Mark::Gpt => bytes.starts_with(b"EFI PART").then(|| trace("a GPT backup header", "gdisk")),
        Mark::Md => MD
            .iter()
            .any(|magic| bytes.starts_with(magic))
            .then(|| trace("the superblock of a Linux software RAID", "mdadm --examine")),
        Mark::Luks2 => bytes.starts_with(b"SKUL\xba\xbe").then(|| trace("a second LUKS2 header", "cryptsetup repair")),
        Mark::Unnamed => None,
    }
}
