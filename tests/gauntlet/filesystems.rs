//! Filesystems of every other kind that Debian 12 can make, and a few that it can't, each by its signature:
//! refused whatever is asked for. Of some the head alone, or the tail.

use crate::case::{BYTES, Case, SIZE, disk};
use crate::rig::MIB;
use Ends::{Both, Head, Small};

/// What there is at a disk's ends.
enum Ends {
    /// All of it is in the first MiB.
    Small,
    /// The first MiB is not all of it; the last is zeros.
    Head,
    /// Both; and what the last says alone.
    Both(&'static str),
}

/// Name, the line that makes it, the words, and its ends. A head alone says what the whole says.
const MADE: [(&str, &str, &str, Ends); 39] = [
    ("vfat-12", "mkfs.vfat -F 12 -s 64 $DISK 100000", "a filesystem (vfat", Small),
    ("vfat-16", "mkfs.vfat -F 16 $DISK", "a filesystem (vfat", Small),
    ("vfat-32", "mkfs.vfat -F 32 $DISK", "a filesystem (vfat", Small),
    // Without the mark of a PC, libblkid does not know it.
    ("vfat-atari", "mkfs.vfat -A -F 16 $DISK 16384", BYTES, Small),
    ("exfat", "mkfs.exfat $DISK", "a filesystem (exfat, at byte 3)", Head),
    ("ntfs", "mkfs.ntfs -q -F -Q $DISK", "a filesystem (ntfs, at byte 3)", Both(BYTES)),
    ("f2fs", "mkfs.f2fs -q $DISK", "a filesystem (f2fs, at byte 1024)", Head),
    (
        "f2fs-extra",
        "mkfs.f2fs -q -O extra_attr,inode_checksum,sb_checksum,compression $DISK",
        "a filesystem (f2fs",
        Head,
    ),
    ("nilfs2", "mkfs.nilfs2 -q $DISK", "a filesystem (nilfs2, at byte 1030)", Both("(nilfs2")),
    ("jfs", "mkfs.jfs -q $DISK", "a filesystem (jfs, at byte 32768)", Both(BYTES)),
    ("reiserfs", "mkfs.reiserfs -q -f $DISK", "a filesystem (reiserfs, at byte 65588)", Head),
    ("reiserfs-3.5", "mkfs.reiserfs -q -f --format 3.5 $DISK", "a filesystem (reiserfs", Head),
    ("reiser4", "mkfs.reiser4 -f -y $DISK", "a filesystem (reiser4, at byte 65536)", Both(BYTES)),
    ("udf", "mkfs.udf $DISK", "a filesystem (udf", Both(BYTES)),
    ("udf-1.02", "mkfs.udf --udfrev 1.02 $DISK", "a filesystem (udf", Both(BYTES)),
    ("udf-2k-blocks", "mkfs.udf --blocksize 2048 $DISK", "a filesystem (udf", Both(BYTES)),
    ("udf-dvd-rw", "mkfs.udf --media-type dvdrw $DISK", "a filesystem (udf", Both(BYTES)),
    (
        "iso9660",
        "genisoimage -quiet -o $DIR/iso $FILES\ncp $DIR/iso $DISK",
        "a filesystem (iso9660, at byte 32769)",
        Head,
    ),
    ("iso9660-joliet", "genisoimage -quiet -J -r -o $DIR/iso $FILES\ncp $DIR/iso $DISK", "a filesystem (iso9660", Head),
    (
        "iso9660-xorriso",
        "xorriso -report_about SORRY -outdev $DIR/iso -map $FILES /\ncp $DIR/iso $DISK",
        "a filesystem (iso9660",
        Head,
    ),
    ("squashfs", "mksquashfs $FILES $DISK -noappend -quiet -no-progress", "a filesystem (squashfs, at byte 0)", Head),
    ("squashfs-zstd", "mksquashfs $FILES $DISK -noappend -quiet -comp zstd", "a filesystem (squashfs", Head),
    ("erofs", "mkfs.erofs $DIR/image $FILES\ncp $DIR/image $DISK", "a filesystem (erofs, at byte 1024)", Head),
    ("erofs-lz4", "mkfs.erofs -zlz4 $DIR/image $FILES\ncp $DIR/image $DISK", "a filesystem (erofs", Head),
    ("minix-1", "mkfs.minix -1 $DISK 60000", "a filesystem (minix, at byte 1040)", Small),
    ("minix-2", "mkfs.minix -2 $DISK", "a filesystem (minix, at byte 1040)", Head),
    ("minix-3", "mkfs.minix -3 $DISK", "a filesystem (minix, at byte 1048)", Head),
    ("cramfs", "mkfs.cramfs $FILES $DIR/image\ncp $DIR/image $DISK", "a filesystem (cramfs, at byte 0)", Head),
    ("romfs", "genromfs -f $DIR/image -d $FILES\ncp $DIR/image $DISK", "a filesystem (romfs, at byte 0)", Head),
    ("bfs", "mkfs.bfs $DISK", "a filesystem (bfs, at byte 0)", Small),
    ("gfs2", "mkfs.gfs2 -q -O -p lock_nolock -j 1 -J 8 $DISK", "a filesystem (gfs2, at byte 65536)", Head),
    ("ocfs2", "mkfs.ocfs2 --quiet -M local -N 1 $DISK", "a filesystem (ocfs2, at byte ", Head),
    ("hfs", "hformat $DISK 0", "a filesystem (hfs, at byte 1024)", Both(BYTES)),
    ("apfs", "mkapfs $DISK", "a filesystem (apfs, at byte 32)", Head),
    ("ufs1", "makefs -t ffs -s 64m $DIR/image $FILES\ncp $DIR/image $DISK", "a filesystem (ufs, at byte ", Head),
    (
        "ufs2",
        "makefs -t ffs -o version=2 -s 64m $DIR/image $FILES\ncp $DIR/image $DISK",
        "a filesystem (ufs, at byte ",
        Head,
    ),
    (
        "ubifs",
        "mkfs.ubifs -r $FILES -m 2048 -e 126976 -c 100 -o $DIR/image\ncp $DIR/image $DISK",
        "a filesystem (ubifs, at byte 0)",
        Head,
    ),
    ("jffs2", "mkfs.jffs2 -r $FILES -o $DIR/image\ncp $DIR/image $DISK", BYTES, Head),
    (
        "cd9660-makefs",
        "makefs -t cd9660 $DIR/image $FILES\ncp $DIR/image $DISK",
        "a filesystem (iso9660, at byte 32769)",
        Head,
    ),
];

pub fn cases() -> Vec<Case> {
    let made = MADE.into_iter().map(|(name, line, words, ends)| {
        let case = disk(name).run(line).says(words);
        match ends {
            Small => case,
            Head => case.head(words),
            Both(tail) => case.head(words).tail(tail),
        }
    });
    made.chain(by_hand()).collect()
}

/// What no tool of Debian 12 makes: the fields that libblkid 2.38 goes by (libblkid/src/superblocks/NAME.c),
/// and no more.
fn by_hand() -> Vec<Case> {
    vec![
        disk("hfsplus").write(1024, hfsplus()).says("a filesystem (hfsplus"),
        // zonefs_format.h, `struct zonefs_super`.
        disk("zonefs").write(0, b"SFOZ").says("a filesystem (zonefs, at byte 0)"),
        disk("vxfs").write(1024, b"\xf5\xfc\x01\xa5\x04").says("a filesystem (vxfs, at byte 1024)"),
        disk("refs").write(0, b"\0\0\0ReFS\0").says("a filesystem (ReFS, at byte 0)"),
        disk("vmfs").write(2 * MIB, b"\x5e\xf1\xab\x2f").says("(VMFS, at byte 2097152)"),
        // Linux, fs/bcachefs/bcachefs_format.h: `BCHFS_MAGIC`, 24 bytes into the superblock at 4 KiB; libblkid
        // knows it from 2.39 on, so here it is bytes.
        disk("bcachefs")
            .write(4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef")
            .says("is not blank"),
        disk("hpfs-boot-code").write(0, b"\xeb\x3c\x90OS2 20.0").says(BYTES),
        disk("qnx4").write(4, b"QNX4FS").says(BYTES),
        disk("wim-at-the-tail").write(SIZE - 208, b"MSWIM\0\0\0").says(BYTES),
    ]
}

/// Apple's TN1150, `HFSPlusVolumeHeader`: signature, version, a block size, a catalog of one extent.
fn hfsplus() -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(b"H+\0\x04");
    header[40..44].copy_from_slice(&4096u32.to_be_bytes());
    header[44..48].copy_from_slice(&98304u32.to_be_bytes());
    header
}
