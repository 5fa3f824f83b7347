//! An ext4 that asks for a check: mended where e2fsck -p can, refused where it takes a person.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use rig::{Disk, MIB, Rig, VOLINIT, tool};

fn ext4(rig: &mut Rig) -> Disk {
    let disk = rig.disk(256 * MIB);
    tool(["mkfs.ext4", "-q", disk.name()]);
    disk
}

fn debugfs(disk: &Disk, request: &str) {
    tool(["debugfs", "-w", "-R", request, disk.name()]);
}

#[test]
fn errors_that_can_be_mended_are_mended_before_the_mount() {
    let mut rig = Rig::new();
    let disk = ext4(&mut rig);
    // What the kernel leaves after it met an error: EXT4_ERROR_FS.
    debugfs(&disk, "set_super_value state 3");
    let plan = rig.volinit(&["plan", "--device", disk.name(), "--mount", "/data/pg"]);
    assert!(plan.out.contains("1. check with e2fsck -p"), "{plan:?}");
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/pg"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.out.contains(": checked, mounted at "), "{}", up.out);
    rig.unmount("/data/pg");
    tool(["e2fsck", "-f", "-n", disk.name()]);
}

#[test]
fn errors_that_take_a_person_are_refused() {
    let mut rig = Rig::new();
    let disk = ext4(&mut rig);
    debugfs(&disk, "clri <2>");
    debugfs(&disk, "set_super_value state 3");
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/pg"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    for words in [
        "carries an ext4 with errors that e2fsck -p can't mend by itself",
        "UNEXPECTED INCONSISTENCY",
        "then `e2fsck -f ",
    ] {
        assert!(up.out.contains(words), "{words} is not in: {}", up.out);
    }
    assert_eq!(rig.mount_at("/data/pg"), None);
}

#[test]
fn a_journal_that_is_not_empty_is_the_kernels_to_replay() {
    let mut rig = Rig::new();
    let disk = ext4(&mut rig);
    let copy = rig.file("pulled", 0);
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/pg"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    fs::write(rig.path("/data/pg/row"), "committed").unwrap();
    tool(["sync", rig.path("/data/pg/row").to_str().unwrap()]);
    // As if the power had gone now: what is on the disk, with a journal to replay.
    tool(["cp".as_ref(), "--sparse=always".as_ref(), disk.file.as_os_str(), copy.as_os_str()]);
    let pulled = rig.attach(&copy);
    let up = rig.volinit(&["up", "--device", pulled.name(), "--mount", "/data/other"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(!up.out.contains("checked"), "{}", up.out);
    assert_eq!(rig.read("/data/other/row"), "committed");
}

/// An ext4 with a file in it and a wrong descriptor of a group, as a power cut may leave it while it grows. The
/// right one is in the journal alone, or nowhere.
fn wrong_descriptor(rig: &mut Rig, in_journal: bool) -> Disk {
    let disk = rig.disk(256 * MIB);
    tool(["mkfs.ext4", "-q", "-b", "4096", disk.name()]);
    let [row, block, requests] = ["row", "block", "requests"].map(|name| rig.file(name, 0));
    fs::write(&row, "committed").unwrap();
    debugfs(&disk, &format!("write {} row", row.display()));
    if in_journal {
        fs::write(&block, disk.read_at(4096, 4096)).unwrap();
        fs::write(&requests, format!("jo\njw -b 1 {}\njc\n", block.display())).unwrap();
        tool(["debugfs", "-w", "-f", requests.to_str().unwrap(), disk.name()]);
    }
    // bg_checksum of the second of its two groups.
    disk.write_at(4096 + 64 + 0x1E, &[0, 0]);
    let at = rig.path("/mnt");
    fs::create_dir_all(&at).unwrap();
    let mounted = mount(Some(disk.name()), &at, Some("ext4"), MsFlags::empty(), None::<&str>);
    assert_eq!(mounted, Err(Errno::EUCLEAN), "the kernel looks at descriptors before it replays the journal");
    disk
}

#[test]
fn a_journal_that_the_kernel_does_not_come_to_is_replayed_by_e2fsck() {
    let mut rig = Rig::new();
    let disk = wrong_descriptor(&mut rig, true);
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/pg"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.err.contains("EUCLEAN: Structure needs cleaning; its journal is not replayed yet"), "{}", up.err);
    assert_eq!(rig.read("/data/pg/row"), "committed");
    rig.unmount("/data/pg");
    tool(["e2fsck", "-f", "-n", disk.name()]);
}

#[test]
fn without_a_journal_to_replay_or_an_e2fsck_nothing_is_done_about_it() {
    let mut rig = Rig::new();
    let damaged = wrong_descriptor(&mut rig, false);
    let before = damaged.fingerprint();
    let up = rig.volinit(&["up", "--device", damaged.name(), "--mount", "/data/pg"]);
    assert_eq!(up.code, Some(1), "{up:?}");
    assert_eq!(damaged.fingerprint(), before);

    let disk = wrong_descriptor(&mut rig, true);
    let before = disk.fingerprint();
    let script = format!(
        "for at in /usr/local/sbin /usr/sbin; do mount -t tmpfs none $at; done\n\
         exec {VOLINIT} --root {} up --device {} --mount /data/pg",
        rig.root().display(),
        disk.name()
    );
    let up = rig.run(Command::new("unshare").args(["--mount", "--propagation", "private", "bash", "-ec", &script]));
    assert_eq!(up.code, Some(1), "{up:?}");
    for words in ["mounting ", "EUCLEAN: Structure needs cleaning; then: ", "it is in the package e2fsprogs"] {
        assert!(up.out.contains(words), "{words} is not in: {}", up.out);
    }
    assert_eq!(disk.fingerprint(), before);
}
