//! Who else wants the disk: systemd-makefs, sfdisk and anything that keeps to systemd's rule (flock on the whole
//! disk). There is one format, and the others wait or refuse by the holder's name.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use rig::{Disk, MIB, Rig, tool};

const SIZE: u64 = 320 * MIB;
const MAKEFS: &str = "/lib/systemd/systemd-makefs";

/// A program that has the lock of a disk until its standard input ends.
struct Holder(Child);

impl Holder {
    fn of(device: &str) -> Holder {
        let mut child = Command::new("flock")
            .args([device, "sh", "-c", "echo held; read _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        Holder(child)
    }

    fn let_go(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn start(rig: &Rig, device: &str) -> Child {
    let mut up = rig.command();
    up.args(["-v", "up", "--device", device, "--mount", "/data/pg"]);
    up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads its log up to the line that says what it waits for.
fn waits_for(child: &mut Child) -> String {
    let mut log = String::new();
    let mut byte = [0];
    while !log.ends_with("; waiting\n") && child.stderr.as_mut().unwrap().read(&mut byte).unwrap() == 1 {
        log.push(char::from(byte[0]));
    }
    log
}

fn uuid(device: &str) -> String {
    tool(["blkid", "--probe", "--output", "value", "--match-tag", "UUID", device])
}

#[test]
fn a_partitioner_or_any_program_with_the_lock_is_waited_for_by_its_name() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let before = disk.fingerprint();
    let holder = Holder::of(disk.name());
    let mut up = start(&rig, disk.name());
    let log = waits_for(&mut up);
    let name = format!("{} is locked by flock (process {}); waiting", disk.name(), holder.0.id());
    assert!(log.contains(&name), "{log}");
    thread::sleep(Duration::from_millis(200));
    assert!(up.try_wait().unwrap().is_none(), "it did not wait");
    assert_eq!(disk.fingerprint(), before);
    holder.let_go();
    let output = up.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_a_partitioner_wrote_meanwhile_is_seen_once_the_lock_is_ours() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    // sfdisk holds the lock while it reads its script: `--lock` is the rule's.
    let mut sfdisk = Command::new("sfdisk")
        .args(["--lock=yes", "--quiet", "--no-reread", disk.name()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let node =
        format!(":{} ", fs::metadata(&disk.device).map(|meta| std::os::unix::fs::MetadataExt::ino(&meta)).unwrap());
    while !fs::read_to_string("/proc/locks").unwrap().contains(&node) {
        thread::yield_now();
    }
    let mut up = start(&rig, disk.name());
    let log = waits_for(&mut up);
    assert!(log.contains(&format!("is locked by sfdisk (process {}); waiting", sfdisk.id())), "{log}");
    std::io::Write::write_all(&mut sfdisk.stdin.take().unwrap(), b"label: gpt\nsize=100MiB\n").unwrap();
    assert!(sfdisk.wait().unwrap().success());
    let output = up.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains("gpt") || out.contains("has partitions"), "{out}");
    tool(["sfdisk", "--verify", "--quiet", disk.name()]);
}

#[test]
fn volinit_and_systemd_makefs_at_once_make_one_filesystem() {
    for round in 0..12u64 {
        let mut rig = Rig::new();
        let disk = rig.disk(SIZE);
        let makefs = || Command::new(MAKEFS).args(["ext4", disk.name()]).stderr(Stdio::piped()).spawn().unwrap();
        // Now this one is first, now that one, and now they meet in the middle.
        let (up, makefs) = if round % 2 == 0 {
            let up = start(&rig, disk.name());
            thread::sleep(Duration::from_millis(round * 15));
            (up, makefs())
        } else {
            let makefs = makefs();
            thread::sleep(Duration::from_millis(round * 15));
            (start(&rig, disk.name()), makefs)
        };
        let (up, makefs) = (up.wait_with_output().unwrap(), makefs.wait_with_output().unwrap());
        let said = format!("round {round}: {up:?}\n{makefs:?}");
        assert_eq!(up.status.code(), Some(0), "{said}");
        assert!(rig.mount_at("/data/pg").is_some(), "{said}");
        let formatted = String::from_utf8_lossy(&up.stdout).contains("formatted");
        let other = String::from_utf8_lossy(&makefs.stderr).contains("successfully formatted");
        assert!(formatted != other, "there has to be one format: {said}");
        rig.unmount("/data/pg");
        tool(["e2fsck", "-f", "-n", disk.name()]);
    }
}

#[test]
fn twenty_at_once_on_a_disk_that_is_locked_make_one_filesystem() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let holder = Holder::of(disk.name());
    let all: Vec<Child> = (0..20).map(|_| start(&rig, disk.name())).collect();
    holder.let_go();
    let outputs: Vec<_> = all.into_iter().map(|up| up.wait_with_output().unwrap()).collect();
    let formats = outputs.iter().filter(|output| String::from_utf8_lossy(&output.stdout).contains("formatted")).count();
    assert!(formats == 1 && outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    assert!(!uuid(disk.name()).is_empty());
}

/// A partition over the second half, which the kernel is told of without a table: it has no parser of one here.
fn partition(disk: &Disk) -> PathBuf {
    let (start, length) = (SIZE / 1024, SIZE / 1024);
    tool(["addpart", disk.name(), "1", &start.to_string(), &length.to_string()]);
    format!("{}p1", disk.name()).into()
}

#[test]
fn a_partition_and_its_whole_disk_are_one_lock_and_the_disk_is_refused() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let part = partition(&disk);
    // The lock is the disk's, whichever of its partitions is meant.
    let holder = Holder::of(disk.name());
    let mut up = start(&rig, part.to_str().unwrap());
    let log = waits_for(&mut up);
    assert!(log.contains(&format!("{} is locked by flock", disk.name())), "{log}");
    let mut whole = start(&rig, disk.name());
    waits_for(&mut whole);
    holder.let_go();
    let (up, whole) = (up.wait_with_output().unwrap(), whole.wait_with_output().unwrap());
    let mounted = fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounted.lines().filter(|line| Path::new(line.split(' ').next().unwrap()) == part) {
        tool(["umount", line.split(' ').nth(1).unwrap()]);
    }
    let kept = uuid(part.to_str().unwrap());
    tool(["delpart", disk.name(), "1"]);
    assert_eq!(up.status.code(), Some(0), "{up:?}");
    assert_eq!(whole.status.code(), Some(3), "{whole:?}");
    assert!(!kept.is_empty(), "what the partition holds was overwritten: {up:?} {whole:?}");
}

#[test]
fn who_has_the_disk_exclusively_for_a_moment_is_waited_for() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    rig.config(&format!("volumes:\n  pg:\n    source: {{ device: {} }}\n    mount: /data/pg\n", disk.name()));
    let held = fs::File::options().read(true).custom_flags(nix::libc::O_EXCL).open(&disk.device).unwrap();
    let holder = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        drop(held);
    });
    let ran = rig.volinit(&["up"]);
    holder.join().unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
