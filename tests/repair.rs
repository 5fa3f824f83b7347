//! An ext4 that asks for a check: mended where e2fsck -p can, refused where it takes a person.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use rig::{Disk, MIB, Rig, tool};

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
    std::fs::write(rig.path("/data/pg/row"), "committed").unwrap();
    tool(["sync", rig.path("/data/pg/row").to_str().unwrap()]);
    // As if the power had gone now: what is on the disk, with a journal to replay.
    tool(["cp".as_ref(), "--sparse=always".as_ref(), disk.file.as_os_str(), copy.as_os_str()]);
    let pulled = rig.attach(&copy);
    let up = rig.volinit(&["up", "--device", pulled.name(), "--mount", "/data/other"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(!up.out.contains("checked"), "{}", up.out);
    assert_eq!(rig.read("/data/other/row"), "committed");
}
