//! Makes filesystems as large as their device: mounted ones by the ioctl that the tools would use, an
//! unmounted ext4 by resize2fs. Never smaller.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use super::run::{Ended, run};
use crate::bytes::Bytes;
use crate::config::FsType;
use crate::ioctl;
use crate::locate::Device;
use crate::probe::{self, Finding};
use crate::report::progress;

/// Grows the filesystem that is mounted at `at` to all of `device`.
pub fn mounted(device: &Device, kind: FsType, at: &Path) -> Result<()> {
    let growing = || format!("growing the {kind} at {}", at.display());
    let _running = progress::start(growing);
    let folder = File::open(at).with_context(growing)?;
    let size = ioctl::size(&device.file).with_context(growing)?;
    match kind {
        FsType::Ext4 => {
            let Finding::Superblock(found) = probe::superblock(device, kind)? else {
                bail!("there is no whole ext4 superblock on {}", device.path.display());
            };
            ioctl::grow_ext4(&folder, size.0 / u64::from(found.block_size))
        }
        FsType::Xfs => {
            let (block, _) = ioctl::xfs_geometry(&folder).with_context(growing)?;
            ioctl::grow_xfs(&folder, size.0 / u64::from(block))
        }
        FsType::Btrfs => ioctl::grow_btrfs(&folder, probe::btrfs_device(device, at)?.0),
    }
    .with_context(growing)
}

/// Grows an ext4 that is not mounted and has just been checked.
pub fn unmounted(device: &Device) -> Result<()> {
    run("resize2fs", &[], device)
        .and_then(Ended::succeeded)
        .with_context(|| format!("growing {}", device.path.display()))
}

/// Makes an image's file larger, and tells its loop device.
pub fn image(device: &Device, image: &Path, to: Bytes) -> Result<()> {
    let enlarging = || format!("enlarging {} to {to}", image.display());
    let file = OpenOptions::new().write(true).open(image).with_context(enlarging)?;
    let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).with_context(enlarging)?;
    // Another run may have been quicker; a file is never made smaller.
    if file.metadata().with_context(enlarging)?.len() < to.0 {
        file.set_len(to.0).with_context(enlarging)?;
    }
    ioctl::refresh_loop_size(&device.file).with_context(enlarging)
}
