//! Growing that does not go as it should: resize2fs that is missing, fails or is killed, a clock at 1970, and
//! filesystems that can't be as large as their disk. The volume is up all the same, no file is lost, and a run with
//! nothing to do comes soon.
//!
//! All runs are without `CAP_SYS_RESOURCE`, so that an ext4 grows by resize2fs before it is mounted.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::libc::O_EXCL;
use rig::{Disk, MIB, Ran, Rig, VOLINIT, tool};

const SMALL: u64 = 320 * MIB;
const LARGE: u64 = 640 * MIB;

/// A machine with a disk that has become larger than its ext4.
fn machine() -> (Rig, Disk) {
    let mut rig = Rig::new();
    let disk = rig.disk(SMALL);
    tool(["mkfs.ext4", "-q", disk.name()]);
    declare(&rig, &disk, "ext4");
    fill(&rig, &disk);
    disk.grow(LARGE);
    (rig, disk)
}

fn declare(rig: &Rig, disk: &Disk, kind: &str) {
    let source = format!("source: {{ device: {} }}", disk.name());
    rig.config(&format!("volumes:\n  pg:\n    {source}\n    filesystem: {{ type: {kind} }}\n    mount: /data/pg\n"));
}

/// Puts files on it, and their sums where [`up`] finds them.
fn fill(rig: &Rig, disk: &Disk) {
    let script = "mkdir -p $0/data/pg; mount $1 $0/data/pg; cd $0/data/pg
        for file in {1..60}; do head -c $((file * file * 97)) /dev/urandom > $file; done
        sha256sum [0-9]* > $0/sums; cd /; umount $0/data/pg";
    // In a namespace of its own, of which another test's has no copy: that would keep the disk in use.
    let own = ["unshare", "--mount", "--propagation", "private", "bash", "-e", "-c", script];
    tool(own.into_iter().chain([rig.root().to_str().unwrap(), disk.name()]));
    not_in_use(disk);
}

fn command(rig: &Rig, setup: &str, after: &str) -> Command {
    let root = rig.root().display().to_string();
    let volinit = format!("setpriv --bounding-set -sys_resource {VOLINIT} --root {root} up");
    let script = format!("ROOT={root}\nset -e\n{setup}\nset +e\n{}", after.replace("UP", &volinit));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]);
    command
}

/// `volinit up` in a mount namespace of its own, which `setup` changes first. What it mounts goes with it; before
/// that the files are looked at.
fn up(rig: &Rig, setup: &str) -> Ran {
    let look = "UP; code=$?; [ $code != 0 ] || { cd $ROOT/data/pg && sha256sum --quiet --check $ROOT/sums || code=99; }
        exit $code";
    rig.run(&mut command(rig, setup, look))
}

/// resize2fs with this done to its writes to the disk. Where pwrite fails it tries write.
fn tampered(how: &str) -> String {
    let write = if how.starts_with("error") { "-e inject=write:error=EIO" } else { "" };
    format!("exec strace -qq -o /dev/null -e inject=pwrite64:{how} {write} /usr/sbin/resize2fs \"$@\"")
}

/// The namespace may end a moment after the run.
fn not_in_use(disk: &Disk) {
    while File::options().read(true).custom_flags(O_EXCL).open(&disk.device).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn whole(disk: &Disk) {
    not_in_use(disk);
    tool(["e2fsck", "-f", "-n", disk.name()]);
}

/// With nothing in its way: grown, then nothing to grow any more.
fn recovers(rig: &Rig, disk: &Disk) {
    not_in_use(disk);
    let next = up(rig, "");
    assert_eq!(next.code, Some(0), "{next:?}");
    whole(disk);
    let again = up(rig, "");
    assert!(again.code == Some(0) && again.out.contains("(ext4, 640 MiB): mounted at "), "{next:?}, then {again:?}");
    not_in_use(disk);
}

#[test]
fn a_resize2fs_that_is_missing_or_fails_keeps_no_volume_from_its_mount() {
    // Only resize2fs is not there.
    let gone = "mkdir $ROOT/few; cp /usr/sbin/{e2fsck,debugfs} $ROOT/few; mount --bind $ROOT/few /usr/local/sbin
        mount -t tmpfs none /usr/sbin";
    for (script, words) in [
        ("", "starting resize2fs (it is in the package e2fsprogs)"),
        ("echo no way >&2; exit 1", "ended with exit status: 1: no way"),
        ("kill -KILL $$", "ended with signal: 9 (SIGKILL): it said nothing"),
    ] {
        let (rig, disk) = machine();
        let setup = if script.is_empty() { gone.to_owned() } else { rig.stand_in("resize2fs", script) };
        let ran = up(&rig, &setup);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let warning = format!("warning: it keeps its size: growing {}: ", disk.name());
        assert!(ran.out.contains(&warning) && ran.out.contains(words), "{words}: {}", ran.out);
        assert!(!ran.out.contains("grown"), "it says what was not done: {}", ran.out);
        whole(&disk);
        recovers(&rig, &disk);
    }
}

#[test]
fn a_resize2fs_that_is_killed_or_can_write_no_more_in_the_middle_loses_no_file() {
    let at = [1, 2, 5, 20, 80, 140, 200, 260, 280, 288];
    let killed = at.iter().map(|at| format!("signal=KILL:when={at}"));
    let cannot = at.iter().map(|at| format!("error=EIO:when={at}+"));
    for how in killed.chain(cannot) {
        let (rig, disk) = machine();
        let ran = up(&rig, &rig.stand_in("resize2fs", &tampered(&how)));
        let told = ran.out.contains("warning: it keeps its size: growing ") || ran.out.contains("grown to 640 MiB");
        assert!(ran.code == Some(0) && told, "{how}: {ran:?}");
        whole(&disk);
        recovers(&rig, &disk);
        println!("{how}: {}", ran.out);
    }
}

/// resize2fs goes on without its volinit, and nobody else writes to the disk meanwhile.
#[test]
fn a_volinit_that_is_killed_while_resize2fs_runs_is_no_harm() {
    let (rig, disk) = machine();
    let note = rig.path("/begun");
    let slow = format!("touch {}; {}", note.display(), tampered("delay_enter=10000"));
    let mut begun = command(&rig, &rig.stand_in("resize2fs", &slow), "exec UP");
    let mut volinit: Child = begun.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !note.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(500));
    volinit.kill().unwrap();
    volinit.wait().unwrap();
    let ran = up(&rig, "");
    assert!(ran.code == Some(1) && ran.out.contains(" is in use."), "{ran:?}");
    recovers(&rig, &disk);
}

