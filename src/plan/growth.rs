//! Whether a filesystem, or the image below it, is smaller than it shall be. Pure.

use std::path::PathBuf;

use super::{Action, Plan};
use crate::bytes::Bytes;
use crate::config::{FsType, Source, Volume};
use crate::probe::{Facts, Superblock};

/// From what to what a filesystem, or an image, shall grow.
#[derive(Clone, Debug)]
pub struct Growth {
    /// What it has.
    pub from: Bytes,
    /// What its device has, or will have.
    pub to: Bytes,
    /// The image that has to become larger first.
    image: Option<PathBuf>,
}

impl Growth {
    /// Why, for the step's reason.
    pub fn reason(&self) -> String {
        format!("it has {}, and its device {}", self.from, self.to)
    }

    /// Makes the image larger first, where there is one and it has to be.
    pub fn enlarge(&self, plan: &mut Plan) {
        if let Some(image) = &self.image {
            plan.step(
                Action::EnlargeImage { image: image.clone(), to: self.to },
                format!("the config asks for {}", self.to),
            );
        }
    }
}

/// An image shall have the size that the config gives; it is never made smaller.
pub fn of_image(volume: &Volume, facts: &Facts) -> Option<Growth> {
    match &volume.source {
        Source::Image { size, .. } if *size > facts.device.size => {
            Some(Growth { from: facts.device.size, to: *size, image: facts.device.image.clone() })
        }
        Source::Image { .. } | Source::Device { .. } | Source::Ebs(_) | Source::Nfs { .. } => None,
    }
}

/// Whether the filesystem is smaller than its device by more than it leaves unused anyway.
pub fn of_filesystem(volume: &Volume, facts: &Facts, found: &Superblock) -> Option<Growth> {
    let has = found.size;
    let room = of_image(volume, facts).unwrap_or(Growth { from: has, to: facts.device.size, image: None });
    (room.to.saturating_sub(has) > slack(found)).then_some(Growth { from: has, ..room })
}

/// What a filesystem that fills its device may leave unused at the end. Larger than needed costs a little
/// space; smaller than needed would try to grow at every boot and never be done.
fn slack(found: &Superblock) -> Bytes {
    match found.kind {
        // A last block group without room for its own bitmaps and inode table is left out (ext4_resize_fs in
        // fs/ext4/resize.c). With mke2fs's defaults that is about 2 MiB; with large inodes 32 MiB and more.
        FsType::Ext4 => Bytes::mib(16).max(found.group_overhead),
        // A last allocation group below 64 blocks is left out (XFS_MIN_AG_BLOCKS): 4 MiB with blocks of 64 KiB.
        FsType::Xfs => Bytes::mib(4),
        // Only what does not fill a sector.
        FsType::Btrfs => Bytes::mib(1),
    }
}
