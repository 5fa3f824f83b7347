//! One row of the gauntlet: how a disk is made, and what volinit has to say of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::rig::{self, MIB, Rig, tool};
use crate::stray;

/// Every disk's size: above the 300 MiB that mkfs.xfs insists on, and sparse.
pub const SIZE: u64 = 384 * MIB;

/// How much of a disk's head or tail is kept where only that survived.
const EDGE: u64 = MIB;

pub const FILESYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// What no signature tells and no reader recognises.
pub const BYTES: &str = "is not blank: there is no signature on it, but there is data at byte ";

/// A file that has to be there still when volinit mounts the filesystem that it is in.
pub const PRECIOUS: &str = "precious";

/// How a disk is made: steps in their order, on a disk of zeros.
enum Step {
    /// A line for sh: `$DISK` is the loop device, `$IMAGE` the file below it, `$DIR` an empty folder, `$FILES` one with files in it.
    Run(String),
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// Zeros from one offset to another.
    Zero(u64, u64),
    /// One bit of the byte there turned.
    Flip(u64),
    /// The rest is cut off.
    Cut(u64),
}

/// Which part of what was made is on the disk that is offered; the rest of it is zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    Head,
    Tail,
}

/// What becomes of an offer as one of [`FILESYSTEMS`].
#[derive(Clone)]
pub enum Verdict {
    /// Refused with these words; not a byte of it is changed.
    Refused(String),
    /// It is a whole filesystem of the type that is asked for: mounted, with its file in it.
    Kept,
    /// It says that it is such a filesystem, and the kernel does not mount it. Exit 1 is right: volinit does not
    /// know that anything is wrong with it until mount(2) says so, and does nothing about it.
    NotMounted,
    /// Not offered so: what this kernel makes of it is not volinit's matter.
    Skipped,
}

/// The type that it is itself, and what becomes of that offer.
type Own = (&'static str, Verdict);

/// One disk that is offered.
pub struct Disk {
    pub name: String,
    pub file: PathBuf,
    words: String,
    own: Option<Own>,
}

impl Disk {
    pub fn verdict(&self, kind: &str) -> Verdict {
        match &self.own {
            Some((own, verdict)) if *own == kind => verdict.clone(),
            _ => Verdict::Refused(self.words.clone()),
        }
    }
}

/// A row: what is made, and the parts of it that are offered, each with its verdict.
pub struct Case {
    name: String,
    steps: Vec<Step>,
    parts: Vec<(Part, String, Option<Own>)>,
}

/// A disk of that name, with the steps and the words to come.
pub fn disk(name: impl Into<String>) -> Case {
    Case { name: name.into(), steps: Vec::new(), parts: Vec::new() }
}

impl Case {
    pub fn run(self, line: impl Into<String>) -> Case {
        self.step(Step::Run(line.into()))
    }

    pub fn write(self, at: u64, bytes: impl AsRef<[u8]>) -> Case {
        self.step(Step::Write(at, bytes.as_ref().to_vec()))
    }

    pub fn zero(self, from: u64, to: u64) -> Case {
        self.step(Step::Zero(from, to))
    }

    pub fn flip(self, at: u64) -> Case {
        self.step(Step::Flip(at))
    }

    pub fn cut(self, size: u64) -> Case {
        self.step(Step::Cut(size))
    }

    /// Offered as it is: refused with these words.
    pub fn says(self, words: impl Into<String>) -> Case {
        self.part(Part::Whole, words.into(), None)
    }

    /// Its head alone is offered too.
    pub fn head(self, words: &str) -> Case {
        self.part(Part::Head, words.into(), None)
    }

    /// Its tail alone is offered too.
    pub fn tail(self, words: &str) -> Case {
        self.part(Part::Tail, words.into(), None)
    }

    /// The part named last, offered as the filesystem `kind`.
    pub fn but_as(mut self, kind: &'static str, verdict: Verdict) -> Case {
        self.parts.last_mut().expect("a verdict before its exception").2 = Some((kind, verdict));
        self
    }

    fn step(mut self, step: Step) -> Case {
        self.steps.push(step);
        self
    }

    fn part(mut self, part: Part, words: String, own: Option<Own>) -> Case {
        self.parts.push((part, words, own));
        self
    }

    /// The names of the disks that it makes.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.parts.iter().map(|(part, ..)| match part {
            Part::Whole => self.name.clone(),
            Part::Head => format!("{}-head", self.name),
            Part::Tail => format!("{}-tail", self.name),
        })
    }

    /// Makes it, once; gives a file for each part, not attached.
    pub fn make(&self, rig: &mut Rig) -> Vec<Disk> {
        let made = rig.file("made", SIZE);
        for step in &self.steps {
            self.take(rig, &made, step);
        }
        let disks = self.names().zip(&self.parts).map(|(name, (part, words, own))| {
            let file = match part {
                Part::Whole => made.clone(),
                Part::Head => edge(rig, &made, &name, 0),
                Part::Tail => edge(rig, &made, &name, SIZE - EDGE),
            };
            Disk { name, file, words: words.clone(), own: own.clone() }
        });
        disks.collect()
    }

    fn take(&self, rig: &mut Rig, file: &Path, step: &Step) {
        let open = || File::options().read(true).write(true).open(file).unwrap();
        match step {
            Step::Run(line) => run(rig, file, line, &self.name),
            Step::Write(at, bytes) => open().write_all_at(bytes, *at).unwrap(),
            // A hole reads as zeros and takes no time.
            Step::Zero(from, to) => {
                let (from, length) = (from.to_string(), (to - from).to_string());
                let argv = ["fallocate", "--punch-hole", "--offset", &from, "--length", &length];
                tool(argv.iter().map(AsRef::as_ref).chain([file.as_os_str()]));
            }
            Step::Flip(at) => {
                let mut byte = [0];
                open().read_exact_at(&mut byte, *at).unwrap();
                open().write_all_at(&[byte[0] ^ 0x10], *at).unwrap();
            }
            Step::Cut(size) => open().set_len(*size).unwrap(),
        }
    }
}

