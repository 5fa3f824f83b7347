//! Power cuts in a virtual machine: a disk is formatted, filled, enlarged and grown, and again and again the power
//! goes in a write or a flush chosen by chance. The next boot's `volinit up` has to succeed without help, and each
//! file that the guest had synced has to be there, byte for byte; at the end the filesystem's own checker agrees.
//!
//! `make test-powercut`; `POWERCUTS` is how many at least (20), `POWERCUT_FS` leaves only one filesystem,
//! `POWERCUT_SEED` repeats a run's choices; what the machines do between them is timing, and not repeated. So the
//! disk of what went wrong is kept, and its folder named: `.cut` as the cut left it, and as the next boot left it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[allow(dead_code, reason = "each test file uses its part")]
mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use vm::{Chance, Event, Vm};

const MIB: u64 = 1 << 20;

/// Cuts in the story of one disk.
const CUTS: u64 = 5;

/// A disk, and what is owed to who wrote to it.
struct Story<'a> {
    kind: &'static str,
    initramfs: &'a Path,
    image: PathBuf,
    chance: Chance,
    /// Files that were synced, and the sums of their content.
    synced: BTreeMap<String, String>,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    cuts: BTreeMap<(&'static str, &'static str), u32>,
    boots: u32,
    until_volinit: Duration,
    /// Boots in which `up` came to its end before the power went again.
    up: u32,
    /// Files found intact after a cut, summed over the boots.
    intact: usize,
    grown: u32,
}

