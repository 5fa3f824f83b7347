//! mkfs into a file in memory, told what it would have seen of the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use super::layout;

use crate::apply::run::{Ended, run_on};
use crate::bytes::Bytes;
use crate::config::{Filesystem, FsType};
use crate::plan;
use crate::probe::{self, DeviceFacts, Finding};

/// Formats a file that is as large as the disk. It takes as much memory as mkfs writes of other bytes than
/// zeros: 5 MiB of 100 GiB; and for XFS 80 MiB.
pub fn rehearse(disk: &DeviceFacts, filesystem: &Filesystem) -> Result<File> {
    let kind = filesystem.kind;
    let in_pages = || memfd_create("volinit-format", MFdFlags::MFD_CLOEXEC).map(File::from).map_err(io::Error::from);
    let scratch = match kind {
        FsType::Xfs => in_large_pages().or_else(|_| in_pages()),
        FsType::Ext4 | FsType::Btrfs => in_pages(),
    };
    let scratch = scratch.context("making a file in memory")?;
    scratch.set_len(disk.size.0).with_context(|| format!("making a file of {} in memory", disk.size))?;
    enough_memory(disk.size, kind)?;

    let program = format!("mkfs.{kind}");
    let mut arguments = vec!["-q".to_owned()];
    if let Some(label) = &filesystem.label {
        arguments.extend(["-L".to_owned(), label.clone()]);
    }
    arguments.extend(as_on_the_disk(disk, filesystem));
    arguments.extend(filesystem.mkfs_options.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // mke2fs asks a block device for these; of a file it takes them from here (lib/ext2fs/getsectsize.c).
    let environment = [
        ("MKE2FS_DEVICE_SECTSIZE", disk.sector.to_string()),
        ("MKE2FS_DEVICE_PHYS_SECTSIZE", disk.physical_sector.to_string()),
    ];
    let mut memory = Memory { scratch: &scratch, last: 0 };
    // Of the three only mkfs.xfs writes zeros that a file in memory would keep.
    let meanwhile = |mkfs| if kind == FsType::Xfs { memory.give_back(mkfs) } else { Ok(()) };
    run_on(&program, &arguments, &environment, &scratch, &disk.path, meanwhile).and_then(Ended::succeeded)?;

    // Whatever the options were: the file has to hold one whole filesystem that needs nothing beside it.
    let length = scratch.metadata().context("looking at the file in memory")?.len();
    match probe::find(kind, &probe::head(&scratch).context("reading the file in memory")?, 0) {
        Finding::Superblock(made) if length == disk.size.0 && made.size <= disk.size => Ok(scratch),
        Finding::Superblock(_) => bail!("{program} made a filesystem of another size than the disk's"),
        Finding::Absent => bail!("{program} said it was done, but made no {kind}"),
        Finding::Damaged { evidence, .. } => bail!("{program} said it was done, but {evidence}"),
    }
}

/// A file in memory that comes 2 MiB at a time, where the kernel has that: three quarters of the time that mkfs.xfs takes
/// go into a page for every 4 KiB of its log's zeros. The others write little and far apart, and would take more memory.
fn in_large_pages() -> io::Result<File> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "huge", "within_size")?;
    // No limit: that it fits is looked at beforehand.
    fsconfig_set_string(&context, "size", "0")?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(openat(&mount, ".", flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// What the file takes of the memory while mkfs writes to it.
///
/// mkfs.xfs writes its log's zeros, up to 2 GiB of them, and a file in memory keeps them. So whenever much has come
/// together mkfs is stopped for a moment, and pages that are zero are given back. Stopped, it is in no system call,
/// and no page can change between the look and the punch.
struct Memory<'a> {
    scratch: &'a File,
    /// In bytes, after zeros were given back.
    last: u64,
}

impl Memory<'_> {
    /// As much may come together, in bytes.
    const MUCH: u64 = 80 << 20;

    fn give_back(&mut self, mkfs: Pid) -> Result<()> {
        if self.taken()? < self.last + Self::MUCH {
            return Ok(());
        }
        // A script in its place is stopped without the mkfs that it has started, and that one would go on writing.
        let program = std::fs::read_link(format!("/proc/{mkfs}/exe")).unwrap_or_default();
        if program.file_name().is_none_or(|name| name != "mkfs.xfs") {
            return Ok(());
        }
        let stopping = "stopping mkfs for a moment";
        kill(mkfs, Signal::SIGSTOP).context(stopping)?;
        // WNOWAIT: that it has ended is for the caller to see.
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let stopped = matches!(waitid(Id::Pid(mkfs), flags).context(stopping)?, WaitStatus::Stopped(..));
        let punched = if stopped {
            waitid(Id::Pid(mkfs), WaitPidFlag::WSTOPPED).context(stopping)?;
            layout::punch_zeros(self.scratch)
        } else {
            Ok(())
        };
        kill(mkfs, Signal::SIGCONT).context("letting mkfs go on")?;
        punched?;
        self.last = self.taken()?;
        Ok(())
    }

    fn taken(&self) -> Result<u64> {
        Ok(self.scratch.metadata().context("looking at the file in memory")?.blocks() * 512)
    }
}

