//! Whole filesystems of the types that volinit makes, as old, as new and as odd as mkfs makes them: kept where
//! that type is asked for, refused where another is. And their heads and tails alone.

use crate::case::{BYTES, Case, Verdict, disk};

/// ext4 by its options. The last column: whether a kernel that has ext4 mounts it, which is not so for a block
/// larger than a page, nor for encodings and quotas where the kernel was built without.
const EXT4: [(&str, &str, bool); 20] = [
    ("ext4", "", true),
    ("ext4-1k-blocks", "-b 1024", true),
    ("ext4-2k-blocks", "-b 2048", true),
    ("ext4-4k-blocks", "-b 4096", true),
    ("ext4-64k-blocks", "-F -b 65536", false),
    ("ext4-no-journal", "-O ^has_journal", true),
    ("ext4-no-checksums", "-O ^metadata_csum,uninit_bg", true),
    ("ext4-32-bit", "-O ^64bit", true),
    ("ext4-bigalloc", "-b 4096 -O bigalloc -C 65536", true),
    ("ext4-meta-bg", "-O meta_bg,^resize_inode", true),
    ("ext4-inline-data", "-I 256 -O inline_data", true),
    ("ext4-sparse-super2", "-O sparse_super2", true),
    ("ext4-no-sparse-super", "-O ^sparse_super,^resize_inode", true),
    ("ext4-quota", "-O quota,project -I 256", false),
    ("ext4-multi-mount-protection", "-O mmp", true),
    ("ext4-encrypt-verity", "-b 4096 -O encrypt,verity,stable_inodes", true),
    ("ext4-casefold", "-O casefold -E encoding=utf8", false),
    ("ext4-orphan-file", "-O orphan_file", true),
    ("ext4-no-flex-bg", "-O ^flex_bg", true),
    ("ext4-large-dirs-and-attributes", "-O large_dir,ea_inode", true),
];

const XFS: [(&str, &str); 12] = [
    ("xfs", ""),
    ("xfs-no-reflink", "-m reflink=0"),
    ("xfs-rmapbt", "-m rmapbt=1"),
    ("xfs-no-finobt", "-m finobt=0,inobtcount=0,reflink=0"),
    ("xfs-no-bigtime", "-m bigtime=0,inobtcount=0"),
    ("xfs-1k-blocks", "-b size=1024"),
    ("xfs-2k-inodes", "-i size=2048"),
    ("xfs-4k-sectors", "-s size=4096"),
    ("xfs-3-groups", "-d agcount=3"),
    ("xfs-striped", "-d su=64k,sw=4,agcount=4"),
    ("xfs-no-sparse-inodes", "-i sparse=0"),
    ("xfs-8k-directory-blocks", "-n size=8192"),
];

const BTRFS: [(&str, &str); 8] = [
    ("btrfs", ""),
    ("btrfs-xxhash", "--csum xxhash"),
    ("btrfs-sha256", "--csum sha256"),
    ("btrfs-blake2", "--csum blake2"),
    ("btrfs-mixed", "--mixed"),
    ("btrfs-single", "--metadata single --data single"),
    ("btrfs-4k-nodes", "--nodesize 4k"),
    ("btrfs-old-format", "--features ^no-holes,^extref,^skinny-metadata --runtime-features ^free-space-tree"),
];

const A_FILE: &str = "mount $DISK $DIR\necho precious > $DIR/precious\numount $DIR";

pub fn cases() -> Vec<Case> {
    let made = |kind: &'static str, name: &str, options: &str, file: &str| {
        disk(name).run(format!("mkfs.{kind} -q {options} $DISK\n{file}")).says(format!("carries {kind} (UUID "))
    };
    let ext4 = EXT4.into_iter().map(|(name, options, mounts)| {
        let (file, own) = if mounts { (A_FILE, Verdict::Kept) } else { ("", Verdict::Skipped) };
        made("ext4", name, options, file).but_as("ext4", own)
    });
    let xfs = XFS.map(|(name, options)| made("xfs", name, options, A_FILE).but_as("xfs", Verdict::Kept));
    let btrfs = BTRFS.map(|(name, options)| made("btrfs", name, options, A_FILE).but_as("btrfs", Verdict::Kept));
    ext4.chain(xfs).chain(btrfs).chain(edges()).chain(relatives()).collect()
}

