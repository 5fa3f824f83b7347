//! Partition tables: whole, in part, and of other machines.

use crate::case::{BYTES, Case, SIZE, disk};

const GPT: &str = "printf 'label: gpt\\n,64M\\n,\\n' | sfdisk --quiet --no-tell-kernel $DISK";
const MBR: &str = "printf 'label: dos\\n,64M\\n,\\n' | sfdisk --quiet --no-tell-kernel $DISK";

pub fn cases() -> Vec<Case> {
    let gpt = "a partition table (gpt, at byte 512)";
    let mbr = "a partition table (dos, at byte 510)";
    let backup = "a GPT backup header is at byte 402652672";
    let parted = |label: &str| format!("parted --script $IMAGE mklabel {label}");
    vec![
        disk("gpt").run(GPT).says(gpt).head("a partition table (gpt").tail(backup),
        disk("gpt-empty").run("echo 'label: gpt' | sfdisk --quiet --no-tell-kernel $DISK").says(gpt),
        disk("gpt-128-partitions")
            .run("for i in $(seq 128); do set -- \"$@\" -n $i:0:+2M; done; sgdisk \"$@\" $DISK")
            .says(gpt),
        disk("gpt-hybrid").run("sgdisk -n 1:0:+64M -n 2:0:0 -h 1:2 $DISK").says("a partition table ("),
        disk("gpt-protective-mbr-only").run(GPT).zero(512, SIZE).says("a partition table (PMBR"),
        disk("gpt-backup-only").run(GPT).zero(0, 17408).says(backup),
        disk("gpt-backup-and-protective-mbr").run(GPT).zero(512, 17408).says("a partition table (gpt"),
        disk("gpt-corrupt-primary").run(GPT).flip(512 + 24).says("a partition table (gpt"),
        disk("gpt-corrupt-entries").run(GPT).flip(1024 + 32).says("a partition table (gpt"),
        disk("gpt-both-corrupt").run(GPT).flip(512 + 24).flip(SIZE - 512 + 24).says("a partition table (PMBR"),
        disk("gpt-entries-only").run(GPT).zero(0, 1024).zero(SIZE - 17408, SIZE).says(BYTES),
        disk("gpt-wiped").run(format!("{GPT}\nwipefs --quiet --all $DISK")).says(BYTES),
        disk("gpt-of-4k-sectors").run(GPT_4K).says("a partition table (PMBR"),
        disk("gpt-with-an-ext4-in-it").run(format!("{GPT}\n{IN_PARTITION}")).says(gpt),
        disk("mbr").run(MBR).says(mbr),
        disk("mbr-empty").run("echo 'label: dos' | sfdisk --quiet --no-tell-kernel $DISK").says(mbr),
        disk("mbr-logical")
            .run("printf 'label: dos\\n,64M,E\\n,32M\\n,16M\\n' | sfdisk --quiet --no-tell-kernel $DISK")
            .says(mbr),
        disk("mbr-wiped").run(format!("{MBR}\nwipefs --quiet --all $DISK")).says(BYTES),
        disk("mbr-with-boot-code").write(0, b"\xeb\x63\x90GRUB").run(MBR).says(mbr),
        disk("mbr-zeroed-with-an-ext4-in-it").run(format!("{MBR}\n{IN_PARTITION}")).zero(0, 512).says(BYTES),
        disk("boot-code-without-a-table").write(0, b"\xeb\x63\x90GRUB").write(510, b"\x55\xaa").says("is not blank"),
        disk("bsd").run(parted("bsd")).says(BYTES),
        disk("bsd-in-mbr").run(format!("{MBR}\nsfdisk --quiet --no-tell-kernel --part-type $DISK 1 a5")).says(mbr),
        disk("mac").run(parted("mac")).says("a partition table (mac"),
        disk("sun").run(parted("sun")).says("a partition table (sun"),
        disk("sun-sfdisk").run("printf 'label: sun\\n,64M\\n' | sfdisk --quiet --no-tell-kernel $DISK").says("(sun"),
        disk("sgi").run(parted("dvh")).says("a partition table (sgi"),
        disk("sgi-sfdisk").run("printf 'label: sgi\\n,64M\\n' | sfdisk --quiet --no-tell-kernel $DISK").says("(sgi"),
        disk("atari").run(format!("{}\n{ATARI}", parted("atari"))).says("a partition table (atari"),
        disk("amiga").run(parted("amiga")).says(BYTES),
        disk("pc98").run(parted("pc98")).says("is not blank"),
        disk("partition-loop-label").run(parted("loop")).says("is not blank"),
        // sfdisk writes the table's entries over ext4's superblock; of an MBR it stays clear.
        disk("gpt-over-ext4").run("mkfs.ext4 -q -b 4096 $DISK 95000").run(GPT).says(gpt),
        disk("mbr-over-ext4").run("mkfs.ext4 -q $DISK").run(MBR).says("which of them is meant can't be told"),
    ]
}

/// The second partition, from 65 MiB on, through a loop device of its own.
const IN_PARTITION: &str = "PART=$(losetup --find --show --offset $((65 << 20)) $DISK)\n\
                            mkfs.ext4 -q $PART\nlosetup --detach $PART";

const GPT_4K: &str = "PART=$(losetup --find --show --sector-size 4096 $DISK)\n\
                      echo 'label: gpt' | sfdisk --quiet --no-tell-kernel $PART\nlosetup --detach $PART";

/// libparted's label has no partition until one is made, and is known by its partitions.
const ATARI: &str = "parted --script $IMAGE mkpart primary ext2 10MB 100MB";
