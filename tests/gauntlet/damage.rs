//! ext4, XFS and Btrfs that were damaged, cut, wiped or written over: refused, whatever is asked for, their own
//! type included. And disks that carry two things at once.

use crate::case::{Case, SIZE, Verdict, disk};
use crate::rig::MIB;

/// Where a filesystem has its superblock, how long that is, where in it the magic number is, and fields that
/// nothing but the checksum covers or that make no sense when they change.
struct Superblock {
    kind: &'static str,
    at: u64,
    length: u64,
    magic: u64,
    fields: [(&'static str, u64); 4],
}

const SUPERBLOCKS: [Superblock; 3] = [
    Superblock {
        kind: "ext4",
        at: 1024,
        length: 1024,
        magic: 0x38,
        fields: [("size", 0x05), ("features", 0x61), ("label", 0x78), ("checksum", 0x3FC)],
    },
    Superblock {
        kind: "xfs",
        at: 0,
        length: 512,
        magic: 0,
        fields: [("block-size", 6), ("size", 12), ("label", 108), ("checksum", 224)],
    },
    Superblock {
        kind: "btrfs",
        at: 65536,
        length: 4096,
        magic: 0x40,
        fields: [("checksum", 0), ("place", 0x31), ("size", 0x72), ("label", 0x12B)],
    },
];

pub fn cases() -> Vec<Case> {
    SUPERBLOCKS.into_iter().flat_map(damaged).chain(two()).collect()
}

fn damaged(Superblock { kind, at, length, magic, fields }: Superblock) -> Vec<Case> {
    let mkfs = format!("mkfs.{kind} -q $DISK");
    let made = |what: &str| disk(format!("{kind}-{what}")).run(&mkfs);
    let rest = format!("carries what is left of {kind}: a backup superblock is at byte ");
    let damaged = format!("carries a damaged {kind}: ");
    // Offered as something else it is that type, first of all.
    let cut = |what: &str, size| {
        let case = made(&format!("cut-{what}")).cut(size).says(format!("carries {kind} (UUID "));
        case.but_as(kind, Verdict::Refused("its end is missing".into()))
    };
    let flipped = |(field, in_it)| made(&format!("flipped-{field}")).flip(at + in_it).says(&damaged);
    let mut cases: Vec<Case> = fields.into_iter().map(flipped).collect();
    cases.extend([
        made("flipped-magic").flip(at + magic).says(&rest),
        made("zeroed-superblock").zero(at, at + length).says(&rest),
        made("zeroed-first-mib").zero(0, MIB).says(&rest),
        made("zeroed-first-8-mib").zero(0, 8 * MIB).says(&rest),
        made("random-first-mib").write(0, crate::stray::noise(1, 1 << 20)).says(&rest),
        cut("to-half", SIZE / 2),
        cut("by-a-mib", SIZE - MIB),
        made("wiped").run("wipefs --quiet --all $DISK").says(&rest),
        disk(format!("{kind}-text-over-superblock")).run(&mkfs).write(at, "a".repeat(512)).says(&rest),
    ]);
    cases
}

fn two() -> Vec<Case> {
    let which = "which of them is meant can't be told";
    let ext4 = |name: &str| disk(name).run("mkfs.ext4 -q $DISK");
    vec![
        ext4("ext4-and-btrfs").run(SUPERBLOCK_OF_BTRFS).says(which),
        ext4("ext4-and-swap").write(4086, b"SWAPSPACE2").write(1024, [1, 0, 0, 0]).says(which),
        ext4("ext4-and-lvm").run(LVM_LABEL).says(which),
        ext4("ext4-rest-and-text").zero(0, MIB).write(0, b"a note\n").says("carries what is left of ext4: "),
        disk("vfat-and-ext4").run("mkfs.vfat $DISK").run(SUPERBLOCK_OF_EXT4).says(which),
        disk("btrfs-and-iso9660").run("mkfs.btrfs -q $DISK").run(DESCRIPTORS_OF_ISO9660).says(which),
        // What was there before is not in the way of what is whole now.
        ext4("xfs-over-ext4").run("mkfs.xfs -q -f $DISK").says("carries xfs (UUID ").but_as("xfs", Verdict::Skipped),
        ext4("btrfs-over-ext4")
            .run("mkfs.btrfs -q -f $DISK")
            .says("carries btrfs (UUID ")
            .but_as("btrfs", Verdict::Skipped),
    ]
}

/// The volume's descriptors of an image, put where no Btrfs writes.
const DESCRIPTORS_OF_ISO9660: &str = "genisoimage -quiet -o $DIR/iso $FILES\n\
    dd if=$DIR/iso of=$DISK bs=1k skip=32 seek=32 count=8 conv=notrunc status=none";

/// Btrfs's superblock, where an ext4 of 1 KiB blocks has its first group's descriptors to spare.
const SUPERBLOCK_OF_BTRFS: &str = "truncate -s 384M $DIR/other\nmkfs.btrfs -q $DIR/other\n\
                                   dd if=$DIR/other of=$DISK bs=4k skip=16 seek=16 count=1 conv=notrunc status=none";

/// An ext4 superblock put into a FAT's reserved sectors, as a hybrid image has it.
const SUPERBLOCK_OF_EXT4: &str = "truncate -s 384M $DIR/other\nmkfs.ext4 -q -F $DIR/other\n\
                            dd if=$DIR/other of=$DISK bs=1k skip=1 seek=1 count=1 conv=notrunc status=none";

/// A physical volume's label put before an ext4, which does not use its first KiB.
const LVM_LABEL: &str = "truncate -s 384M $DIR/other\nOTHER=$(losetup --find --show $DIR/other)\n\
                         trap 'losetup --detach $OTHER' EXIT\npvcreate --quiet --yes --devices $OTHER $OTHER\n\
                         dd if=$OTHER of=$DISK bs=512 skip=1 seek=1 count=1 conv=notrunc status=none";