/// What survives at the head is a superblock that nothing is wrong with: that the rest is gone is seen by
/// mount(2), and by nobody before. But for XFS, which clears its log and writes its superblock before it reads the
/// first group that is missing (Linux 6.18), so that a mount that fails has changed the disk all the same.
fn edges() -> Vec<Case> {
    let whole = |kind| disk(format!("{kind}-only")).run(format!("mkfs.{kind} -q $DISK"));
    vec![
        whole("ext4").head("carries ext4 (UUID ").but_as("ext4", Verdict::NotMounted),
        whole("xfs").head("carries a damaged xfs: its allocation group 1 has no superblock, at byte "),
        whole("btrfs").head("carries btrfs (UUID ").but_as("btrfs", Verdict::NotMounted),
    ]
}

/// What is ext or Btrfs by its magic number, and not what volinit makes.
fn relatives() -> Vec<Case> {
    vec![
        disk("ext2").run("mkfs.ext2 -q $DISK").says("a filesystem (ext2, at byte 1080)"),
        disk("ext2-revision-0").run("mkfs.ext2 -q -r 0 -b 1024 $DISK").says("a filesystem (ext2, at byte 1080)"),
        disk("ext2-hurd").run("mkfs.ext2 -q -o hurd -b 4096 $DISK").says("a filesystem (ext2, at byte 1080)"),
        disk("ext3").run("mkfs.ext3 -q $DISK").says("a filesystem (ext3, at byte 1080)"),
        disk("ext3-1k-blocks").run("mkfs.ext3 -q -b 1024 $DISK").says("a filesystem (ext3, at byte 1080)"),
        disk("ext-journal-device").run("mkfs.ext4 -q -b 4096 -O journal_dev $DISK").says("(jbd, at byte "),
        disk("ext2-zeroed-superblock")
            .run("mkfs.ext2 -q $DISK")
            .zero(1024, 2048)
            .says("a backup superblock of ext2 or ext3 is at byte "),
        // The other half is not there at boot: mount(2) has to fail, and volinit with it.
        disk("btrfs-raid1-first")
            .run(format!("{OTHER}mkfs.btrfs -q -d raid1 -m raid1 $DISK $OTHER"))
            .says("carries btrfs (UUID ")
            .but_as("btrfs", Verdict::NotMounted),
        disk("btrfs-raid1-second")
            .run(format!("{OTHER}mkfs.btrfs -q -d raid1 -m raid1 $OTHER $DISK"))
            .says("carries btrfs (UUID ")
            .but_as("btrfs", Verdict::NotMounted),
        // Without checksums, and deprecated: a kernel may be built without it.
        disk("xfs-v4")
            .run("mkfs.xfs -q -m crc=0,finobt=0,rmapbt=0,reflink=0 -f $DISK")
            .says("carries xfs (UUID ")
            .but_as("xfs", Verdict::Skipped),
        disk("btrfs-seed")
            .run(format!("mkfs.btrfs -q $DISK\n{A_FILE}\nbtrfstune -S 1 $DISK"))
            .says("carries btrfs (UUID ")
            .but_as("btrfs", Verdict::Skipped),
        disk("xfs-log-device").run(LOG_DEVICE).says("(xfs_external_log, at byte 0)"),
        disk("xfs-with-its-log-elsewhere")
            .run(format!("{OTHER}mkfs.xfs -q -l logdev=$OTHER,size=64m $DISK"))
            .says("carries xfs (UUID ")
            .but_as("xfs", Verdict::NotMounted),
        disk("xfs-realtime-device").run(REALTIME_DEVICE).says(BYTES),
    ]
}

/// A second disk for the tools that want one.
const OTHER: &str = "truncate -s 384M $DIR/other\nOTHER=$(losetup --find --show $DIR/other)\n\
                   trap 'losetup --detach $OTHER' EXIT\n";

const LOG_DEVICE: &str = "truncate -s 384M $DIR/other\nOTHER=$(losetup --find --show $DIR/other)\n\
                          trap 'losetup --detach $OTHER' EXIT\nmkfs.xfs -q -l logdev=$DISK,size=64m $OTHER";

/// mkfs.xfs leaves a realtime device as it was, so a file's blocks are put on it by hand.
const REALTIME_DEVICE: &str = "dd if=$FILES/base of=$DISK bs=64k seek=1000 conv=notrunc status=none";