/// Runs the line with the file as a disk, which is detached before anything else looks at it: so what the
/// kernel cached of it is gone, and the next step may be on the file.
fn run(rig: &mut Rig, file: &Path, line: &str, name: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, files) = (scratch.path().join("empty"), scratch.path().join("files"));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&files).unwrap();
    fs::write(files.join("PG_VERSION"), "15\n").unwrap();
    fs::write(files.join("base"), stray::noise(6, 3 * MIB)).unwrap();
    let disk = rig.attach(file);
    let [device, image, folder, files] =
        [&disk.device, file, &folder, &files].map(|path: &Path| path.to_str().unwrap());
    // `: NAME` is for the message of a line that fails. HOME: hformat keeps a file there.
    let line = format!(
        ": {name}; export DISK={device} IMAGE={image} DIR={folder} FILES={files} HOME={folder}\n{line}\nsync $DISK"
    );
    tool(["sh", "-euc", &line]);
    detach(&disk);
}

/// Detaches it, and waits until it is: the kernel puts it off while another program (a scan of all disks) has it
/// open, and what it still has in its cache would come to the file later.
pub fn detach(disk: &rig::Disk) {
    tool(["losetup", "--detach", disk.name()]);
    let backing = Path::new("/sys/block").join(disk.device.file_name().unwrap()).join("loop/backing_file");
    let ours = |path: &Path| fs::read_to_string(path).is_ok_and(|file| Path::new(file.trim()) == disk.file);
    for _ in 0..1000 {
        if !ours(&backing) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{} was not detached in 10 s: another program has it open", disk.name());
}

/// A disk of zeros but for that MiB of `made`.
fn edge(rig: &Rig, made: &Path, name: &str, at: u64) -> PathBuf {
    let mut bytes = vec![0; usize::try_from(EDGE).unwrap()];
    File::open(made).unwrap().read_exact_at(&mut bytes, at).unwrap();
    assert!(bytes.iter().any(|byte| *byte != 0), "{name}: that part of it is zeros, so it proves nothing");
    let file = rig.file(name, SIZE);
    File::options().write(true).open(&file).unwrap().write_all_at(&bytes, at).unwrap();
    assert_ne!(
        rig::fingerprint(&file),
        rig::fingerprint(made),
        "{name}: that part is all of it, so it is no other disk"
    );
    file
}
