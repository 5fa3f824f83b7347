//! The gauntlet: disks that hold something, made by real tools or byte by byte, each offered for each
//! filesystem. None may be formatted, none changed, and each has to get its right verdict.
//!
//! `GAUNTLET=md-1` runs the disks that have that in their name, `GAUNTLET_SHOW=1` prints what was said of each.
//! The ignored test prints what other ways to prepare a disk do to the same disks (`make gauntlet`).
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod boxes;
mod case;
mod damage;
mod ext_xfs_btrfs;
mod filesystems;
mod others;
mod stray;
mod tables;

#[path = "../rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use case::{Case, Disk, FILESYSTEMS, PRECIOUS, Verdict};
use rig::{Ran, Rig};

/// The packages of Debian 12 that the disks are made with, and a tool out of each.
const PACKAGES: [(&str, &str); 32] = [
    ("apfsprogs", "mkapfs"),
    ("bcache-tools", "make-bcache"),
    ("btrfs-progs", "mkfs.btrfs"),
    ("cryptsetup-bin", "cryptsetup"),
    ("dosfstools", "mkfs.vfat"),
    ("drbd-utils", "drbdmeta"),
    ("e2fsprogs", "mkfs.ext4"),
    ("erofs-utils", "mkfs.erofs"),
    ("exfatprogs", "mkfs.exfat"),
    ("f2fs-tools", "mkfs.f2fs"),
    ("fdisk", "sfdisk"),
    ("gdisk", "sgdisk"),
    ("genisoimage", "genisoimage"),
    ("genromfs", "genromfs"),
    ("gfs2-utils", "mkfs.gfs2"),
    ("hfsutils", "hformat"),
    ("jfsutils", "mkfs.jfs"),
    ("lvm2", "pvcreate"),
    ("makefs", "makefs"),
    ("mount", "mount"),
    ("mtd-utils", "ubinize"),
    ("nilfs-tools", "mkfs.nilfs2"),
    ("ntfs-3g", "mkfs.ntfs"),
    ("ocfs2-tools", "mkfs.ocfs2"),
    ("parted", "parted"),
    ("reiser4progs", "mkfs.reiser4"),
    ("reiserfsprogs", "mkfs.reiserfs"),
    ("squashfs-tools", "mksquashfs"),
    ("udftools", "mkfs.udf"),
    ("util-linux", "mkfs.minix"),
    ("xfsprogs", "mkfs.xfs"),
    ("xorriso", "xorriso"),
];

/// Fewer than the promise says would be a gauntlet that lost rows.
const AT_LEAST: usize = 150;

#[test]
fn no_disk_is_formatted() {
    let begun = Instant::now();
    let offers = AtomicUsize::new(0);
    let count = on_every_disk(|rig, disk| {
        for kind in FILESYSTEMS {
            if offer(rig, disk, kind) {
                offers.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let seconds = begun.elapsed().as_secs();
    println!("{count} disks, {} offers: none formatted, in {seconds} s", offers.into_inner());
}

#[test]
#[ignore = "runs other programs, which do destroy: the README's table (`make gauntlet`)"]
fn table_of_what_others_do() {
    others::table();
}

/// Every row of the gauntlet, but for those that the caller's filter leaves out.
fn cases() -> Vec<Case> {
    let all = [
        ext_xfs_btrfs::cases(),
        filesystems::cases(),
        boxes::cases(),
        tables::cases(),
        damage::cases(),
        stray::cases(),
    ];
    let all: Vec<Case> = all.into_iter().flatten().collect();
    let names: Vec<String> = all.iter().flat_map(Case::names).collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "two disks of one name");
    assert!(names.len() >= AT_LEAST, "only {} disks", names.len());
    let wanted = env::var("GAUNTLET").unwrap_or_default();
    all.into_iter().filter(|case| case.names().any(|name| name.contains(&wanted))).collect()
}

/// Makes each disk and calls `with` on it, on a few threads; fails at the end, with all that failed. Gives how
/// many there were.
fn on_every_disk(with: impl Fn(&mut Rig, &Disk) + Sync) -> usize {
    need_the_tools();
    let (cases, next, count) = (cases(), AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let each = AssertUnwindSafe(|| {
                let mut rig = Rig::new();
                for disk in case.make(&mut rig) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let tried = panic::catch_unwind(AssertUnwindSafe(|| with(&mut rig, &disk)));
                    if tried.is_err() {
                        failed.lock().unwrap().push(disk.name.clone());
                    }
                }
            });
            if panic::catch_unwind(each).is_err() {
                failed.lock().unwrap().push(format!("{} (making it)", case.names().next().unwrap()));
            }
        }
    };
    thread::scope(|scope| {
        // More than the cores: making a disk waits for the disk below.
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed, each told above: {}", failed.len(), failed.join(", "));
    count.into_inner()
}

/// A tool that is missing fails the test by its package's name, at once and all of them together.
fn need_the_tools() {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let there = |tool: &str| path.split(':').any(|folder| Path::new(folder).join(tool).exists());
    let missing: Vec<&str> = PACKAGES.iter().filter(|(_, tool)| !there(tool)).map(|(package, _)| *package).collect();
    assert!(missing.is_empty(), "the gauntlet needs: apt-get install {}", missing.join(" "));
}

/// Offers the disk as that filesystem; false where the row says that it isn't to be.
fn offer(rig: &mut Rig, disk: &Disk, kind: &str) -> bool {
    let verdict = disk.verdict(kind);
    if matches!(verdict, Verdict::Skipped) {
        return false;
    }
    // Direct, so that the proof of zeros reads holes from the file itself, without a page cache to fill.
    let attached = rig.losetup(&disk.file, &["--direct-io=on"]);
    let before = rig::fingerprint(&disk.file);
    let up = rig.volinit(&["up", "--device", attached.name(), "--mount", "/data/new", "--fs", kind]);
    let kept = rig.mount_at("/data/new").is_some();
    if env::var_os("GAUNTLET_SHOW").is_some() {
        println!("{} as {kind}: {:?} {}{}", disk.name, up.code, up.out, up.err);
    }
    judge(rig, disk, kind, &verdict, &up);
    if kept {
        rig.unmount("/data/new");
    }
    assert_eq!(kept, matches!(verdict, Verdict::Kept), "{} as {kind}: whether it was mounted", disk.name);
    if !matches!(verdict, Verdict::Kept) {
        assert_eq!(rig::fingerprint(&disk.file), before, "{} as {kind}: a byte was changed: {up:?}", disk.name);
    }
    case::detach(&attached);
    true
}

fn judge(rig: &Rig, disk: &Disk, kind: &str, verdict: &Verdict, up: &Ran) {
    let name = &disk.name;
    let says = |words: &str| assert!(up.out.contains(words), "{name} as {kind}: {words:?} is not in: {}", up.out);
    match verdict {
        Verdict::Refused(words) => {
            assert_eq!(up.code, Some(3), "{name} as {kind}: {up:?}");
            says(words);
            says("Nothing was written to it.");
        }
        Verdict::Kept => {
            assert_eq!(up.code, Some(0), "{name} as {kind}: {up:?}");
            let file = rig.path("/data/new").join(PRECIOUS);
            assert_eq!(fs::read_to_string(file).unwrap(), "precious\n", "{name} as {kind}");
        }
        Verdict::NotMounted => {
            assert_eq!(up.code, Some(1), "{name} as {kind}: {up:?}");
            says("mounting ");
        }
        Verdict::Skipped => {}
    }
}
