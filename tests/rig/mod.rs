//! A machine for a test: a root of its own, loop devices over files of its own, and the binary that ships.
//! All of it is unmounted, detached and removed at the end, however the test ends.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unused_self, reason = "what belongs to a machine is asked of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::umount;
use nix::unistd::{Whence, lseek};
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;

/// The binary that ships: static, as `cargo build` makes it.
pub const VOLINIT: &str = env!("CARGO_BIN_EXE_volinit");

pub struct Rig {
    folder: TempDir,
    loops: Vec<Disk>,
}

/// What a run of volinit gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Rig {
    pub fn new() -> Rig {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root: it makes loop devices and mounts");
        let rig = Rig { folder: tempfile::tempdir().unwrap(), loops: Vec::new() };
        for folder in ["root/etc", "root/run", "root/var"] {
            fs::create_dir_all(rig.folder.path().join(folder)).unwrap();
        }
        rig
    }

    /// The folder that stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A path of the machine's, as the test opens it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// Writes the config where `up` looks for it.
    pub fn config(&self, yaml: &str) {
        self.write("/etc/volinit/volinit.yaml", yaml);
    }

    /// A sparse file, not attached.
    pub fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.folder.path().join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A disk of zeros.
    pub fn disk(&mut self, size: u64) -> Disk {
        let file = self.file(&format!("disk{}", self.loops.len()), size);
        self.attach(&file)
    }

    /// A disk over this file.
    pub fn attach(&mut self, file: &Path) -> Disk {
        self.losetup(file, &[])
    }

    pub fn losetup(&mut self, file: &Path, options: &[&str]) -> Disk {
        let words = ["losetup", "--find", "--show"].iter().chain(options).map(OsStr::new);
        let shown = tool(words.chain([file.as_os_str()]));
        let disk = Disk { device: PathBuf::from(shown.trim()), file: file.to_owned() };
        self.loops.push(disk.clone());
        disk
    }

    /// A folder under /dev, where the config takes devices from.
    pub fn links(&self) -> TempDir {
        tempfile::Builder::new().prefix("volinit-test-").tempdir_in("/dev").unwrap()
    }

    /// Runs volinit under the root.
    pub fn volinit(&self, arguments: &[&str]) -> Ran {
        self.run(self.command().args(arguments))
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(VOLINIT);
        command.arg("--root").arg(self.root());
        command
    }

    pub fn run(&self, command: &mut Command) -> Ran {
        // What the test's own surroundings say to systemd's children must not reach it.
        for name in ["JOURNAL_STREAM", "NOTIFY_SOCKET", "INVOCATION_ID", "RUST_LOG"] {
            command.env_remove(name);
        }
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.root().to_str().unwrap(), "ROOT");
        Ran { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// The mount at a path of the machine's: source, type and options.
    pub fn mount_at(&self, path: &str) -> Option<(String, String, String)> {
        let at = self.path(path).canonicalize().ok()?;
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        table.lines().rev().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (Path::new(fields[1]) == at).then(|| (fields[0].into(), fields[2].into(), fields[3].into()))
        })
    }

    /// Another thread of the test that starts a program holds, until its exec, what is open in this one: EBUSY.
    pub fn unmount(&self, path: &str) {
        let at = self.path(path);
        for _ in 0..1000 {
            match umount(&at) {
                Err(Errno::EBUSY) => thread::sleep(Duration::from_millis(10)),
                other => return other.unwrap_or_else(|error| panic!("unmounting {}: {error}", at.display())),
            }
        }
        panic!("{} stays busy", at.display());
    }

    /// Puts a stand-in for a tool where volinit looks first, in the run's own namespace.
    pub fn stand_in(&self, name: &str, script: &str) -> String {
        let folder = self.path("/stand-ins");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        tool(["chmod", "755", path.to_str().unwrap()]);
        format!("mount --bind {} /usr/local/sbin", folder.display())
    }

    /// Every file under the root with what tells whether it was touched; what is mounted there is left out.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)> {
        let root = self.root();
        let device = fs::metadata(&root).unwrap().dev();
        let mut files = BTreeMap::new();
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() && meta.dev() == device {
                    folders.push(path.clone());
                }
                let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                files.insert(path, (meta.ino(), meta.mtime(), meta.mtime_nsec(), content));
            }
        }
        files
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let root = self.folder.path().to_str().unwrap().to_owned();
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let below = table.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&root));
        let mut below: Vec<&str> = below.collect();
        below.reverse();
        for at in below {
            let _ = Command::new("umount").arg(at).status();
        }
        for disk in &self.loops {
            disk.detach();
        }
        // Images that volinit attached by itself lie in the folder too.
        let list = Command::new("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]).output();
        let list = String::from_utf8(list.unwrap().stdout).unwrap();
        for line in list.lines().filter(|line| line.contains(&root)) {
            let _ = Command::new("losetup").arg("--detach").arg(line.split_whitespace().next().unwrap()).status();
        }
    }
}

/// A loop device over a file.
#[derive(Clone, Debug)]
pub struct Disk {
    pub device: PathBuf,
    pub file: PathBuf,
}

impl Disk {
    /// Detaches it, if it still is this file's: a free number is soon another test's.
    fn detach(&self) {
        let sysfs = Path::new("/sys/block").join(self.device.file_name().unwrap()).join("loop/backing_file");
        if fs::read_to_string(sysfs).is_ok_and(|file| Path::new(file.trim_end()) == self.file) {
            let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
        }
    }

    pub fn name(&self) -> &str {
        self.device.to_str().unwrap()
    }

    /// Makes it larger, as `ModifyVolume` does.
    pub fn grow(&self, size: u64) {
        File::options().write(true).open(&self.file).unwrap().set_len(size).unwrap();
        tool(["losetup", "--set-capacity", self.name()]);
    }

    pub fn write_at(&self, offset: u64, bytes: &[u8]) {
        let device = File::options().write(true).open(&self.device).unwrap();
        device.write_all_at(bytes, offset).unwrap();
        device.sync_all().unwrap();
    }

    pub fn read_at(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        File::open(&self.device).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    /// A number that any changed byte changes. Zeros count the same whether they are stored or not.
    pub fn fingerprint(&self) -> u64 {
        tool(["sync", "--file-system", self.file.to_str().unwrap()]);
        fingerprint(&self.file)
    }
}

/// A number that any changed byte of a file changes; holes are passed over and count as zeros.
pub fn fingerprint(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(size);
    let mut at = 0i64;
    let mut block = vec![0; 1 << 16];
    while let Ok(data) = lseek(&file, at, Whence::SeekData) {
        let end = lseek(&file, data, Whence::SeekHole).unwrap();
        let mut offset = data.cast_unsigned();
        while offset < end.cast_unsigned() {
            let length = file.read_at(&mut block, offset).unwrap();
            for (index, page) in block[..length].chunks(512).enumerate() {
                if page.iter().any(|byte| *byte != 0) {
                    hasher.write_u64(offset + 512 * index as u64);
                    hasher.write(page);
                }
            }
            offset += length as u64;
        }
        at = end;
    }
    hasher.finish()
}

/// Runs a tool that has to be there and to succeed; gives what it printed.
pub fn tool<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> String {
    let argv: Vec<_> = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("this test needs {}: {error} (`make deps` installs all)", argv[0].display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{argv:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
