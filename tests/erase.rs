//! The one way past a refusal: a person names the volume on the command line, once.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use rig::{Disk, MIB, Rig, tool};

fn xfs(rig: &mut Rig) -> (Disk, String) {
    let disk = rig.disk(384 * MIB);
    tool(["mkfs.xfs", "-q", disk.name()]);
    let uuid = tool(["blkid", "--probe", "--match-tag", "UUID", "--output", "value", disk.name()]);
    rig.config(&format!("volumes:\n  pg:\n    source: {{ device: {} }}\n    mount: /data/pg\n", disk.name()));
    (disk, uuid.trim().to_owned())
}

#[test]
fn a_consent_names_the_volume_and_works_once() {
    let mut rig = Rig::new();
    let (disk, uuid) = xfs(&mut rig);
    let before = disk.fingerprint();
    let refused = rig.volinit(&["up"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.out.contains(&format!("add `--erase {uuid}` to `volinit up`, once")), "{}", refused.out);

    // Not without the volume's name, not with another's, and not by a plan.
    assert_eq!(rig.volinit(&["up", "--erase", &uuid]).code, Some(2));
    let other = rig.volinit(&["up", "pg", "--erase", "vol-5afc0745"]);
    assert_eq!(other.code, Some(3), "{other:?}");
    assert!(
        other.out.contains(&format!("`--erase vol-5afc0745` does not name this disk, which is {uuid}")),
        "{}",
        other.out
    );
    let plan = rig.volinit(&["plan", "pg", "--erase", &uuid]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(plan.out.contains(&format!("1. ERASE {uuid} (384 MiB): carries xfs")), "{}", plan.out);
    assert_eq!(disk.fingerprint(), before);

    let up = rig.volinit(&["up", "pg", "--erase", &uuid]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.out.contains(": erased, formatted as ext4, mounted at "), "{}", up.out);
    assert!(up.err.contains(&format!("erasing {}: {uuid} (384 MiB): carries xfs", disk.name())), "{}", up.err);

    // The same words once more, in a unit file that somebody left like that: nothing happens to a volume that stands,
    let again = rig.volinit(&["up", "pg", "--erase", &uuid]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.contains("nothing to do"), "{}", again.out);
    // nor to one that was put back.
    rig.unmount("/data/pg");
    tool(["mkfs.xfs", "-q", "-f", "-m", &format!("uuid={uuid}"), disk.name()]);
    let before = disk.fingerprint();
    let again = rig.volinit(&["up", "pg", "--erase", &uuid]);
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.out.contains("has been used once, and works only once"), "{}", again.out);
    assert_eq!(disk.fingerprint(), before);
}

#[test]
fn a_disk_without_a_name_goes_by_its_number() {
    let mut rig = Rig::new();
    let disk = rig.disk(384 * MIB);
    disk.write_at(5 * MIB, b"somebody's");
    let arguments = ["up", "--device", disk.name(), "--mount", "/data/pg"];
    let refused = rig.volinit(&arguments);
    let (_, rest) = refused.out.split_once("add `--erase ").unwrap();
    let name = rest.split('`').next().unwrap().to_owned();
    assert!(name.starts_with("diskseq-"), "{name}");
    let up = rig.volinit(&[&arguments[..], &["--erase", &name]].concat());
    assert_eq!(up.code, Some(0), "{up:?}");
}

#[test]
fn a_disk_that_is_in_use_is_not_erased() {
    let mut rig = Rig::new();
    let (disk, uuid) = xfs(&mut rig);
    std::fs::create_dir(rig.path("/elsewhere")).unwrap();
    tool(["mount".as_ref(), disk.device.as_os_str(), rig.path("/elsewhere").as_os_str()]);
    std::fs::write(rig.path("/elsewhere/row"), "kept").unwrap();
    let up = rig.volinit(&["up", "pg", "--erase", &uuid]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("is already mounted, at ROOT/elsewhere"), "{}", up.out);
    assert_eq!(rig.read("/elsewhere/row"), "kept");
}
