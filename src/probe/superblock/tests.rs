//! The parsers, against what the real tools write.

use proptest::prelude::*;

use super::*;
use crate::probe::images::Image;

const NOW: u64 = 4_000_000_000;
const MIB: u64 = 1 << 20;
const UUID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

fn head(image: &Image) -> Vec<u8> {
    image.read(0, HEAD)
}

fn ours(kind: FsType, label: &str, size: u64, block_size: u32) -> Finding {
    let (uuid, label, size) = (UUID.into(), label.into(), Bytes(size));
    let group_overhead = Bytes(0);
    Finding::Superblock(Superblock { kind, uuid, label, size, block_size, group_overhead, state: State::Clean })
}

fn without_overhead(finding: Finding) -> Finding {
    match finding {
        Finding::Superblock(found) => Finding::Superblock(Superblock { group_overhead: Bytes(0), ..found }),
        other => other,
    }
}

#[test]
fn filesystems_are_read_as_they_were_made() {
    use FsType::{Btrfs, Ext4, Xfs};
    const EXT4: &str = "mkfs.ext4 -q -F -U 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    const XFS: &str = "mkfs.xfs -q";
    const BTRFS: &str = "mkfs.btrfs -q -U 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    // mkfs.btrfs 6.2 takes 255 and writes 254.
    let long = "l".repeat(254);
    for (kind, tool, options, label, block_size) in [
        (Ext4, EXT4, "", "", 1024),
        (Ext4, EXT4, "-b 4096 -L sixteen-letters_", "sixteen-letters_", 4096),
        (Ext4, EXT4, "-b 4096 -O ^metadata_csum -L old", "old", 4096),
        (Ext4, EXT4, "-O ^64bit -b 2048", "", 2048),
        (Ext4, EXT4, "-b 1024", "", 1024),
        (Ext4, EXT4, "-b 4096 -O bigalloc", "", 4096),
        (Ext4, EXT4, "-O bigalloc -b 1024 -C 16384", "", 1024),
        (Ext4, EXT4, "-b 4096 -O metadata_csum_seed,sparse_super2,^resize_inode -g 8192", "", 4096),
        (Ext4, EXT4, "-b 4096 -O ^has_journal", "", 4096),
        (Xfs, XFS, "-m uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "", 4096),
        (Xfs, XFS, "-m uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 -L twelve-chars", "twelve-chars", 4096),
        (Xfs, XFS, "-m crc=0,uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 -L old", "old", 4096),
        (Xfs, XFS, "-m uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 -s size=4096", "", 4096),
        (Xfs, XFS, "-m uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 -b size=1024", "", 1024),
        (Btrfs, BTRFS, "", "", 4096),
        (Btrfs, BTRFS, &format!("-L {long}"), &long, 4096),
        (Btrfs, BTRFS, "--csum xxhash -L PostgreSQL", "PostgreSQL", 4096),
        (Btrfs, BTRFS, "--csum sha256", "", 4096),
        (Btrfs, BTRFS, "--mixed -s 4096", "", 4096),
    ] {
        let image = Image::made(320 * MIB, &format!("{tool} {options}"));
        let found: Vec<Finding> = find_all(&head(&image), NOW).into_iter().map(without_overhead).collect();
        assert_eq!(found, [ours(kind, label, 320 * MIB, block_size)], "{tool} {options}");
        let short = image.read(0, 70 * 1024);
        assert_ne!(find(kind, &short, NOW), Finding::Absent, "{tool} {options}, of a small device");
    }
}

#[test]
fn a_device_of_many_says_its_own_size() {
    let (first, second) = (Image::blank(300 * MIB), Image::blank(200 * MIB));
    first.run(&format!("mkfs.btrfs -q -d single @ {}", second.path().display()));
    for (image, size) in [(first, 300 * MIB), (second, 200 * MIB)] {
        let Finding::Superblock(found) = find(FsType::Btrfs, &head(&image), NOW) else { panic!() };
        assert_eq!(found.size, Bytes(size));
    }
}

#[test]
fn relatives_of_ext4_are_not_ext4() {
    for tool in ["mkfs.ext2 -q -F", "mkfs.ext3 -q -F", "mke2fs -q -F -r 0 -t ext2", "mke2fs -q -F -O journal_dev"] {
        let image = Image::made(64 * MIB, tool);
        assert_eq!(find_all(&head(&image), NOW), [], "{tool}");
    }
}

#[test]
fn ext4_asks_for_a_check_where_e2fsck_would_make_one() {
    let day = 86400;
    let checked_2020 = 1_577_836_800;
    for (tool, now, expected) in [
        ("tune2fs -C 30 -c 20", NOW, "has been mounted 30 times without a check"),
        ("tune2fs -C 19 -c 20", NOW, ""),
        ("tune2fs -C 30 -c -1", NOW, ""),
        ("tune2fs -i 90d -T 20200101000000", checked_2020 + 92 * day, "has gone 9"),
        ("tune2fs -i 90d -T 20200101000000", checked_2020 + 80 * day, ""),
        ("tune2fs -i 90d -T 20200101000000", 0, ""),
        ("tune2fs -E force_fsck", NOW, "has recorded errors"),
        ("true", NOW, ""),
    ] {
        let image = Image::made(64 * MIB, "mkfs.ext4 -q -F");
        image.run(tool);
        let Finding::Superblock(found) = find(FsType::Ext4, &head(&image), now) else { panic!("{tool}") };
        match (found.state, expected) {
            (State::Clean, "") => {}
            (State::NeedsCheck { reason }, expected) if !expected.is_empty() && reason.starts_with(expected) => {}
            (state, _) => panic!("{tool}: {state:?}"),
        }
    }
}

#[test]
fn what_a_block_group_of_an_ext4_needs_is_counted() {
    // An inode table of 8192 inodes, and of 32768 large ones; the rest is bitmaps, descriptors and 50 blocks.
    for (options, table) in [("-i 16384", 2 * MIB), ("-i 4096 -I 1024", 32 * MIB)] {
        let image = Image::made(512 * MIB, &format!("mkfs.ext4 -q -F -b 4096 {options}"));
        let Finding::Superblock(found) = find(FsType::Ext4, &head(&image), NOW) else { panic!() };
        let rest = found.group_overhead.0 - table;
        assert!((MIB / 4..2 * MIB).contains(&rest), "{options}: {rest}");
    }
}

#[test]
fn the_last_mount_of_an_ext4_is_read() {
    let image = Image::made(64 * MIB, "mkfs.ext4 -q -F");
    assert_eq!(ext4::last_mount(&head(&image)), 0, "never");
    image.write(1024 + 0x2C, &4_070_908_800_u32.to_le_bytes());
    assert_eq!(ext4::last_mount(&head(&image)), 4_070_908_800);
    image.write(1024 + 0x275, &[1]);
    assert_eq!(ext4::last_mount(&head(&image)), 4_070_908_800 + (1 << 32));
    assert_eq!(ext4::last_mount(&[]), 0);
}

#[test]
fn an_ext4_without_a_journal_says_that_it_was_not_unmounted() {
    let image = Image::made(64 * MIB, "mkfs.ext4 -q -F -O ^metadata_csum");
    image.write(1024 + 0x3A, &[0, 0]);
    let unclean = head(&image);
    let Finding::Superblock(found) = find(FsType::Ext4, &unclean, NOW) else { panic!() };
    assert_eq!(found.state, State::NeedsCheck { reason: "was not cleanly unmounted".into() });
    assert!(!ext4::awaits_replay(&unclean));

    // With a journal to be replayed, the mount does it.
    let mut recovering = unclean;
    recovering[1024 + 0x60] |= 4;
    let Finding::Superblock(found) = find(FsType::Ext4, &recovering, NOW) else { panic!() };
    assert_eq!(found.state, State::Clean);
    assert!(ext4::awaits_replay(&recovering));
}

#[test]
fn no_flipped_byte_is_believed() {
    for (kind, tool, superblock) in [
        (FsType::Ext4, "mkfs.ext4 -q -F", 1024..2048),
        (FsType::Xfs, "mkfs.xfs -q", 0..512),
        (FsType::Btrfs, "mkfs.btrfs -q", 65536..65536 + 4096),
    ] {
        let whole = head(&Image::made(320 * MIB, tool));
        let magic = match kind {
            FsType::Ext4 => 1080..1082,
            FsType::Xfs => 0..4,
            FsType::Btrfs => 65600..65608,
        };
        // The first 4 of Btrfs's 32 bytes for a checksum are crc32c's; nobody reads the others.
        for at in superblock.filter(|at| !(65540..65568).contains(at)) {
            let mut head = whole.clone();
            head[at] ^= 0x10;
            match find(kind, &head, NOW) {
                Finding::Damaged { kind: told, .. } => assert_eq!(told, kind),
                Finding::Absent if magic.contains(&at) => {}
                // ro_compat: without metadata_csum there is no checksum to compare, for the kernel either.
                Finding::Superblock(_) if kind == FsType::Ext4 && at == 1024 + 0x65 => {}
                other => panic!("{kind}, byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let mut head = head(&Image::made(64 * MIB, "mkfs.ext4 -q -F"));
    head[1024 + 0x78] ^= 1;
    let Finding::Damaged { evidence, .. } = find(FsType::Ext4, &head, NOW) else { panic!() };
    assert!(evidence.starts_with("ext4 superblock at byte 1024: checksum 0x"), "{evidence}");
    assert!(evidence.ends_with(" was expected"), "{evidence}");
}

/// Changes bytes and makes the checksum right again.
fn edited(kind: FsType, tool: &str, at: usize, bytes: &[u8]) -> Finding {
    let mut head = head(&Image::made(320 * MIB, tool));
    head[at..at + bytes.len()].copy_from_slice(bytes);
    match kind {
        FsType::Ext4 => {
            let crc = !crc32c::crc32c(&head[1024..2044]);
            head[2044..2048].copy_from_slice(&crc.to_le_bytes());
        }
        FsType::Xfs => {
            head[224..228].fill(0);
            let crc = crc32c::crc32c(&head[..512]);
            head[224..228].copy_from_slice(&crc.to_le_bytes());
        }
        FsType::Btrfs => {
            let crc = crc32c::crc32c(&head[65536 + 32..65536 + 4096]);
            head[65536..65540].copy_from_slice(&crc.to_le_bytes());
        }
    }
    find(kind, &head, NOW)
}

#[test]
fn what_a_right_checksum_does_not_make_sane_is_damage() {
    let (ext4, xfs, btrfs) = ("mkfs.ext4 -q -F", "mkfs.xfs -q", "mkfs.btrfs -q");
    for (kind, tool, at, bytes, expected) in [
        (FsType::Ext4, ext4, 1024 + 0x18, &[7, 0, 0, 0][..], "block size 1024 << 7"),
        (FsType::Ext4, ext4, 1024 + 0x04, &[0; 4], "0 blocks"),
        (FsType::Ext4, ext4, 1024 + 0x20, &[0; 4], "0 blocks a group"),
        (FsType::Ext4, ext4, 1024 + 0x28, &[0; 4], "0 inodes a group"),
        (FsType::Ext4, ext4, 1024 + 0x58, &[77, 0], "inodes of 77 bytes"),
        (FsType::Ext4, ext4, 1024 + 0x175, &[2], "checksum type 2"),
        (FsType::Ext4, ext4, 1024 + 0x150, &[0xFF; 4], "18446744069414"),
        (FsType::Xfs, xfs, 126, &[1], "mkfs.xfs was interrupted"),
        (FsType::Xfs, xfs, 219, &[0x10], "it is marked as in need of xfs_repair"),
        (FsType::Xfs, xfs, 101, &[0xA6], "version 6"),
        (FsType::Xfs, xfs, 121, &[12], "sector size 512, its logarithm 12"),
        (FsType::Xfs, xfs, 4, &[0, 0, 0x18, 0], "block size 6144"),
        (FsType::Xfs, xfs, 88, &[0; 4], "81920 blocks, in 0 allocation groups"),
        (FsType::Xfs, xfs, 8, &[0xFF; 8], "18446744073709551615 blocks"),
        (FsType::Btrfs, btrfs, 65600, b"!", "mkfs.btrfs was interrupted"),
        (FsType::Btrfs, btrfs, 65536 + 50, &[0, 4], "it says that it belongs at byte 67108864"),
        (FsType::Btrfs, btrfs, 65536 + 136, &[0], "it has no devices"),
        (FsType::Btrfs, btrfs, 65536 + 144, &[1], "sector size 4097"),
        (FsType::Btrfs, btrfs, 65536 + 196, &[9], "checksum type 9"),
        (FsType::Btrfs, btrfs, 65536 + 209, &[0; 8], "its device has 0 bytes"),
    ] {
        let Finding::Damaged { evidence, .. } = edited(kind, tool, at, bytes) else { panic!("{kind}: {expected}") };
        assert!(evidence.contains(&format!(": {expected}")), "{evidence}");
    }
}

#[test]
fn a_large_size_takes_all_its_bits() {
    let Finding::Superblock(found) = edited(FsType::Ext4, "mkfs.ext4 -q -F", 1024 + 0x150, &[1]) else { panic!() };
    assert_eq!(found.size, Bytes(((1 << 32) * 1024) + 320 * MIB));
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(
        mut head in proptest::collection::vec(any::<u8>(), 0..4096),
        magic in 0..4u8,
        at in prop_oneof![Just(0usize), Just(1080), Just(64)],
    ) {
        let magic: &[u8] = [&b"XFSB"[..], &[0x53, 0xEF], b"_BHRfS_M", b"!BHRfS_M"][usize::from(magic)];
        if let Some(place) = head.get_mut(at..at + magic.len()) {
            place.copy_from_slice(magic);
        }
        find_all(&head, NOW);
        ext4::backup(&head);
        btrfs::is_mirror(&head, 0);
        let far = [vec![0; 65536], head].concat();
        find_all(&far, NOW);
    }

    #[test]
    fn no_superblock_without_a_checksum_makes_a_parser_panic(
        changes in proptest::collection::vec((0usize..512, any::<u8>()), 1..40),
        now: u64,
        cut in 0..HEAD,
    ) {
        static WHOLE: std::sync::LazyLock<[Vec<u8>; 3]> = std::sync::LazyLock::new(|| [
            head(&Image::made(64 * MIB, "mkfs.ext4 -q -F -O ^metadata_csum")),
            head(&Image::made(320 * MIB, "mkfs.xfs -q -m crc=0")),
            head(&Image::made(128 * MIB, "mkfs.btrfs -q --csum xxhash")),
        ]);
        for (whole, start) in WHOLE.iter().zip([1024, 0, 65536]) {
            let mut head = whole.clone();
            for (at, byte) in &changes {
                head[start + at] = *byte;
            }
            find_all(&head, now);
            find_all(&head[..cut], now);
        }
    }
}
