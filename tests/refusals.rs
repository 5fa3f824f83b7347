//! Disks that hold something, each offered for each filesystem: refused with exit 3 and the evidence, and not
//! one byte of them changed.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use rig::{Disk, MIB, Rig, tool};

const SIZE: u64 = 384 * MIB;

/// Where ext4, XFS and Btrfs have their primary superblock, and how much of it there is to lose.
const SUPERBLOCKS: [(&str, u64, usize); 3] = [("ext4", 1024, 1024), ("xfs", 0, 512), ("btrfs", 65536, 4096)];

/// Offers the disk as each filesystem in turn, but for the one in `but`.
fn refused(rig: &Rig, disk: &Disk, but: &str, evidence: &[&str]) {
    let before = disk.fingerprint();
    for kind in ["ext4", "xfs", "btrfs"].into_iter().filter(|kind| *kind != but) {
        let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/new", "--fs", kind]);
        assert_eq!(up.code, Some(3), "as {kind}: {up:?}");
        for words in evidence.iter().chain(&["Nothing was written to it."]) {
            assert!(up.out.contains(words), "as {kind}, {words:?} is not in: {}", up.out);
        }
        assert_eq!(disk.fingerprint(), before, "as {kind}: a byte was changed");
        assert_eq!(rig.mount_at("/data/new"), None, "as {kind}: it was mounted");
    }
}

fn with(fill: impl FnOnce(&Disk), evidence: &[&str]) {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    fill(&disk);
    refused(&rig, &disk, "", evidence);
}

fn sfdisk(disk: &Disk, label: &str) {
    let script = format!("printf 'label: {label}\\n,64M\\n,\\n' | sfdisk --quiet --wipe=never {}", disk.name());
    tool(["sh", "-c", &script]);
}

fn mkfs(disk: &Disk, kind: &str) {
    tool([&format!("mkfs.{kind}"), "-q", disk.name()]);
}

#[test]
fn gpt() {
    with(|disk| sfdisk(disk, "gpt"), &["carries a partition table (gpt, at byte 512): it is not blank"]);
}

#[test]
fn mbr() {
    with(|disk| sfdisk(disk, "dos"), &["carries a partition table (dos, at byte 510)"]);
}

#[test]
fn luks() {
    let format =
        "echo secret | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000";
    with(
        |disk| drop(tool(["sh", "-c", &format!("{format} {} -", disk.name())])),
        &["carries an encrypted volume (crypto_LUKS, at byte 0)"],
    );
}

#[test]
fn lvm() {
    with(
        |disk| drop(tool(["pvcreate", "--quiet", "--yes", "--config", "devices/use_devicesfile=0", disk.name()])),
        &["carries a member of a RAID or of a volume group (LVM2_member, at byte 536)"],
    );
}

#[test]
fn swap() {
    with(|disk| drop(tool(["mkswap", disk.name()])), &["carries something of another program's (swap, at byte 4086)"]);
}

#[test]
fn other_filesystems() {
    with(|disk| drop(tool(["mkfs.vfat", disk.name()])), &["carries a filesystem (vfat"]);
    with(|disk| mkfs(disk, "ext3"), &["carries a filesystem (ext3, at byte 1080)"]);
}

#[test]
fn one_of_ours_where_another_is_asked_for() {
    for (kind, ..) in SUPERBLOCKS {
        let mut rig = Rig::new();
        let disk = rig.disk(SIZE);
        mkfs(&disk, kind);
        let way_out = format!("say `type: {kind}` under `filesystem`");
        refused(&rig, &disk, kind, &[&format!("carries {kind} (UUID "), ", but the config says ", &way_out]);
    }
}

#[test]
fn two_signatures() {
    let mut rig = Rig::new();
    let (disk, other) = (rig.disk(SIZE), rig.disk(SIZE));
    mkfs(&disk, "ext4");
    mkfs(&other, "btrfs");
    disk.write_at(65536, &other.read_at(65536, 4096));
    refused(
        &rig,
        &disk,
        "",
        &[
            "a filesystem (ext4, at byte 1080) and a filesystem (btrfs, at byte 65600)",
            "which of them is meant can't be told",
        ],
    );
}

#[test]
fn one_flipped_byte_in_the_superblock() {
    for (kind, at, length) in SUPERBLOCKS {
        let mut rig = Rig::new();
        let disk = rig.disk(SIZE);
        mkfs(&disk, kind);
        // Not the magic: a byte in the middle, which nothing but the checksum covers.
        let flipped = at + length as u64 / 2 + 100;
        let byte = disk.read_at(flipped, 1)[0];
        disk.write_at(flipped, &[byte ^ 0x10]);
        let damaged = format!("carries a damaged {kind}: ");
        refused(&rig, &disk, "", &[&damaged, "checksum", "Take a snapshot or a copy, then `"]);
    }
}