/// What mkfs finds out about a disk by itself and cannot about a file, as options; those of the config come
/// after them and win.
fn as_on_the_disk(disk: &DeviceFacts, filesystem: &Filesystem) -> Vec<String> {
    let own = |option: &str| filesystem.mkfs_options.iter().any(|said| said.starts_with(option));
    let mut options = Vec::new();
    // A RAID below says in what pieces it likes to be written (`queue/minimum_io_size`, `optimal_io_size`).
    let (piece, stripe) = (disk.minimum_io, disk.optimal_io);
    let striped = piece > disk.physical_sector && stripe >= piece && stripe.is_multiple_of(piece);
    match filesystem.kind {
        FsType::Xfs => {
            if disk.physical_sector > 512 && !own("-s") {
                options.extend(["-s".to_owned(), format!("size={}", disk.physical_sector)]);
            }
            if striped && !own("-d") {
                options.extend(["-d".to_owned(), format!("su={piece},sw={}", stripe / piece)]);
            }
        }
        FsType::Ext4 if !own("-E") => {
            let mut extended = Vec::new();
            // A file that gives zeros back has mke2fs say that the inode tables are zero. Where that is not sure the
            // kernel makes them so after the mount, as it does by default.
            if !(plan::is_made_of_zeros(disk) || probe::is_read_whole(disk.size)) {
                extended.push("nodiscard,lazy_itable_init=1,lazy_journal_init=1".to_owned());
            }
            if striped && !own("-b") && piece.is_multiple_of(4096) {
                // In blocks of 4 KiB, which it makes on a disk of this size.
                extended.push(format!("stride={},stripe_width={}", piece / 4096, stripe / 4096));
            }
            if !extended.is_empty() {
                options.extend(["-E".to_owned(), extended.join(",")]);
            }
        }
        FsType::Ext4 | FsType::Btrfs => {}
    }
    options
}

/// Running out of memory in the middle would kill somebody: the service that was to be started, most likely.
fn enough_memory(disk: Bytes, kind: FsType) -> Result<()> {
    let needed = match kind {
        // Its group descriptors and bitmaps: measured 5 MiB of 100 GiB, 232 MiB of 16 TiB.
        FsType::Ext4 => Bytes(disk.0 / (64 << 10) + (8 << 20)),
        // On a busy machine mkfs writes on for a while before it is stopped: measured 60 MiB at a load of 20.
        FsType::Xfs => Bytes(Memory::MUCH + (64 << 20)),
        FsType::Btrfs => Bytes::mib(8),
    };
    let table = std::fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let available = table
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().split(' ').next()?.parse::<u64>().ok());
    match available.map(|kib| Bytes(kib * 1024)) {
        Some(available) if available < needed => bail!(
            "making this {kind} takes {needed} of memory and {available} is available: nothing was written; \
             run volinit before what needs the memory, or once on a larger machine"
        ),
        _ => Ok(()),
    }
}