/// Before 2010 e2fsck does not write down when it has checked, and resize2fs wants a check after the last mount.
#[test]
fn a_clock_at_1970_keeps_no_ext4_from_growing() {
    let (rig, disk) = machine();
    let forgets = "/usr/sbin/e2fsck \"$@\"; code=$?
        [ -n \"$E2FSCK_TIME\" ] || debugfs -w -R 'set_super_value lastcheck 19700101000001' ${!#}
        exit $code";
    let ran = up(&rig, &rig.stand_in("e2fsck", forgets));
    assert!(ran.code == Some(0) && ran.out.contains("grown to 640 MiB, before the mount"), "{ran:?}");
    recovers(&rig, &disk);
    // A filesystem of somebody's whose clock is ahead of ours.
    let (rig, disk) = machine();
    for field in ["mtime", "wtime", "lastcheck", "mkfs_time"] {
        tool(["debugfs", "-w", "-R", &format!("set_super_value {field} 20990101000000"), disk.name()]);
    }
    let ran = up(&rig, "");
    assert!(ran.code == Some(0) && ran.out.contains("grown to 640 MiB, before the mount"), "{ran:?}");
    recovers(&rig, &disk);
}

#[test]
fn a_filesystem_that_cannot_be_as_large_as_its_disk_is_grown_once() {
    const KIB: u64 = 1 << 10;
    // (type, mkfs's options, the disk first, and then)
    for (kind, options, first, then) in [
        // A last group without room for its own bookkeeping; the others have 128 MiB.
        ("ext4", "-b 4096", 384 * MIB, 512 * MIB + 3 * MIB),
        ("ext4", "-b 4096 -i 4096", 384 * MIB, 512 * MIB + 8 * MIB),
        ("ext4", "-b 4096 -i 4096 -I 1024", 384 * MIB, 512 * MIB + 20 * MIB),
        ("ext4", "-b 4096 -i 4096 -I 1024", 384 * MIB, 512 * MIB + 32 * MIB),
        ("ext4", "-b 1024 -O ^resize_inode", 320 * MIB, 512 * MIB + 100 * KIB),
        // A last group of fewer than 64 blocks, and ends within a block.
        ("xfs", "", 320 * MIB, 400 * MIB + 100 * KIB),
        ("xfs", "", 320 * MIB, 640 * MIB + 512),
        ("btrfs", "", 320 * MIB, 640 * MIB + 512),
    ] {
        let mut rig = Rig::new();
        let disk = rig.disk(first);
        let mkfs = format!("mkfs.{kind}");
        tool([mkfs.as_str(), "-q"].into_iter().chain(options.split_whitespace()).chain([disk.name()]));
        declare(&rig, &disk, kind);
        fill(&rig, &disk);
        disk.grow(then);
        let grown = up(&rig, "");
        let said = format!("{kind} {options}, {then}: {grown:?}");
        assert!(grown.code == Some(0) && grown.out.contains("grown"), "{said}");
        not_in_use(&disk);
        let again = up(&rig, "");
        let idle = again.out.contains("mounted at ") && !again.out.contains("grown") && !again.out.contains("warning");
        assert!(again.code == Some(0) && idle && !again.out.contains("checked"), "{said}, then {again:?}");
        not_in_use(&disk);
    }
}
