//! The filesystem that stood here before, known again by its superblock. What libblkid would find beside it has no room:
//! what a filesystem leaves alone before its superblock is zero, and so is what lies behind its end.

use std::ops::Range;

use super::blank::{fetch, is_zero};
use super::content::Content;
use super::direct::{Buffer, Direct, PAGE};
use super::superblock::{self, Finding, Superblock};
use super::{groups_of_xfs, unix_time};
use crate::config::FsType;
use crate::locate::Device;

/// The most that may lie behind the filesystem's end, in bytes: ext4 may leave more, and is then looked at with all care.
const MOST: u64 = 1 << 20;

/// The filesystem with this UUID. `None` where it is not there, or anything else may be: then all witnesses are to be
/// asked. It is read from the disk and not from the page cache, which can be stale.
pub(super) fn recognise(device: &Device, uuid: &str) -> Option<Superblock> {
    let read = |range: Range<u64>| {
        let direct = Direct::begin(&device.file).ok()?;
        let mut buffer = Buffer::new((range.end - range.start).next_multiple_of(PAGE));
        Some(fetch(&direct, &mut buffer, &range).ok()?.to_vec())
    };
    let head = read(0..superblock::HEAD as u64)?;
    let found = alone(&head, uuid)?;
    let behind = found.size.0..device.size.0;
    if !behind.is_empty() && (behind.end - behind.start > MOST || !is_zero(&read(behind)?)) {
        return None;
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