#[test]
fn a_zeroed_superblock_with_backups() {
    for ((kind, at, length), repair) in
        SUPERBLOCKS.into_iter().zip(["`e2fsck -b ", "`xfs_repair ", "`btrfs rescue super-recover "])
    {
        let mut rig = Rig::new();
        let disk = rig.disk(SIZE);
        mkfs(&disk, kind);
        disk.write_at(at, &vec![0; length]);
        refused(
            &rig,
            &disk,
            "",
            &[&format!("carries what is left of {kind}: a backup superblock is at byte "), repair],
        );
    }
}

#[test]
fn wiped_signatures() {
    for (kind, ..) in SUPERBLOCKS {
        with(
            |disk| {
                mkfs(disk, kind);
                tool(["wipefs", "--quiet", "--all", disk.name()]);
            },
            &[],
        );
    }
}

#[test]
fn random_bytes_anywhere() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let noise: Vec<u8> =
        (0..8 * MIB).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 | 1).collect();
    let zeros = vec![0; noise.len()];
    // One byte at either end, and what is promised to be found wherever it is: 8 MiB of a disk of 512.
    refuse_bytes(&rig, &disk, 0, &[1]);
    refuse_bytes(&rig, &disk, SIZE - 1, &[1]);
    for at in (0..13).map(|part| part * (SIZE / 13 + 511)).filter(|at| at + 8 * MIB <= SIZE) {
        refuse_bytes(&rig, &disk, at, &noise);
        disk.write_at(at, &zeros);
    }
}

fn refuse_bytes(rig: &Rig, disk: &Disk, at: u64, bytes: &[u8]) {
    disk.write_at(at, bytes);
    let before = disk.fingerprint();
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/new"]);
    assert_eq!(up.code, Some(3), "{} bytes at {at}: {up:?}", bytes.len());
    assert!(up.out.contains("is not blank: there is no signature on it, but there is data at byte "), "{}", up.out);
    assert_eq!(disk.fingerprint(), before);
    disk.write_at(at, &vec![0; bytes.len()]);
}

#[test]
fn a_filesystem_larger_than_its_disk() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    mkfs(&disk, "ext4");
    std::fs::File::options().write(true).open(&disk.file).unwrap().set_len(SIZE / 2).unwrap();
    tool(["losetup", "--set-capacity", disk.name()]);
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/new"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("is smaller (192 MiB) than the ext4 on it (384 MiB): its end is missing"), "{}", up.out);
}

#[test]
fn a_read_only_disk() {
    let mut rig = Rig::new();
    let file = rig.file("disk", SIZE);
    let disk = rig.losetup(&file, &["--read-only"]);
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/new"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("is blank, and it is read-only"), "{}", up.out);
}

#[test]
fn a_disk_in_use() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    mkfs(&disk, "ext4");
    let elsewhere = rig.path("/elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    tool(["mount".as_ref(), disk.device.as_os_str(), elsewhere.as_os_str()]);
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/new"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("is already mounted, at ROOT/elsewhere"), "{}", up.out);

    // Another disk's mount on the mount point.
    let other = rig.disk(SIZE);
    let up = rig.volinit(&["up", "--device", other.name(), "--mount", "/elsewhere"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("/elsewhere already has something else mounted on it"), "{}", up.out);
    assert_eq!(other.fingerprint(), rig::fingerprint(&rig.file("zeros", SIZE)), "it was written to");
}

#[test]
fn a_mount_point_with_files_in_it() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    rig.write("/data/postgres/PG_VERSION", "15\n");
    let config = |nonempty| {
        format!(
            "volumes:\n  postgres:\n    source: {{ device: {} }}\n    mount: {{ at: /data/postgres, nonempty: {nonempty} }}\n",
            disk.name()
        )
    };
    rig.config(&config(false));
    let before = disk.fingerprint();
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("/data/postgres is not empty (it has `PG_VERSION` in it"), "{}", up.out);
    assert_eq!(disk.fingerprint(), before);

    rig.config(&config(true));
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    rig.unmount("/data/postgres");
    assert_eq!(rig.read("/data/postgres/PG_VERSION"), "15\n");
}

#[test]
fn a_link_in_place_of_the_mount_point() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    std::fs::create_dir_all(rig.path("/data")).unwrap();
    std::os::unix::fs::symlink("/tmp", rig.path("/data/postgres")).unwrap();
    let up = rig.volinit(&["up", "--device", disk.name(), "--mount", "/data/postgres"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("is reached through the link ROOT/data/postgres"), "{}", up.out);
}

#[test]
fn a_volume_id_that_the_disk_does_not_report() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    // A stale by-id link, as aws-ebs-csi-driver#1224 met it; in a folder of the test's own.
    let links = rig.links();
    let link = links.path().join("nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0");
    std::os::unix::fs::symlink(&disk.device, &link).unwrap();
    let up = rig.volinit(&["up", "--device", link.to_str().unwrap(), "--mount", "/data/pg"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    assert!(up.out.contains("reports no EBS serial: it is not vol-0123456789abcdef0"), "{}", up.out);
}
