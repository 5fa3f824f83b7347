//! Mounts, and proves that what is mounted is what was looked at. Sets the owner of the top folder.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use log::warn;
use nix::errno::Errno;
use sys_mount::{MountFlags, UnmountFlags, unmount};

use super::busy::patiently;
use super::check::check;
use crate::config::FsType;
use crate::error::Failure;
use crate::locate::Device;
use crate::probe::{self, Ownership};
use crate::report::progress;

/// Mounts `device` at `at`, making the folder where it is absent.
///
/// The kernel checks ext4's group descriptors before it replays the journal that has them (Linux, fs/ext4/super.c:
/// `ext4_group_desc_init` comes before `ext4_load_and_init_journal`). So a power cut while it grew may leave what
/// it can't mount: the superblock of the new size came to the disk before its descriptors. e2fsck replays first.
/// Without such a journal it is damage, and nothing is done about it.
pub fn mount(device: &Device, kind: FsType, at: &Path, options: &[String]) -> Result<(), Failure> {
    let Err(error) = mount_once(device, kind, at, options) else { return Ok(()) };
    if kind != FsType::Ext4 || !is_corrupt(&error) || !probe::awaits_replay(device)? {
        return Err(error.into());
    }
    warn!("{error:#}; its journal is not replayed yet: e2fsck -p does that, then it is mounted again");
    check(device, false).map_err(|failure| match failure {
        Failure::Failed(then) => then.context(format!("{error:#}; then")).into(),
        other @ (Failure::Usage(_) | Failure::Refused(_) | Failure::Absent(_)) => other,
    })?;
    Ok(mount_once(device, kind, at, options)?)
}

fn mount_once(device: &Device, kind: FsType, at: &Path, options: &[String]) -> Result<()> {
    let mounting = || format!("mounting {} at {}", device.path.display(), at.display());
    fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
    let (flags, data) = split(options);
    let _running = progress::start(mounting);
    let mount = || sys_mount::Mount::builder().fstype(kind.name()).flags(flags).data(&data).mount(&device.path, at);
    patiently(mount).map_err(|error| anyhow!(error).context(format!("{}{}", mounting(), hint(kind))))?;

    // The kernel opened the path once more: prove that the name still led to the disk that was looked at.
    let about = probe::about(device)?;
    let real = at.canonicalize().with_context(mounting)?;
    if !about.mounts.iter().any(|mounted| mounted.at == real) {
        unmount(at, UnmountFlags::empty())
            .with_context(|| format!("unmounting {}, which turned out to be another disk", at.display()))?;
        bail!("{} became another disk while it was mounted; it was unmounted again", device.path.display());
    }
    Ok(())
}

/// Whether mount(2) found what it read to be wrong: ext4's EFSCORRUPTED and EFSBADCRC by their other names.
fn is_corrupt(error: &anyhow::Error) -> bool {
    let errno = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    matches!(errno.map(Errno::from_raw), Some(Errno::EUCLEAN | Errno::EBADMSG))
}

/// Gives the top folder its owner and permissions, where they differ.
pub fn permit(at: &Path, owner: Ownership, mode: Option<u32>) -> Result<()> {
    let setting = || format!("setting the owner and mode of {}", at.display());
    let meta = fs::metadata(at).with_context(setting)?;
    let user = owner.user.filter(|user| *user != meta.uid());
    let group = owner.group.filter(|group| *group != meta.gid());
    if user.is_some() || group.is_some() {
        chown(at, user, group).with_context(setting)?;
    }
    if let Some(mode) = mode.filter(|mode| *mode != meta.permissions().mode() & 0o7777) {
        fs::set_permissions(at, Permissions::from_mode(mode)).with_context(setting)?;
    }
    Ok(())
}

/// fstab's options as mount(2) takes them: flags, and the rest as the filesystem's own text. What only
/// mount(8) and systemd read is left out here and stays in the unit.
fn split(options: &[String]) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" => flags -= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "suid" => flags -= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "dev" => flags -= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "exec" => flags -= MountFlags::NOEXEC,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "async" => flags -= MountFlags::SYNCHRONOUS,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            "noatime" => flags |= MountFlags::NOATIME,
            "atime" => flags -= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "diratime" => flags -= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "norelatime" => flags -= MountFlags::RELATIME,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "nostrictatime" => flags -= MountFlags::STRICTATIME,
            "silent" => flags |= MountFlags::SILENT,
            "loud" => flags -= MountFlags::SILENT,
            "defaults" | "auto" | "noauto" | "nofail" | "fail" | "_netdev" | "user" | "nouser" | "users" | "owner"
            | "group" | "loop" => {}
            other if other.starts_with("x-") || other.starts_with("comment=") => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// What most often is behind a mount(2) that answers no more than "invalid argument".
fn hint(kind: FsType) -> &'static str {
    match kind {
        FsType::Ext4 | FsType::Btrfs => " (the kernel's log has more: `dmesg`)",
        FsType::Xfs => " (the kernel's log has more: `dmesg`; a copy of a mounted XFS needs `options: [nouuid]`)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_mount_8_would() {
        let options = |list: &[&str]| split(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        let (flags, data) =
            options(&["noatime", "nodev", "ro", "rw", "nofail", "_netdev", "x-foo", "compress=zstd", "commit=5"]);
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::NODEV);
        assert_eq!(data, "compress=zstd,commit=5");
        assert_eq!(options(&[]), (MountFlags::empty(), String::new()));
    }
}
