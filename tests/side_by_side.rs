//! Several volumes at once: a disk that answers nothing keeps no other from coming up. It is served by this process, which
//! holds its answers back.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[path = "rig/faulty.rs"]
#[allow(dead_code, reason = "the tests of errors use the rest")]
mod faulty;
mod rig;

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use faulty::Faulty;
use rig::{Disk, MIB, Rig, tool};

#[test]
fn a_disk_that_is_stuck_keeps_no_other_from_coming_up() {
    let mut rig = Rig::new();
    let stuck = Faulty::new(&mut rig, "stuck", 256 * MIB);
    // One that is formatted, one that is blank, and one that lies on the first.
    let [kept, blank, nested]: [Disk; 3] = [256, 256, 256].map(|mib| rig.disk(mib * MIB));
    tool(["mkfs.ext4", "-q", kept.name()]);
    let volume = |name: &str, disk: &Disk, at: &str| {
        format!(
            "  {name}:\n    source: {{ device: {} }}\n    filesystem: {{ type: ext4 }}\n    mount: {at}\n",
            disk.name()
        )
    };
    rig.config(&format!(
        "volumes:\n{}{}{}{}",
        volume("stuck", &stuck.disk, "/data/stuck"),
        volume("kept", &kept, "/data/kept"),
        volume("blank", &blank, "/data/blank"),
        volume("nested", &nested, "/data/kept/nested"),
    ));

    // Nobody serves the disk as long as this is held.
    let held = stuck.traffic.lock().unwrap();
    let mut up = rig.command().arg("up").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for at in ["/data/kept", "/data/kept/nested", "/data/blank"] {
        while rig.mount_at(at).is_none() {
            assert!(up.try_wait().unwrap().is_none(), "it ended, and nothing is mounted at {at}");
            thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(up.try_wait().unwrap().is_none() && rig.mount_at("/data/stuck").is_none(), "it does not wait for the disk");
    drop(held);

    let up = up.wait_with_output().unwrap();
    assert_eq!(up.status.code(), Some(0), "{up:?}");
    assert!(rig.mount_at("/data/stuck").is_some());
    for at in ["/data/kept/nested", "/data/kept", "/data/blank", "/data/stuck"] {
        rig.unmount(at);
    }
}
