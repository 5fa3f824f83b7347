//! Makes a filesystem on a device that is locked and proved blank.

use anyhow::{Context, Result, bail};

use super::run::{Ended, run};
use crate::config::Filesystem;
use crate::locate::Device;
use crate::probe::{self, Finding};

/// Runs mkfs.
///
/// It opens the device exclusively, and is not told to force anything: what the kernel has in use by then, and
/// what mkfs.xfs or mkfs.btrfs still find on it, ends it.
pub fn format(device: &Device, filesystem: &Filesystem) -> Result<()> {
    let kind = filesystem.kind;
    let program = format!("mkfs.{kind}");
    let mut arguments = vec!["-q"];
    if let Some(label) = &filesystem.label {
        arguments.extend(["-L", label]);
    }
    arguments.extend(filesystem.mkfs_options.iter().map(String::as_str));
    let doing = || format!("formatting {} as {kind}", device.path.display());
    run(&program, &arguments, device).and_then(Ended::succeeded).with_context(doing)?;

    match probe::superblock(device, kind)? {
        Finding::Superblock(_) => Ok(()),
        Finding::Absent => bail!("{program} said it was done, but there is no {kind} on {}", device.path.display()),
        Finding::Damaged { evidence, .. } => {
            bail!("{program} said it was done, but {evidence} on {}", device.path.display())
        }
    }
}