#[test]
fn power_cuts() {
    let started = Instant::now();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let cuts = number("POWERCUTS").unwrap_or(20);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("POWERCUT_SEED").unwrap_or(now.as_secs());
    println!("POWERCUTS={cuts} POWERCUT_SEED={seed}");
    let mut folder = tempfile::Builder::new().prefix("powercut-").tempdir().unwrap();
    let initramfs = vm::initramfs(folder.path());

    let mut kinds = vec!["ext4", "xfs", "btrfs"];
    if let Ok(only) = std::env::var("POWERCUT_FS") {
        kinds.retain(|kind| *kind == only);
        assert_eq!(kinds, [only], "POWERCUT_FS");
    }
    let stories = cuts.div_ceil(CUTS * kinds.len() as u64);
    let ended: Vec<thread::Result<Seen>> = thread::scope(|scope| {
        let start = |kind: &&'static str| {
            let (image, initramfs) = (folder.path().join(kind), &initramfs);
            let chance = Chance(seed.wrapping_add(kind.len() as u64));
            let mut story = Story { kind, initramfs, image, chance, synced: BTreeMap::new(), seen: Seen::default() };
            scope.spawn(move || {
                (0..stories).for_each(|_| story.tell());
                story.seen
            })
        };
        // All are started before the first is waited for.
        let threads: Vec<_> = kinds.iter().map(start).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let failed = ended.iter().any(Result::is_err);
    folder.disable_cleanup(failed);
    let told: Vec<_> = kinds.into_iter().zip(ended).filter_map(|(kind, seen)| Some((kind, seen.ok()?))).collect();
    print(&told);
    println!("({} s)", started.elapsed().as_secs());
    assert!(!failed, "the disks and consoles are in {}", folder.path().display());
}

/// What was seen of the filesystems that nothing went wrong with.
fn print(seen: &[(&str, Seen)]) {
    let rows: BTreeSet<_> = seen.iter().flat_map(|(_, seen)| seen.cuts.keys()).collect();
    print!("\n{:<8}{:<34}", "the run", "the cut left");
    for (kind, _) in seen {
        print!("{kind:>7}");
    }
    println!();
    for row in rows {
        print!("{:<8}{:<34}", row.0, row.1);
        for (_, seen) in seen {
            print!("{:>7}", seen.cuts.get(row).unwrap_or(&0));
        }
        println!();
    }
    let sum = |of: fn(&Seen) -> u32| seen.iter().map(|(_, seen)| of(seen)).sum::<u32>();
    let (boots, cuts) = (sum(|seen| seen.boots), sum(|seen| seen.cuts.values().sum()));
    let files: usize = seen.iter().map(|(_, seen)| seen.intact).sum();
    let wait = seen.iter().map(|(_, seen)| seen.until_volinit).sum::<Duration>() / boots.max(1);
    println!("{cuts} cuts in {boots} boots of {:.1} s until `up` begins;", wait.as_secs_f32());
    println!("{} times it ended before the next cut, each time with success and without help;", sum(|seen| seen.up));
    println!(
        "{files} times a synced file was looked for, and was whole; {} disks grown and clean",
        sum(|seen| seen.grown)
    );
}

impl Story<'_> {
    /// One disk, five cuts, six boots.
    fn tell(&mut self) {
        self.synced.clear();
        let (small, large) = (384 * MIB, 640 * MIB);
        let _ = fs::remove_file(&self.image);
        File::create(&self.image).unwrap().set_len(small).unwrap();
        self.cut("format");
        self.cut("format");
        self.cut("files");
        File::options().write(true).open(&self.image).unwrap().set_len(large).unwrap();
        self.cut("grow");
        self.cut("grow");
        let bytes = self.boot("end", None, |_| ());
        assert!(bytes > large * 85 / 100, "{}: {bytes} bytes of {large} after growing", self.kind);
        self.check();
        self.seen.grown += 1;
    }

    /// A boot that the power is cut in, at some step of what it has to do.
    fn cut(&mut self, what: &'static str) {
        // A little more than the writes and flushes that it takes, so that what comes after has its share.
        let about = match (what, self.kind) {
            ("format", "ext4") => 32,
            ("format", "xfs") => 20,
            ("format", _) => 80,
            ("grow", _) => 60,
            _ => 300,
        };
        let at = if what == "files" { 60 } else { 1 } + self.chance.below(about);
        let (size, mut is_up) = (self.size(), false);
        self.boot("write", Some(at), |line| is_up |= line.starts_with("up 0"));
        let left = match (what, self.size()) {
            (_, _) if is_up => "files being written",
            ("grow", now) if now == size => "a superblock of the old size",
            ("grow", _) => "a superblock of the new size",
            (_, 0) if self.is_blank() => "a blank disk",
            (_, 0) => "a half-made filesystem",
            (_, _) => "a filesystem, not in use",
        };
        *self.seen.cuts.entry((what, left)).or_default() += 1;
    }

    /// Boots, compares what is there with what was synced, and goes on until the cut or the end. Gives the size
    /// of the filesystem as statfs has it.
    fn boot(&mut self, job: &str, cut_at: Option<u64>, mut hear: impl FnMut(&str)) -> u64 {
        let words = format!("fs={} job={job}", self.kind);
        let before = self.image.with_extension("cut");
        tool(&["cp", "--sparse=always", self.image.to_str().unwrap(), before.to_str().unwrap()]);
        let chance = Chance(self.chance.next());
        // Every other boot is one before NTP, where there is no clock: what is on the disk is of later than now.
        let clock = if self.seen.boots % 2 == 1 { "base=1970-01-01T00:00:01" } else { "base=utc" };
        let mut vm = Vm::boot(self.initramfs, &self.image, &words, clock, cut_at, chance);
        let (mut has, mut size, mut end) = (BTreeMap::new(), 0, false);
        let mut cut = false;
        loop {
            let line = match vm.next() {
                Event::Said(line) => line,
                // A line of before that is still on its way is a promise that is not looked at, never one too many.
                Event::Cut => {
                    cut = true;
                    break;
                }
                Event::Gone => break,
            };
            hear(&line);
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["volinit", year] => {
                    assert_eq!(year == "1970", clock.starts_with("base=1970"), "{year}");
                    self.seen.boots += 1;
                    self.seen.until_volinit += vm.age();
                }
                ["up", code, ..] => {
                    assert_eq!(code, "0", "{}: {line}\n{}", self.kind, vm.console());
                    self.seen.up += 1;
                }
                ["blocks", blocks, "of", block] => {
                    size = blocks.parse::<u64>().unwrap() * block.parse::<u64>().unwrap();
                }
                ["has", file, sum, "-"] => drop(has.insert(file.to_owned(), sum.to_owned())),
                ["checked"] => {
                    for (file, sum) in &self.synced {
                        assert_eq!(has.get(file), Some(sum), "{}: file {file}\n{}", self.kind, vm.console());
                    }
                    self.seen.intact += self.synced.len();
                }
                ["synced", file, sum, "-"] => drop(self.synced.insert(file.to_owned(), sum.to_owned())),
                ["end"] => end = true,
                _ => panic!("{}: {line}\n{}", self.kind, vm.console()),
            }
        }
        let steps = vm.kill();
        assert!(if cut_at.is_some() { cut } else { end }, "{}, {steps} steps: {}", self.kind, vm.console());
        size
    }

    /// What the superblock says of the filesystem's size, 0 where there is none.
    fn size(&self) -> u64 {
        let mut head = vec![0; 66 << 10];
        File::open(&self.image).unwrap().read_exact_at(&mut head, 0).unwrap();
        let (magic, magic_at, size_at): (&[u8], _, _) = match self.kind {
            "ext4" => (b"\x53\xef", 1080, 1028..1032),
            "xfs" => (b"XFSB", 0, 8..16),
            _ => (b"_BHRfS_M", 65600, 65648..65656),
        };
        let whole = head[magic_at..].starts_with(magic);
        head[size_at].iter().fold(0, |sum: u64, byte| sum.wrapping_mul(257) + u64::from(*byte)) * u64::from(whole)
    }

    fn is_blank(&self) -> bool {
        fs::read(&self.image).unwrap().iter().all(|byte| *byte == 0)
    }

    /// The filesystem's own checker, changing nothing.
    fn check(&self) {
        let argv: &[&str] = match self.kind {
            "ext4" => &["e2fsck", "-fn"],
            "xfs" => &["xfs_repair", "-n", "-f"],
            _ => &["btrfs", "check", "--readonly"],
        };
        tool(&[argv, &[self.image.to_str().unwrap()]].concat());
    }
}

/// Runs a tool that has to be there and to succeed.
fn tool(argv: &[&str]) {
    let output = Command::new(argv[0]).args(&argv[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs {}: {error} (`make deps`)", argv[0]));
    assert!(output.status.success(), "{argv:?}: {output:?}");
}
