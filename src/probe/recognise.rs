//! The filesystem that stood here before, known again by its superblock. What libblkid would find beside it has no room:
//! what a filesystem leaves alone before its superblock is zero, and so is what lies behind its end.

use super::blank::{fetch, is_zero};
use super::content::Content;
use super::direct::{self, Buffer, Direct, PAGE};
use super::superblock::{self, Finding, Superblock};
use super::{groups_of_xfs, unix_time};
use crate::config::FsType;
use crate::locate::Device;

/// The most that may lie behind the filesystem's end, in bytes: ext4 may leave more, and is then looked at with all care.
const MOST: u64 = 1 << 20;

/// The filesystem with this UUID. `None` where it is not there, or anything else may be: then all witnesses are to be
/// asked. It is read from the disk and not from the page cache, which can be stale.
pub(super) fn recognise(device: &Device, uuid: &str) -> Option<Superblock> {
    let head = direct::head(&device.file, superblock::HEAD).ok()?;
    let found = alone(&head, uuid)?;
    let behind = found.size.0..device.size.0;
    if !behind.is_empty() {
        let direct = Direct::begin(&device.file).ok()?;
        let length = Some(behind.end - behind.start).filter(|length| *length <= MOST)?;
        let mut buffer = Buffer::new(length.next_multiple_of(PAGE));
        if !is_zero(fetch(&direct, &mut buffer, &behind).ok()?) {
            return None;
        }
    }
    match found.kind {
        FsType::Ext4 | FsType::Btrfs => Some(found),
        FsType::Xfs => match groups_of_xfs(device, &head, found) {
            Content::Filesystem(found) => Some(found),
            _ => None,
        },
    }
}

/// The superblock with this UUID, where it is whole, the only one, and has nothing but zeros before it.
fn alone(head: &[u8], uuid: &str) -> Option<Superblock> {
    let mut all = superblock::find_all(head, unix_time());
    let (Some(Finding::Superblock(found)), true) = (all.pop(), all.is_empty()) else { return None };
    let before = match found.kind {
        FsType::Ext4 => 1024,
        FsType::Xfs => 0,
        FsType::Btrfs => 64 << 10,
    };
    (found.uuid == uuid && is_zero(&head[..before])).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::images::Image;

    const MIB: u64 = 1 << 20;
    const UUID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn made(kind: FsType) -> Image {
        Image::made(
            320 * MIB,
            &match kind {
                FsType::Ext4 => format!("mkfs.ext4 -q -F -U {UUID}"),
                FsType::Xfs => format!("mkfs.xfs -q -m uuid={UUID}"),
                FsType::Btrfs => format!("mkfs.btrfs -q -U {UUID}"),
            },
        )
    }

    fn recognised(image: &Image, uuid: &str) -> Option<FsType> {
        recognise(&Device::open(&image.path()).unwrap(), uuid).map(|found| found.kind)
    }

    #[test]
    fn what_stood_before_is_known_again_and_nothing_else() {
        for kind in FsType::ALL {
            let image = made(kind);
            assert_eq!(recognised(&image, UUID), Some(kind));
            assert_eq!(recognised(&image, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f1"), None, "{kind}: another");
        }
        assert_eq!(recognised(&Image::blank(320 * MIB), UUID), None);
        assert_eq!(recognised(&Image::blank(4096), UUID), None, "smaller than what is read");
    }

    #[test]
    fn a_superblock_that_is_not_whole_or_not_alone_is_for_all_witnesses() {
        for (kind, label, magic) in
            [(FsType::Ext4, 1024 + 0x78, 1080), (FsType::Xfs, 108, 0), (FsType::Btrfs, 65536 + 299, 65600)]
        {
            let damaged = made(kind);
            damaged.flip(label);
            assert_eq!(recognised(&damaged, UUID), None, "{kind}: a wrong checksum");
            let gone = made(kind);
            gone.flip(magic);
            assert_eq!(recognised(&gone, UUID), None, "{kind}: no magic");
        }
        let two = made(FsType::Btrfs);
        two.write(1024, &made(FsType::Ext4).read(1024, 1024));
        assert_eq!(recognised(&two, UUID), None, "an ext4 before a Btrfs");
        let headless = made(FsType::Xfs);
        headless.write(80 * MIB, &[0; 512]);
        assert_eq!(recognised(&headless, UUID), None, "an XFS without its second group");
    }

    #[test]
    fn what_lies_before_or_behind_the_filesystem_is_for_all_witnesses() {
        let table = [0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x80, 0, 0];
        for kind in [FsType::Ext4, FsType::Btrfs] {
            let image = made(kind);
            image.write(446, &table);
            image.write(510, &[0x55, 0xAA]);
            assert_eq!(recognised(&image, UUID), None, "{kind}: a partition table before it");
        }
        for kind in FsType::ALL {
            let image = made(kind);
            image.open().set_len(320 * MIB + (64 << 10)).unwrap();
            assert_eq!(recognised(&image, UUID), Some(kind), "zeros behind it");
            // As `mdadm --create --metadata=1.0` leaves it on a member that was a filesystem.
            image.write(320 * MIB + (56 << 10), &[0xFC, 0x4E, 0x2B, 0xA9]);
            assert_eq!(recognised(&image, UUID), None, "{kind}: the superblock of a RAID behind it");
            let large = made(kind);
            large.open().set_len(322 * MIB).unwrap();
            assert_eq!(recognised(&large, UUID), None, "{kind}: more behind it than is read");
        }
    }
}
