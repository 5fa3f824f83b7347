//! Mounts where nobody sees it yet, proves that what is mounted is what was looked at, and shows it when all else is done.
//! Sets the owner of the top folder.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use log::warn;
use nix::errno::Errno;
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};
use sys_mount::{UnmountFlags, unmount};

use super::busy::patiently;
use super::check::check;
use super::options::Options;
use crate::config::FsType;
use crate::error::Failure;
use crate::locate::Device;
use crate::probe::{self, Ownership};
use crate::report::progress;

/// A filesystem that is mounted, but at no place yet, so that its services do not begin while it is still grown and
/// given its owner: systemd takes a mount that waits for volinit for done as soon as the kernel shows it. Dropped, or
/// with the process, it is unmounted.
pub struct Mounted {
    at: PathBuf,
    /// `None` before Linux 5.2, where it is at its place already.
    hidden: Option<OwnedFd>,
}

impl Mounted {
    /// Its top folder, as this process opens it.
    pub fn folder(&self) -> PathBuf {
        match &self.hidden {
            Some(mount) => PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())),
            None => self.at.clone(),
        }
    }

    /// Shows it at its place.
    pub fn show(self) -> Result<()> {
        let Some(mount) = self.hidden else { return Ok(()) };
        move_mount(&mount, "", CWD, &self.at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(io::Error::from)
            .with_context(|| format!("mounting at {}", self.at.display()))
    }
}

/// Mounts `device` for `at`, making that folder where it is absent.
///
/// The kernel checks ext4's group descriptors before it replays the journal that has them (Linux, fs/ext4/super.c:
/// `ext4_group_desc_init` comes before `ext4_load_and_init_journal`). So a power cut while it grew may leave what
/// it can't mount: the superblock of the new size came to the disk before its descriptors. e2fsck replays first.
/// Without such a journal it is damage, and nothing is done about it.
pub fn mount(device: &Device, kind: FsType, at: &Path, options: &[String]) -> Result<Mounted, Failure> {
    let error = match mount_once(device, kind, at, options) {
        Ok(mounted) => return Ok(mounted),
        Err(error) => error,
    };
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

fn mount_once(device: &Device, kind: FsType, at: &Path, options: &[String]) -> Result<Mounted> {
    let mounting = || format!("mounting {} at {}", device.path.display(), at.display());
    fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
    let options = Options::split(options);
    let _running = progress::short(mounting);

    let mut said = String::new();
    let hidden = patiently(|| hidden(device, kind, &options, &mut said));
    let hidden = match hidden {
        Ok(None) => {
            let (flags, data) = options.classic();
            let mount =
                || sys_mount::Mount::builder().fstype(kind.name()).flags(flags).data(&data).mount(&device.path, at);
            patiently(mount).map(|_| None)
        }
        other => other,
    };
    let more = if said.is_empty() { hint(kind) } else { &said };
    let hidden = hidden.map_err(|error| in_words(error).context(format!("{} ({more})", mounting())))?;
    let mounted = Mounted { at: at.to_owned(), hidden };

    // The kernel opened the path once more: prove that the name still led to the disk that was looked at.
    if !probe::shows(&mounted.folder(), kind, device).with_context(mounting)? {
        if mounted.hidden.is_none() {
            unmount(at, UnmountFlags::empty())
                .with_context(|| format!("unmounting {}, which turned out to be another disk", at.display()))?;
        }
        bail!("{} became another disk while it was mounted; it was unmounted again", device.path.display());
    }
    Ok(mounted)
}

/// The filesystem at no place; `None` where the kernel has no such call, or a container's filter hides it. What the kernel
/// has to say of a failure is left in `said`.
fn hidden(device: &Device, kind: FsType, options: &Options<'_>, said: &mut String) -> io::Result<Option<OwnedFd>> {
    let context = match fsopen(kind.name(), FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => return Ok(None),
        other => other?,
    };
    let create = || {
        fsconfig_set_string(&context, "source", &device.path)?;
        for (key, value) in options.parameters() {
            match value {
                Some(value) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, key)?,
            }
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes())
    };
    let mount = create();
    if mount.is_err() {
        *said = messages(&context);
    }
    Ok(Some(mount?))
}

/// What the kernel has to say of a filesystem that it did not mount, `; ` between: one read a message, which begins with
/// its level (Linux, fs/fsopen.c, `fscontext_read`).
fn messages(context: &OwnedFd) -> String {
    let mut buffer = [0; 512];
    let next = || Some(rustix::io::read(context, &mut buffer).ok()?).map(|length| buffer[..length].to_owned());
    let texts: Vec<String> = std::iter::from_fn(next)
        .take_while(|message| !message.is_empty())
        .map(|message| String::from_utf8_lossy(message.get(2..).unwrap_or_default()).trim().to_owned())
        .collect();
    texts.join("; ")
}

/// The error, by a name that says something: musl's strerror(3) has no words for EUCLEAN.
fn in_words(error: io::Error) -> anyhow::Error {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EUCLEAN) => anyhow!(Errno::EUCLEAN),
        _ => anyhow!(error),
    }
}

/// Whether mount(2) found what it read to be wrong: ext4's EFSCORRUPTED and EFSBADCRC by their other names.
fn is_corrupt(error: &anyhow::Error) -> bool {
    let errno = |error: &io::Error| error.raw_os_error().map(Errno::from_raw);
    error.downcast_ref() == Some(&Errno::EUCLEAN) || error.downcast_ref().and_then(errno) == Some(Errno::EBADMSG)
}

/// Gives the top folder its owner and permissions; `false` where they are so already.
pub fn permit(folder: &Path, owner: Ownership, mode: Option<u32>) -> io::Result<bool> {
    let meta = fs::metadata(folder)?;
    let user = owner.user.filter(|user| *user != meta.uid());
    let group = owner.group.filter(|group| *group != meta.gid());
    let mode = mode.filter(|mode| *mode != meta.permissions().mode() & 0o7777);
    if user.is_some() || group.is_some() {
        chown(folder, user, group)?;
    }
    if let Some(mode) = mode {
        fs::set_permissions(folder, Permissions::from_mode(mode))?;
    }
    Ok(user.is_some() || group.is_some() || mode.is_some())
}

/// What most often is behind a mount that is answered with no more than "invalid argument".
fn hint(kind: FsType) -> &'static str {
    match kind {
        FsType::Ext4 | FsType::Btrfs => "the kernel's log has more: `dmesg`",
        FsType::Xfs => "the kernel's log has more: `dmesg`; a copy of a mounted XFS needs `options: [nouuid]`",
    }
}
