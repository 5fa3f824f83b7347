//! libblkid, against what the real tools write.

use std::process::Command;

use super::*;
use crate::probe::images::Image;

const MIB: u64 = 1 << 20;
const LUKS: &str = "cryptsetup -q luksFormat --pbkdf-force-iterations 1000";

fn asked(image: &Image) -> Signatures {
    signatures(&image.open()).unwrap()
}

fn kinds(image: &Image) -> Vec<(String, Usage)> {
    asked(image).found.into_iter().map(|signature| (signature.kind, signature.usage)).collect()
}

#[test]
fn everything_is_recognised_once() {
    for (tool, kind, usage) in [
        ("mkfs.ext4 -q -F", "ext4", Usage::Filesystem),
        ("mkfs.ext3 -q -F", "ext3", Usage::Filesystem),
        ("mkfs.ext2 -q -F", "ext2", Usage::Filesystem),
        ("mke2fs -q -F -O journal_dev", "jbd", Usage::Other),
        ("mkfs.xfs -q", "xfs", Usage::Filesystem),
        ("mkfs.xfs -q -m crc=0", "xfs", Usage::Filesystem),
        ("mkfs.btrfs -q", "btrfs", Usage::Filesystem),
        ("mkfs.btrfs -q --csum xxhash", "btrfs", Usage::Filesystem),
        ("mkfs.vfat", "vfat", Usage::Filesystem),
        ("mkswap", "swap", Usage::Other),
        (&format!("{LUKS} --type luks1 @ -"), "crypto_LUKS", Usage::Crypto),
        (&format!("{LUKS} --type luks2 --pbkdf pbkdf2 @ -"), "crypto_LUKS", Usage::Crypto),
        ("sgdisk -n 1:0:0", "gpt", Usage::PartitionTable),
    ] {
        let image = Image::made(320 * MIB, tool);
        let signatures = asked(&image);
        assert_eq!(kinds(&image), [(kind.to_owned(), usage)], "{tool}");
        assert!(!signatures.ambivalent, "{tool}");
        assert!(!signatures.found[0].bad_checksum, "{tool}");
        assert!(signatures.found[0].offset.is_some(), "{tool}");
    }
}

#[test]
fn what_needs_a_block_device_is_recognised() {
    let image = Image::blank(64 * MIB);
    let losetup = |args: &[&str]| {
        let output = Command::new("/usr/sbin/losetup").args(args).output().expect("losetup, of the package mount");
        assert!(output.status.success(), "losetup {args:?} (this test needs root): {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let path = image.path();
    let device = losetup(&["-f", "--show", path.to_str().unwrap()]);
    let output =
        Command::new("/usr/sbin/pvcreate").args(["-qy", &device]).output().expect("pvcreate, of the package lvm2");
    let block = signatures(&File::open(&device).unwrap());
    losetup(&["-d", &device]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(block.unwrap(), asked(&image));
    assert_eq!(kinds(&image), [("LVM2_member".to_owned(), Usage::Raid)]);
}

#[test]
fn tables_and_raids_written_by_hand_are_recognised() {
    let mbr = Image::blank(64 * MIB);
    // One Linux partition: type 0x83, from sector 2048, 32768 long; then the boot signature.
    mbr.write(446, &[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x80, 0, 0]);
    mbr.write(510, &[0x55, 0xAA]);
    assert_eq!(kinds(&mbr), [("dos".to_owned(), Usage::PartitionTable)]);

    // drivers/md: `mdp_superblock_s` 0.90 and `mdp_superblock_1` 1.0 and 1.2, as far as libblkid reads them.
    let magic = [0xFC, 0x4E, 0x2B, 0xA9];
    let old = Image::blank(64 * MIB);
    old.write(64 * MIB - 65536, &magic);
    old.write(64 * MIB - 65536 + 8, &[90]);
    assert_eq!(kinds(&old), [("linux_raid_member".to_owned(), Usage::Raid)]);
    for at in [64 * MIB - 8192, 4096] {
        let new = Image::blank(64 * MIB);
        new.write(at, &magic);
        new.write(at + 4, &[1]);
        new.write(at + 144, &(at / 512).to_le_bytes());
        assert_eq!(kinds(&new), [("linux_raid_member".to_owned(), Usage::Raid)], "{at}");
    }
}

#[test]
fn labels_and_uuids_are_read() {
    let uuid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let image = Image::made(64 * MIB, &format!("mkfs.ext4 -q -F -L PostgreSQL -U {uuid}"));
    let found = &asked(&image).found[0];
    assert_eq!((found.label.as_deref(), found.uuid.as_deref()), (Some("PostgreSQL"), Some(uuid)));
    assert_eq!(found.offset, Some(1080));

    // Latin-1 in a label: no text, still a signature.
    let image = Image::made(64 * MIB, "mkfs.ext4 -q -F -O ^metadata_csum");
    image.write(1024 + 0x78, b"Gr\xF6\xDFe");
    assert_eq!(kinds(&image), [("ext4".to_owned(), Usage::Filesystem)]);
}

#[test]
fn a_wrong_checksum_does_not_hide_a_superblock() {
    for (tool, label, kind) in
        [("mkfs.ext4 -q -F", 1024 + 0x78, "ext4"), ("mkfs.xfs -q", 108, "xfs"), ("mkfs.btrfs -q", 65536 + 299, "btrfs")]
    {
        let image = Image::made(320 * MIB, tool);
        image.flip(label);
        // Whether `bad_checksum` is set is the library's version: 2.38 does not compare these.
        assert_eq!(kinds(&image), [(kind.to_owned(), Usage::Filesystem)], "{tool}");
    }
}

#[test]
fn two_claims_are_ambivalent() {
    let two = Image::made(64 * MIB, "mkfs.ext4 -q -F");
    two.write(0, &Image::made(320 * MIB, "mkfs.xfs -q").read(0, 512));
    let signatures = asked(&two);
    assert!(signatures.ambivalent);
    assert_eq!(signatures.found.len(), 2, "{signatures:?}");

    // libblkid itself is content with the RAID here.
    let raid = Image::made(64 * MIB, "mkfs.ext4 -q -F");
    raid.write(64 * MIB - 65536, &[0xFC, 0x4E, 0x2B, 0xA9, 0, 0, 0, 0, 90]);
    assert!(asked(&raid).ambivalent);

    let table = Image::made(64 * MIB, "mkfs.ext4 -q -F -E nodiscard");
    table.write(446, &[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x80, 0, 0]);
    table.write(510, &[0x55, 0xAA]);
    assert!(asked(&table).ambivalent);
}

#[test]
fn nothing_is_told_from_failure() {
    assert_eq!(asked(&Image::blank(MIB)), Signatures::default());
    for size in [0, 512, 1024] {
        let error = signatures(&Image::blank(size).open()).unwrap_err();
        assert!(matches!(error, ProbeError::TooSmall(told) if told == size.cast_signed()), "{size}: {error}");
    }
    // A folder, and a file that is open for writing only: libblkid cannot read them.
    assert!(signatures(&File::open("/tmp").unwrap()).is_err());
    let image = Image::blank(MIB);
    let unreadable = File::options().write(true).open(image.path()).unwrap();
    assert!(matches!(signatures(&unreadable), Err(ProbeError::Failed { .. })));
}
