//! Makes a filesystem on a device that is locked and proved blank.

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};

use super::run::succeed;
use crate::config::Filesystem;
use crate::locate::Device;
use crate::probe::{self, Finding};

/// Runs mkfs.
///
/// mkfs gets the device through our own descriptor, so that it opens the disk that was proved and no other.
/// It opens it exclusively, and is not told to force anything: what the kernel has in use by then, and what
/// mkfs.xfs or mkfs.btrfs still find on it, ends it.
pub fn format(device: &Device, filesystem: &Filesystem) -> Result<()> {
    let kind = filesystem.kind;
    let program = format!("mkfs.{kind}");
    let writable = device.reopen(true)?;
    let path = path_of(&writable);

    let mut argv = vec![program.as_str(), "-q"];
    if let Some(label) = &filesystem.label {
        argv.extend(["-L", label]);
    }
    argv.extend(filesystem.mkfs_options.iter().map(String::as_str));
    argv.push(&path);
    let doing = || format!("formatting {} as {kind}", device.path.display());
    succeed(&format!("{program} on {}", device.path.display()), &argv).with_context(doing)?;
    writable.sync_all().with_context(doing)?;

    match probe::superblock(device, kind)? {
        Finding::Superblock(_) => Ok(()),
        Finding::Absent => bail!("{program} said it was done, but there is no {kind} on {}", device.path.display()),
        Finding::Damaged { evidence, .. } => {
            bail!("{program} said it was done, but {evidence} on {}", device.path.display())
        }
    }
}

/// The path by which another program opens the very device that this descriptor has. Valid as long as the
/// descriptor is open; the program need not inherit it.
pub fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
