//! A mount is seen when it is done: grown, with its owner, proved. Before Linux 5.2, for which strace stands in here, it is
//! at its place from the beginning.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use rig::{Disk, MIB, Ran, Rig, VOLINIT, tool};

const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];
/// How a kernel answers that has no fsopen(2), and how a container's filter does.
const OLD: [&str; 2] = ["fsopen:error=ENOSYS", "fsopen:error=EPERM"];

fn machine(kind: &str, mount: &str) -> (Rig, Disk) {
    let mut rig = Rig::new();
    let disk = rig.disk(512 * MIB);
    rig.config(&format!(
        "volumes:\n  pg:\n    source: {{ device: {} }}\n    filesystem: {{ type: {kind} }}\n    mount: {{ at: /data/pg, {mount} }}\n",
        disk.name()
    ));
    (rig, disk)
}

/// `up` under strace, and the calls that it was to look for.
fn traced(rig: &Rig, options: &[&str]) -> (Ran, String) {
    let trace = rig.file("trace", 0);
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o"]).arg(&trace).args(options);
    strace.arg(VOLINIT).arg("--root").arg(rig.root()).arg("up");
    let up = rig.run(&mut strace);
    (up, fs::read_to_string(trace).unwrap())
}

/// The fields of mountinfo that tell a mount's options, and the filesystem's.
fn options(rig: &Rig) -> String {
    let at = rig.path("/data/pg").canonicalize().unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4) == at.to_str()).expect("it is mounted");
    let own = line.split(' ').nth(5).unwrap();
    let filesystem = line.rsplit(' ').next().unwrap();
    format!("{own} {filesystem}")
}

#[test]
fn a_volume_is_shown_when_all_else_is_done() {
    for kind in ["xfs", "btrfs"] {
        let (rig, disk) = machine(kind, "owner: \"999:998\", mode: \"0750\"");
        tool([&format!("mkfs.{kind}"), disk.name()]);
        disk.grow(768 * MIB);
        let (up, calls) = traced(&rig, &["-e", "trace=mount,fsmount,move_mount,chown,chmod,ioctl"]);
        assert_eq!(up.code, Some(0), "{up:?}");
        assert!(up.out.contains("mounted at ") && up.out.contains("grown to 768 MiB, owner and mode set"), "{up:?}");

        let place = |call: &str| calls.lines().position(|line| line.contains(call));
        let grown = if kind == "xfs" { "XFS_IOC_FSGROWFSDATA" } else { "BTRFS_IOC_RESIZE" };
        let grown = place(grown).or_else(|| place("0x6e,")).unwrap_or_else(|| panic!("it is not grown:\n{calls}"));
        let order = [place("fsmount("), Some(grown), place("chown("), place("chmod("), place("move_mount(")];
        assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}:\n{calls}");
        assert!(!calls.contains(" mount("), "{calls}");
    }
}

#[test]
fn a_volume_that_cannot_have_its_owner_is_not_shown() {
    let (rig, disk) = machine("ext4", "owner: \"999:998\", options: [ro]");
    tool(["mkfs.ext4", "-q", disk.name()]);
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(1), "{up:?}");
    assert!(up.out.contains("setting the owner and mode of ROOT/data/pg: Read-only file system"), "{}", up.out);
    assert!(rig.mount_at("/data/pg").is_none());
    tool(["e2fsck", "-f", "-n", disk.name()]);
}

#[test]
fn an_owner_that_is_right_is_not_set_again() {
    let (rig, _disk) = machine("ext4", "owner: \"999:998\", mode: \"0750\"");
    assert!(rig.volinit(&["up"]).out.contains("owner and mode set"));
    rig.unmount("/data/pg");
    let up = rig.volinit(&["up"]);
    assert!(up.code == Some(0) && !up.out.contains("owner and mode"), "{up:?}");
}

#[test]
fn before_linux_5_2_it_is_mounted_all_the_same() {
    for kind in KINDS {
        for old in OLD {
            let (rig, _disk) = machine(kind, "owner: \"999:998\", mode: \"0750\"");
            let (up, calls) = traced(&rig, &["-e", "trace=mount,fsopen,move_mount", "-e", &format!("inject={old}")]);
            assert_eq!(up.code, Some(0), "{up:?}");
            assert!(calls.contains(" mount(") && !calls.contains("move_mount("), "{calls}");
            let top = fs::metadata(rig.path("/data/pg")).unwrap();
            assert_eq!((top.uid(), top.gid(), top.permissions().mode() & 0o7777), (999, 998, 0o750));
            assert_eq!(rig.mount_at("/data/pg").expect("it is mounted").1, kind);
        }
    }
}

#[test]
fn options_mean_the_same_both_ways() {
    for (kind, own) in [("ext4", "commit=7"), ("xfs", "nouuid"), ("btrfs", "compress=zstd")] {
        for said in ["ro, noatime", "nodev, nosuid, noexec", "sync, nodiratime, strictatime", "dirsync, lazytime", own]
        {
            let (rig, disk) = machine(kind, &format!("options: [{said}]"));
            tool([&format!("mkfs.{kind}"), disk.name()]);
            let up = rig.volinit(&["up"]);
            assert_eq!(up.code, Some(0), "{kind}, {said}: {up:?}");
            let new = options(&rig);
            rig.unmount("/data/pg");
            let (up, _) = traced(&rig, &["-e", "trace=fsopen", "-e", &format!("inject={}", OLD[0])]);
            assert_eq!(up.code, Some(0), "{kind}, {said}: {up:?}");
            assert_eq!(new, options(&rig), "{kind}, {said}");
            rig.unmount("/data/pg");
        }
    }
}

#[test]
fn an_option_that_the_filesystem_does_not_know_is_told_in_the_kernel_s_words() {
    let (rig, disk) = machine("ext4", "options: [nonsense]");
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(1), "{up:?}");
    let words =
        format!("mounting {} at ROOT/data/pg (ext4: Unknown parameter 'nonsense'): Invalid argument", disk.name());
    assert!(up.out.contains(&words), "{words} is not in {}", up.out);
}
