//! A disk as a power cut left it, built from what was recorded, and what the next `up` makes of it.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_EXCL;
use nix::mount::{MntFlags, umount2};
use nix::unistd::{Whence, lseek};

use crate::recorder::Event;
use crate::rig::{Disk, Ran, Rig, fingerprint};

pub const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// Numbers that look like chance and are the same in each run (`xorshift64*`).
pub struct Chance(u64);

impl Chance {
    pub fn new(salt: u64) -> Chance {
        let seed: u64 = std::env::var("FAULTS_SEED").map_or(1, |seed| seed.parse().expect("FAULTS_SEED is a number"));
        Chance((seed << 32 | salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// A recording, and the disk it began with.
pub struct Story<'a> {
    pub base: &'a Path,
    pub events: &'a [Event],
    /// The logical sector size of the disk, in bytes.
    pub sector: usize,
    /// How many of the events are volinit's own. It asks of a disk that a sector is written whole or not at all;
    /// ext4 asks that of the 4 KiB that its superblock lies in, so the kernel's and the tools' writes are torn
    /// between such blocks only.
    pub ours: usize,
}

impl Story<'_> {
    /// The numbers of events after which there may be a cut: 0 for none, n for the first n; flushes change nothing.
    pub fn cuts(&self) -> Vec<usize> {
        let writes = self.events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Write { .. }));
        std::iter::once(0).chain(writes.map(|(at, _)| at + 1)).collect()
    }

    pub fn flushes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Flush)).count()
    }

    /// The disk after the first `count` events.
    pub fn until(&self, count: usize, to: &Path) {
        self.build(count, to, |_| true);
    }

    /// The same, but each sector of a write that no flush came after is there or is not. So a write may be torn,
    /// and a later one be there without an earlier one.
    pub fn torn(&self, count: usize, chance: &mut Chance, to: &Path) {
        let flushed = self.events[..count].iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        // Mostly there, mostly not, or even: one end and the other are rare among coins.
        let odds = [1, 2, 3][usize::try_from(chance.below(3)).unwrap()];
        self.build(count, to, |at| at < flushed || chance.below(4) < odds);
    }

    fn build(&self, count: usize, to: &Path, mut kept: impl FnMut(usize) -> bool) {
        copy(self.base, to);
        let file = File::options().write(true).open(to).unwrap();
        for (at, event) in self.events[..count].iter().enumerate() {
            let Event::Write { offset, bytes } = event else { continue };
            let unit = if at < self.ours { self.sector as u64 } else { 4096 };
            let end = offset + bytes.len() as u64;
            let mut from = *offset;
            while from < end {
                let to = (from / unit * unit + unit).min(end);
                let part = |at: u64| usize::try_from(at - offset).unwrap();
                if kept(at) {
                    file.write_all_at(&bytes[part(from)..part(to)], from).unwrap();
                }
                from = to;
            }
        }
    }
}

/// A copy with the holes left out.
pub fn copy(from: &Path, to: &Path) {
    let (from, to) = (File::open(from).unwrap(), File::create(to).unwrap());
    to.set_len(from.metadata().unwrap().len()).unwrap();
    let mut at = 0;
    while let Ok(data) = lseek(&from, at, Whence::SeekData) {
        at = lseek(&from, data, Whence::SeekHole).unwrap();
        let mut bytes = vec![0; usize::try_from(at - data).unwrap()];
        from.read_exact_at(&mut bytes, data.cast_unsigned()).unwrap();
        to.write_all_at(&bytes, data.cast_unsigned()).unwrap();
    }
}

/// Runs a command on the disk as the volume of this kind.
pub fn run(rig: &Rig, disk: &Disk, kind: &str, command: &str) -> Ran {
    rig.volinit(&[command, "--device", disk.name(), "--mount", "/data/pg", "--fs", kind])
}

/// What has to hold of a disk after a fault, on a machine that knows nothing of it: the next `up` brings it up by
/// itself, one more has nothing to do, `look` is content with what is mounted, the filesystem is whole. Gives
/// what was done.
pub fn recovers(image: &Path, kind: &str, sector: usize, look: impl Fn(&Path)) -> Result<String, String> {
    let kept = std::env::var_os("FAULTS_KEEP").map(|folder| {
        let mut kept = tempfile::Builder::new().prefix(kind).suffix(".img").tempfile_in(folder).unwrap();
        kept.disable_cleanup(true);
        copy(image, kept.path());
        kept
    });
    let recovered = recover(image, kind, sector, look);
    if let Some(mut kept) = kept {
        kept.disable_cleanup(recovered.is_err());
    }
    recovered
}

