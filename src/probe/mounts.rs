//! The mount table and the swap table, parsed. Reads /proc; changes nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::libc::dev_t;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::makedev;

use crate::locate::number_of;

/// One line of /proc/self/mountinfo (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The device's number; Btrfs shows one of its own making here.
    pub number: dev_t,
    /// The folder of the filesystem that is shown: `/` but for bind mounts and subvolumes.
    pub root: PathBuf,
    /// Where it is mounted.
    pub at: PathBuf,
    /// The filesystem's type.
    pub fstype: String,
    /// What was given as its source.
    pub source: PathBuf,
}

impl Mounted {
    /// Whether this is a mount of the block device with this number.
    pub fn is_of(&self, number: dev_t) -> bool {
        self.number == number || (self.fstype == "btrfs" && number_of(&self.source) == Some(number))
    }

    /// Whether it comes from an NFS server, and waits for as long as that does not answer.
    pub fn is_nfs(&self) -> bool {
        matches!(self.fstype.as_str(), "nfs" | "nfs4")
    }

    /// Whether this is a mount of the whole export. The kernel leaves a `/` out at its end (`nfs_path` in
    /// fs/nfs/namespace.c), as the comparison of paths does.
    pub fn is_export(&self, export: &str) -> bool {
        self.is_nfs() && self.source == Path::new(export)
    }
}

/// All mounts that this process sees, in the order they were made.
pub fn mounts() -> Result<Vec<Mounted>> {
    Ok(MountTable::read()?.mounts)
}

/// The mounts as they were read last. It stays open, by which the kernel tells when they change (proc(5)): what makes a
/// look at them dear is the line that the kernel writes for each.
#[derive(Debug)]
pub struct MountTable {
    file: File,
    mounts: Vec<Mounted>,
}

impl MountTable {
    const PATH: &str = "/proc/self/mountinfo";

    /// Reads it.
    pub fn read() -> Result<MountTable> {
        let read = || -> io::Result<MountTable> {
            let file = File::open(Self::PATH)?;
            Ok(MountTable { mounts: parse(&whole(&file)?), file })
        };
        read().with_context(|| format!("reading {}", Self::PATH))
    }

    /// All mounts that this process sees now, in the order they were made.
    pub fn now(&mut self) -> Result<&[Mounted]> {
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLPRI)];
        if poll(&mut asked, PollTimeout::ZERO) != Ok(0) {
            *self = MountTable::read()?;
        }
        Ok(&self.mounts)
    }

    /// Those that were there when it was read.
    pub fn then(&self) -> &[Mounted] {
        &self.mounts
    }
}

/// A table of /proc.
fn table(path: &str) -> io::Result<Vec<u8>> {
    whole(&File::open(path)?)
}

/// It has no size there, so that `read_to_end` would begin with 32 bytes.
fn whole(mut file: &File) -> io::Result<Vec<u8>> {
    let mut table = Vec::with_capacity(8192);
    file.read_to_end(&mut table)?;
    Ok(table)
}

/// Whether a mount that is made here stays here, because systemd has put this process into a mount namespace of the
/// unit's own (`ProtectSystem=`, `PrivateTmp=` …). A person who does that with unshare(1) means it.
pub fn are_hidden_from_host() -> bool {
    if std::env::var_os("INVOCATION_ID").is_none() {
        return false;
    }
    // A mount's number is its own among all namespaces, so that two tables of one namespace have some in common.
    // /proc/1/ns/mnt would tell too, but only a process with all the capabilities of process 1 may read it.
    let numbers = |process: &str| -> BTreeSet<Vec<u8>> {
        let table = table(&format!("/proc/{process}/mountinfo")).unwrap_or_default();
        let lines = table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| Some(line.split(|byte| *byte == b' ').next()?.to_vec())).collect()
    };
    let (host, own) = (numbers("1"), numbers("self"));
    // What could not be read is held against nobody.
    !host.is_empty() && !own.is_empty() && host.is_disjoint(&own)
}

/// `path` as mountinfo has it. The folder itself is not touched: what is mounted there may wait for a server.
pub fn real(path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    parent.zip(path.file_name()).map_or_else(|| path.to_owned(), |(parent, name)| parent.join(name))
}

/// The mount that a path shows: the last one made there.
pub fn at<'a>(mounts: &'a [Mounted], path: &Path) -> Option<&'a Mounted> {
    mounts.iter().rev().find(|mounted| mounted.at == path)
}

/// The numbers of the block devices that are swap space.
pub fn swaps() -> Vec<dev_t> {
    let table = table("/proc/swaps").unwrap_or_default();
    let lines = table.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split(u8::is_ascii_whitespace).next())
        .filter_map(|name| number_of(&unescape(name)))
        .collect()
}

/// The table's lines; what is no line of it is passed over.
pub fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mounted> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mut fields = line.split(|byte| *byte == b' ');
    let number = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = number.split_once(':')?;
    let root = unescape(fields.next()?);
    let at = unescape(fields.next()?);
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let fstype = String::from_utf8_lossy(rest.next()?).into_owned();
    let source = unescape(rest.next()?);
    Some(Mounted { number: makedev(major.parse().ok()?, minor.parse().ok()?), root, at, fstype, source })
}

/// Undoes the kernel's `\040` for a space, a tab, a line feed and a backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\').then(|| tail.get(..3)).flatten();
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_understood_whole() {
        let table = b"36 35 98:0 / /mnt\\040two rw,noatime master:1 shared:2 - ext4 /dev/lo\\134op rw\n22 1 0:20 / /proc rw - proc proc rw\n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 2);
        let mounted = &mounts[0];
        assert_eq!(mounted.number, makedev(98, 0));
        assert_eq!(mounted.at, Path::new("/mnt two"));
        assert_eq!((mounted.fstype.as_str(), mounted.source.as_path()), ("ext4", Path::new("/dev/lo\\op")));
        assert_eq!(at(&mounts, Path::new("/proc")), Some(&mounts[1]));
        assert_eq!(at(&mounts, Path::new("/mnt")), None);
    }

    #[test]
    fn the_table_is_read_again_when_a_mount_comes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mut table = MountTable::read().unwrap();
        assert_eq!(at(table.now().unwrap(), &path), None);
        let options = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("none"), &path, Some("tmpfs"), options, None::<&str>).unwrap();
        assert_eq!(at(table.then(), &path), None);
        assert_eq!(at(table.now().unwrap(), &path).map(|mounted| mounted.fstype.as_str()), Some("tmpfs"));
        nix::mount::umount(&path).unwrap();
        assert_eq!(at(table.now().unwrap(), &path), None);
    }

    #[test]
    fn an_export_is_known_by_its_source() {
        let source = |fstype: &str, source: &str| {
            let line = format!("36 35 0:52 / /mnt/data rw - {fstype} {source} rw,vers=3");
            parse(line.as_bytes()).remove(0)
        };
        for (shown, export) in [("h:/a", "h:/a"), ("h:/a", "h:/a/"), ("[fe80::1]:/a", "[fe80::1]:/a"), ("h:/", "h:/")] {
            assert!(source("nfs", shown).is_export(export) && source("nfs4", shown).is_export(export), "{shown}");
        }
        for (fstype, shown) in [("nfs", "h:/a/b"), ("nfs", "i:/a"), ("nfsd", "h:/a"), ("ext4", "h:/a")] {
            assert!(!source(fstype, shown).is_export("h:/a"), "{fstype} {shown}");
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert_eq!(parse(b"\n1 2\n1 2 x:y / / - \n\xff\xff"), []);
    }
}
