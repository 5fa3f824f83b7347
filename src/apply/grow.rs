//! Makes filesystems as large as their device: mounted ones by the ioctl that the tools would use, an
//! unmounted ext4 by resize2fs. Never smaller.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use log::warn;
use nix::fcntl::{Flock, FlockArg};

use super::check;
use super::run::run;
use crate::bytes::Bytes;
use crate::config::FsType;
use crate::error::Failure;
use crate::ioctl;
use crate::locate::Device;
use crate::probe::{self, Finding};
use crate::report::progress;

/// Grows the filesystem that is mounted, with `top` for its top folder, to all of `device`.
pub fn mounted(device: &Device, kind: FsType, top: &Path) -> Result<()> {
    let growing = || format!("growing the {kind} on {}", device.path.display());
    let _running = progress::short(growing);
    let folder = File::open(top).with_context(growing)?;
    let size = ioctl::size(&device.file).with_context(growing)?;
    match kind {
        FsType::Ext4 => {
            let Finding::Superblock(found) = probe::superblock(device, kind)? else {
                bail!("there is no whole ext4 superblock on {}", device.path.display());
            };
            ioctl::grow_ext4(&folder, size.0 / u64::from(found.block_size))
        }
        FsType::Xfs => {
            let block = ioctl::xfs_geometry(&folder).with_context(growing)?.block;
            ioctl::grow_xfs(&folder, size.0 / u64::from(block))
        }
        FsType::Btrfs => ioctl::grow_btrfs(&folder, probe::btrfs_device(device, top)?.1),
    }
    .with_context(growing)
}

/// Grows an ext4 that is not mounted and has just been checked. Gives why it has not grown, where it may be mounted
/// all the same: resize2fs is not there, or ended badly and e2fsck made whole what it left.
pub fn unmounted(device: &Device) -> Result<Option<anyhow::Error>, Failure> {
    let growing = || format!("growing {}", device.path.display());
    let size = |device| match probe::superblock(device, FsType::Ext4)? {
        Finding::Superblock(found) => Ok(found.size),
        Finding::Absent | Finding::Damaged { .. } => Err(anyhow!("{} has no whole ext4", device.path.display())),
    };
    let before = size(device)?;
    let ended = match run("resize2fs", &[], device) {
        Err(error) if is_missing(&error) => return Ok(Some(error.context(growing()))),
        other => other.with_context(growing)?,
    };
    if ended.status.success() {
        return Ok(None);
    }
    let error = ended.error().context(growing());
    check::check(device, true).inspect_err(|_| warn!("{error:#}"))?;
    // Cut off at its very end it may have grown.
    Ok((size(device)? <= before).then_some(error))
}

/// Whether a tool could not be started because there is none.
fn is_missing(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound))
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
