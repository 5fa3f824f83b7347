//! Lets e2fsck look at an unmounted ext4 and mend what is safe to mend without asking.
//! It is never killed: an fsck stopped half way is how disks were lost (kubernetes#140376).

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use log::warn;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::run::{Ended, run, run_with};
use crate::error::{Failure, Refusal};
use crate::locate::Device;
use crate::probe;

/// Runs `e2fsck -p`; with `force` also on a filesystem that says it is clean.
///
/// # Errors
/// A refusal when it can't mend it by itself: the rest is for a person.
pub fn check(device: &Device, force: bool) -> Result<(), Failure> {
    let mut ended = if force { whole(device, &[])? } else { run("e2fsck", &["-p"], device)? };
    if matches!(ended.status.code(), Some(4..=7))
        && let Some(cut_off) = CutOff::told_by(&ended.words())
    {
        ended = mend_resize_inode(device, cut_off)?;
    }
    let path = device.path.display();
    // The sum of: 1 errors mended, 2 mended and a reboot is due (for a mounted root), 4 errors left.
    match ended.status.code() {
        Some(0) => Ok(()),
        Some(1..=3) => {
            warn!("e2fsck mended errors on {path}: {}", ended.words());
            Ok(())
        }
        Some(4..=7) => Err(Failure::Refused(Refusal {
            subject: path.to_string(),
            found: format!("carries an ext4 with errors that e2fsck -p can't mend by itself: {}", ended.words()),
            way_out: format!("Take a snapshot or a copy, then `e2fsck -f {path}`, which asks before each repair."),
            written: true,
        })),
        _ => Err(ended.error().context(format!("checking {path}")).into()),
    }
}

/// `e2fsck -f -p`. It is told the time, since with a clock before 2010 it would not write down that it has checked
/// (`E2F_FLAG_TIME_INSANE`: e2fsprogs, e2fsck/e2fsck.c), and resize2fs wants a check after the last mount.
fn whole(device: &Device, environment: &[(&str, String)]) -> Result<Ended> {
    let time = [("E2FSCK_TIME", probe::time_of_check(device)?.to_string())];
    run_with("e2fsck", &["-f", "-p"], &[environment, &time].concat(), device)
}

/// What a resize2fs that was cut off leaves and `e2fsck -p` does not mend by itself: its reserve of blocks for
/// group descriptors, inode 7, does not go with the superblock. No file has a block of it; it is made anew from
/// the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutOff {
    /// It is found not to be valid, and e2fsck can make it anew.
    Invalid,
    /// It points behind the end, since its block came to the disk before the superblock: it has to be emptied,
    /// which makes it not valid.
    BehindTheEnd,
}

impl CutOff {
    fn told_by(words: &str) -> Option<CutOff> {
        if words.contains("Resize inode not valid.") {
            return Some(CutOff::Invalid);
        }
        words.contains("Inode 7 has illegal block(s).").then_some(CutOff::BehindTheEnd)
    }
}

/// `e2fsck -p` once more, allowed to make the resize inode anew, and nothing else that it would not do by itself.
fn mend_resize_inode(device: &Device, cut_off: CutOff) -> Result<Ended> {
    // PR_0_RESIZE_INODE_INVALID (e2fsprogs, e2fsck/problem.h; `[problems]` and preen_ok: e2fsck.conf(5)).
    const CONFIG: &[u8] = b"[problems]\n\t0x000030 = {\n\t\tpreen_ok = true\n\t}\n";
    warn!("{}: growing it was cut off; its resize inode is made anew", device.path.display());
    if cut_off == CutOff::BehindTheEnd {
        // -n: the checksums of bitmaps may be another moment's than the bitmaps, and none of them is written.
        run("debugfs", &["-n", "-w", "-R", "clri <7>"], device)?.succeeded()?;
    }
    let mut config: File =
        memfd_create("volinit-e2fsck", MFdFlags::MFD_CLOEXEC).context("making a file in memory")?.into();
    config.write_all(CONFIG).context("writing a file in memory")?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), config.as_raw_fd());
    whole(device, &[("E2FSCK_CONFIG", path)])
}
