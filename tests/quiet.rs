//! What a boot costs that finds all as it should be: how many calls of the kernel, and reads of the disk. These are the
//! numbers of today with little to spare, so that they cannot creep up unseen. Time is measured in tests/bench.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::process::Command;

use rig::{Disk, MIB, Rig, VOLINIT, tool};

/// A machine with a volume that stood before, and is not mounted now.
fn machine(kind: &str) -> (Rig, Disk) {
    let mut rig = Rig::new();
    let disk = rig.disk(1024 * MIB);
    tool([&format!("mkfs.{kind}"), disk.name()]);
    rig.config(&format!(
        "volumes:\n  pg:\n    source: {{ device: {} }}\n    filesystem: {{ type: {kind} }}\n    mount: /data/pg\n",
        disk.name()
    ));
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    (rig, disk)
}

/// The calls of an `up`, a line each, and what it said.
fn calls(rig: &Rig) -> (usize, String) {
    let trace = rig.file("trace", 0);
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o"]).arg(&trace).arg(VOLINIT).arg("--root").arg(rig.root()).arg("up");
    let up = rig.run(&mut strace);
    assert_eq!(up.code, Some(0), "{up:?}");
    let trace = fs::read_to_string(trace).unwrap();
    // A thread, which listens for signals once there is something to do, is none.
    let process = |line: &str| line.contains("fork(") || line.contains("SIGCHLD") || line.contains("execve(");
    assert_eq!(
        trace.lines().filter(|line| process(line)).count(),
        1,
        "volinit's own execve should be the only one:\n{trace}"
    );
    (trace.lines().count(), up.out)
}

/// How many reads the disk has seen (the kernel's Documentation/block/stat.rst).
fn reads(disk: &Disk) -> u64 {
    let name = disk.name().rsplit('/').next().unwrap();
    let stat = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn what_is_mounted_is_left_with_few_calls() {
    for kind in ["ext4", "xfs", "btrfs"] {
        let (rig, disk) = machine(kind);
        let (calls, said) = calls(&rig);
        assert!(said.starts_with("pg: nothing to do: "), "{said}");
        println!("{kind}: {calls} calls to see that nothing is to be done");
        assert!(calls <= 220, "{kind}: {calls}");
        // The kernel tells what is mounted, and has an ext4's superblock in memory.
        tool(["blockdev", "--flushbufs", disk.name()]);
        let before = reads(&disk);
        assert_eq!(rig.volinit(&["up"]).code, Some(0));
        assert_eq!(reads(&disk), before, "{kind}");
    }
}

#[test]
fn what_stood_before_is_mounted_with_few_calls_and_reads() {
    // XFS reads its log, and the first block of each group.
    for (kind, most) in [("ext4", 9), ("xfs", 55), ("btrfs", 17)] {
        let (rig, disk) = machine(kind);
        mounts(&rig, &disk, kind, |_| {}, (290, most));
    }
}

#[test]
fn what_a_new_machine_finds_formatted_is_mounted_with_few_calls_and_reads() {
    // Every witness is asked: what is on the disk was never seen here.
    for (kind, most) in [("ext4", 15), ("xfs", 62), ("btrfs", 22)] {
        let (rig, disk) = machine(kind);
        let forget = |rig: &Rig| fs::remove_dir_all(rig.path("/var/lib/volinit")).unwrap();
        mounts(&rig, &disk, kind, forget, (450, most));
    }
}

/// Has an `up` mount it, twice: its calls are counted, and then its reads, for which nothing of the disk is in memory, as
/// after a boot. `before` each the machine is made ready.
fn mounts(rig: &Rig, disk: &Disk, kind: &str, before: impl Fn(&Rig), (most_calls, most_reads): (usize, u64)) {
    rig.unmount("/data/pg");
    before(rig);
    let (calls, said) = calls(rig);
    assert!(said.contains(": mounted at "), "{said}");
    rig.unmount("/data/pg");
    before(rig);
    tool(["blockdev", "--flushbufs", disk.name()]);
    let read = reads(disk);
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    let read = reads(disk) - read;
    println!("{kind}: {calls} calls to mount it, and {read} reads of the disk");
    assert!(calls <= most_calls && read <= most_reads, "{kind}: {calls} calls, {read} reads");
}