fn recover(image: &Path, kind: &str, sector: usize, look: impl Fn(&Path)) -> Result<String, String> {
    let mut rig = Rig::new();
    let disk = rig.losetup(image, &["--sector-size", &sector.to_string()]);
    let up = run(&rig, &disk, kind, "up");
    stands(&rig, &disk, kind, &up)?;
    look(&rig.path("/data/pg"));
    unmount(&rig, &disk);
    whole(&disk, kind)?;
    Ok(done(&up))
}

/// What the first line says was done.
fn done(up: &Ran) -> String {
    let line = up.out.lines().next().unwrap_or_default();
    let words = ["what a cut off format left taken away", "formatted", "checked", "grown", "nothing to do"];
    let short = ["undone", "formatted", "checked", "grown", "standing"];
    let said: Vec<&str> = words.iter().zip(short).filter(|(word, _)| line.contains(*word)).map(|(_, s)| s).collect();
    if said.is_empty() { "kept".into() } else { said.join("+") }
}

/// Mounted, and one more run has nothing to do.
pub fn stands(rig: &Rig, disk: &Disk, kind: &str, up: &Ran) -> Result<(), String> {
    if up.code != Some(0) || up.out.contains("warning") {
        return Err(format!("{up:?}"));
    }
    match rig.mount_at("/data/pg") {
        Some((device, fstype, _)) if device == disk.name() && fstype == kind => {}
        other => return Err(format!("mounted is {other:?}: {up:?}")),
    }
    let again = run(rig, disk, kind, "up");
    if again.code != Some(0) || !again.out.contains(": nothing to do: ") {
        return Err(format!("the second up: {again:?}"));
    }
    Ok(())
}

/// Unmounts it, and waits until nobody has it. Another test that starts a process has our open files in it for a
/// moment; a mount namespace that somebody makes has a copy of each mount, and before that has gone too the kernel
/// lets nobody check the disk, or mount a second XFS of the same UUID.
pub fn unmount(rig: &Rig, disk: &Disk) {
    let at = rig.path("/data/pg");
    patiently(disk, || umount2(&at, MntFlags::empty()).is_ok());
    patiently(disk, || File::options().read(true).custom_flags(O_EXCL).open(&disk.device).is_ok());
}

fn patiently(disk: &Disk, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(30), "{} is still in use", disk.name());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The filesystem's own checker finds nothing.
pub fn whole(disk: &Disk, kind: &str) -> Result<(), String> {
    let checker = match kind {
        "ext4" => ["e2fsck", "-fn", disk.name()],
        "xfs" => ["xfs_repair", "-n", disk.name()],
        _ => ["btrfs", "check", disk.name()],
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for _ in 0..1000 {
        let output = Command::new(checker[0]).args(&checker[1..]).output();
        let output = output.unwrap_or_else(|error| panic!("this test needs {}: {error}", checker[0]));
        let said = format!("{checker:?}: {}{}", text(&output.stdout), text(&output.stderr));
        // One that was killed may be on its way out yet, and another thread that starts a program holds what is open.
        if output.status.success() || !said.contains("busy") {
            return output.status.success().then_some(()).ok_or(said);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{} stays busy", disk.name()))
}

/// Records a whole `up` on a copy of `base`: all writes until it is unmounted again. What `up` itself wrote is
/// what comes before the number that is given; the rest is the unmount's.
pub fn record(base: &Path, kind: &str, sector: usize) -> (Vec<Event>, usize) {
    let mut rig = Rig::new();
    let file = rig.file("recording", 0);
    copy(base, &file);
    let recorder = crate::recorder::Recorder::over(&file);
    let disk = recorder.attach(&mut rig, &["--sector-size", &sector.to_string()]);
    let up = run(&rig, &disk, kind, "up");
    assert_eq!(up.code, Some(0), "{up:?}");
    let during = recorder.seen();
    unmount(&rig, &disk);
    let events = recorder.end(&disk);
    // Nothing was missed: from the recording comes the very disk that was recorded.
    let rebuilt = rig.file("rebuilt", 0);
    Story { base, events: &events, sector, ours: 0 }.until(events.len(), &rebuilt);
    assert_eq!(fingerprint(&rebuilt), fingerprint(&file), "a write was not recorded");
    (events, during)
}

/// A file of zeros for a base.
pub fn blank(rig: &Rig, size: u64) -> std::path::PathBuf {
    rig.file("blank", size)
}
