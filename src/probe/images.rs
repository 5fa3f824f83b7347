//! Disks for the tests of the probe: sparse files that the real tools write to. Tests only.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A file that stands for a disk; gone when dropped.
pub struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    /// A blank one of that size.
    pub fn blank(size: u64) -> Image {
        let image = Image { folder: tempfile::tempdir().unwrap() };
        File::create(image.path()).unwrap().set_len(size).unwrap();
        image
    }

    /// One that a tool has written to: `tool` is its command line, to which the path is added, or put for `@`.
    pub fn made(size: u64, tool: &str) -> Image {
        let image = Image::blank(size);
        image.run(tool);
        image
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    pub fn open(&self) -> File {
        File::options().read(true).write(true).open(self.path()).unwrap()
    }

    /// Runs a tool on it; answers its prompts with `pass`. A tool that is missing or fails fails the test.
    pub fn run(&self, tool: &str) {
        let path = self.path().into_os_string().into_string().unwrap();
        let mut words: Vec<&str> = tool.split_whitespace().map(|word| if word == "@" { &path } else { word }).collect();
        if !tool.contains('@') {
            words.push(&path);
        }
        let search = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let command = Command::new(words[0])
            .args(&words[1..])
            .env("PATH", search)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match command {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!(
                    "this test needs {}: install e2fsprogs xfsprogs btrfs-progs dosfstools gdisk cryptsetup lvm2",
                    words[0]
                )
            }
            Err(error) => panic!("running {words:?}: {error}"),
        };
        // A tool that asks for nothing may have closed it.
        let _ = child.stdin.take().unwrap().write_all(b"pass\n");
        let output = child.wait_with_output().unwrap();
        // fsck(8): 1 is "errors corrected"; `btrfs rescue super-recover` says 2.
        let mended = matches!((words[0], output.status.code()), ("e2fsck", Some(1)) | ("btrfs", Some(2)));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || mended, "{words:?}: {}: {told}", output.status);
    }

    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.open().write_all_at(bytes, at).unwrap();
    }

    pub fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.open().read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    /// Turns one bit of the byte at `at`.
    pub fn flip(&self, at: u64) {
        let byte = self.read(at, 1)[0];
        self.write(at, &[byte ^ 0x10]);
    }
}
