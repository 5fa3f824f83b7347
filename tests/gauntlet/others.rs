//! What other ways to prepare a disk do to the same disks: the table for the README. Each disk is made once and
//! copied for each of them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::rig::{Rig, fingerprint, tool};
use crate::{case, offer, on_every_disk};

/// The line of sh that each runs; `$DISK` is the disk. (A `|` would end a cell of the table.)
///
/// blkid's cache is told to be nothing: it trusts an entry of the last two seconds (libblkid/src/verify.c), so
/// that one loop device's last disk would be told for its next.
const WAYS: [(&str, &str); 2] = [
    ("`blkid \\|\\| mkfs.ext4`", "blkid -c /dev/null $DISK || mkfs.ext4 -q $DISK"),
    ("systemd-makefs", "/lib/systemd/systemd-makefs ext4 $DISK"),
];

pub fn table() {
    let lost: Mutex<BTreeMap<&str, Vec<String>>> = Mutex::default();
    let count = on_every_disk(|rig, disk| {
        for (way, line) in WAYS {
            if destroys(rig, disk, line) {
                lost.lock().unwrap().entry(way).or_default().push(disk.name.clone());
            }
        }
        // What may be mounted is changed by that; all the rest has to be as it was, which `offer` asserts.
        for kind in crate::FILESYSTEMS {
            offer(rig, disk, kind);
        }
    });
    let mut lost = lost.into_inner().unwrap();
    println!("\n{}\n", versions());
    println!("| | disks that hold something | destroyed |\n|---|---:|---:|");
    for (way, _) in WAYS {
        println!("| {way} | {count} | {} |", lost.get(way).map_or(0, Vec::len));
    }
    println!("| volinit | {count} | 0 |");
    for (way, names) in &mut lost {
        names.sort_unstable();
        println!("\n{way}: {}", names.join(", "));
    }
}

/// Whether it changes a byte of what was not asked to be changed.
fn destroys(rig: &mut Rig, disk: &crate::Disk, line: &str) -> bool {
    let copy = disk.file.with_extension("copy");
    tool(["cp".as_ref(), "--sparse=always".as_ref(), disk.file.as_os_str(), copy.as_os_str()]);
    let before = fingerprint(&copy);
    let attached = rig.attach(&copy);
    // As at boot: no terminal to ask, and whatever it ends with is not what counts here.
    let ran = Command::new("sh")
        .args(["-c", line])
        .env("DISK", attached.name())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    case::detach(&attached);
    let changed = fingerprint(&copy) != before;
    assert!(ran.status.success() || !changed, "{}: it was changed and it failed: {ran:?}", disk.name);
    std::fs::remove_file(copy).unwrap();
    changed
}

fn versions() -> String {
    let line = "date --utc +%F; blkid --version; mkfs.ext4 -V 2>&1 | head -1; \
                /lib/systemd/systemd --version | head -1; uname -r";
    tool(["sh", "-c", line]).lines().collect::<Vec<_>>().join("; ")
}
