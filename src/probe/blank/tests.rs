//! The proof of zeros: its plan of reads, against stand-ins that fail, and against what real tools leave.
#![expect(clippy::cast_possible_truncation, clippy::single_range_in_vec_init, clippy::large_stack_arrays)]

use std::ops::Range;
use std::sync::Mutex;

use nix::errno::Errno;
use proptest::prelude::*;

use super::*;
use crate::probe::images::Image;
use crate::probe::superblock::{self, Finding};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A disk that is zero but in places, and cannot be read in others.
#[derive(Default)]
struct Fake {
    size: u64,
    set: Vec<Range<u64>>,
    errors: Option<(Range<u64>, Errno)>,
    short: Option<u64>,
    seen: Mutex<Vec<(u64, usize)>>,
    takes: Duration,
    /// Reads under way, and the most of them that there were.
    busy: Mutex<(usize, usize)>,
}

impl ReadAt for Fake {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert_eq!((buffer.as_ptr() as usize % 4096, buffer.len() % 4096, offset % 4096), (0, 0, 0), "O_DIRECT");
        self.seen.lock().unwrap().push((offset, buffer.len()));
        if self.takes > Duration::ZERO {
            let change = |by: isize| {
                let mut busy = self.busy.lock().unwrap();
                busy.0 = busy.0.checked_add_signed(by).unwrap();
                busy.1 = busy.1.max(busy.0);
            };
            change(1);
            thread::sleep(self.takes);
            change(-1);
        }
        let end = self.size.min(offset + buffer.len() as u64);
        if let Some((_, errno)) = self.errors.as_ref().filter(|(bad, _)| bad.start < end && offset < bad.end) {
            return Err((*errno).into());
        }
        let end = end.min(self.short.unwrap_or(end).max(offset));
        let length = (end - offset) as usize;
        buffer[..length].fill(0);
        for set in &self.set {
            let (from, to) = (set.start.max(offset), set.end.min(end));
            if from < to {
                buffer[(from - offset) as usize..(to - offset) as usize].fill(0xA5);
            }
        }
        Ok(length)
    }
}

fn fake(size: u64) -> Fake {
    Fake { size, ..Fake::default() }
}

fn data_at(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Data { offset, .. } => Some(*offset),
        Verdict::Zeros(_) | Verdict::Unreadable { .. } => None,
    }
}

fn met(regions: &[Range<u64>], run: &Range<u64>) -> bool {
    regions.iter().any(|region| region.start < run.end && run.start < region.end)
}

proptest! {
    #[test]
    fn a_thousandth_of_any_disk_is_met(size in prop_oneof![1..1000 * MIB, 1..20 * TIB, 1..u64::MAX >> 1], at: u64) {
        let regions = regions(size, &[]);
        let sorted = regions.windows(2).all(|pair| pair[0].end < pair[1].start);
        prop_assert!(sorted && regions.iter().all(|region| region.start < region.end && region.start % PAGE == 0));
        prop_assert_eq!(regions[0].start, 0);
        prop_assert_eq!(regions[regions.len() - 1].end, size);
        let (reads, bytes) = (regions.len(), regions.iter().map(|region| region.end - region.start).sum::<u64>());
        prop_assert!(reads < 2000 && bytes <= 512 * MIB, "{} reads, {} bytes", reads, bytes);

        let length = (size / 1000).max(1);
        let start = at % (size - length + 1);
        prop_assert!(met(&regions, &(start..start + length)));
    }

    #[test]
    fn any_byte_of_a_small_disk_is_met(size in 1..=512 * MIB, at: u64) {
        prop_assert!(met(&regions(size, &[]), &(at % size..at % size + 1)));
    }
}

#[test]
fn places_that_tell_are_read() {
    for (size, at, length) in [
        (512 * MIB, 512 * MIB - 512, 512),
        (512 * MIB, 4 * MIB, 512),
        (512 * MIB, 64 * MIB, 4096),
        (512 * MIB, 8193 * 1024, 1024),
        (512 * MIB, 49 * 8192 * 1024 + 1024, 1024),
        (512 * MIB, 128 * MIB, 4096),
        (TIB, 32 * 125 * MIB, 2048),
        (TIB, 343 * 128 * MIB, 4096),
        (TIB, 8191 * 128 * MIB, 4096),
        (TIB, 256 * GIB, 4096),
        (TIB, 3 * TIB / 32, 4096),
        (5 * TIB, 3 * (TIB - 4096), 4096),
        (TIB + 512, TIB, 512),
    ] {
        let whole = regions(size, &[]).iter().any(|region| region.start <= at && at + length <= region.end);
        assert!(whole, "{at} of {size}");
    }
}

#[test]
fn what_shares_a_page_with_ours_is_read() {
    // Between two of the samples.
    let (size, at) = (2 * GIB, GIB + 16 * PAGE);
    let ours = [at + 1024..at + 1536, at + PAGE..at + 3 * PAGE, at + 5 * PAGE..at + 6 * PAGE + 512];
    let ends = [at..at + 1024, at + 1536..at + PAGE, at + 6 * PAGE + 512..at + 7 * PAGE];
    assert!(!ends.iter().any(|end| met(&regions(size, &[]), end)), "a sample lies there");
    for end in ends {
        for byte in [end.start, end.end - 1] {
            let disk = Fake { set: vec![byte..byte + 1], ..fake(size) };
            assert_eq!(data_at(&prove_with(&disk, size, &ours)), Some(byte));
        }
    }
    let disk = Fake { set: ours.to_vec(), ..fake(size) };
    assert!(matches!(prove_with(&disk, size, &ours), Verdict::Zeros(_)));
}

#[test]
fn zeros_are_proved_with_aligned_reads() {
    for size in [1, 511, 512, 4096, MIB + 512, 64 * MIB, 64 * MIB + 1, 200 * MIB + 512, 64 * TIB, 1 << 62] {
        let disk = fake(size);
        let Verdict::Zeros(proof) = prove_with(&disk, size, &[]) else { panic!("{size}") };
        assert_eq!(proof.reads, disk.seen.into_inner().unwrap().len());
        assert!(proof.bytes_read.0 <= size);
    }
}

#[test]
fn a_disk_without_a_size_is_not_blank() {
    assert!(matches!(prove_with(&fake(0), 0, &[]), Verdict::Unreadable { offset: 0, .. }));
}

#[test]
fn the_lowest_byte_is_told() {
    let size = 512 * MIB;
    for (set, expected) in [
        (vec![0..1], 0),
        (vec![size - 1..size], size - 1),
        (vec![100..101, 4097..4098, size - 5..size], 100),
        (vec![65 * MIB..200 * MIB, 300 * MIB..301 * MIB], 0),
    ] {
        let disk = Fake { set: set.clone(), ..fake(size) };
        let found = data_at(&prove_with(&disk, size, &[])).unwrap();
        let first = set[0].start;
        let sampled = set[0].end - first > MIB;
        assert!(if sampled { (first..first + MIB).contains(&found) } else { found == expected }, "{set:?}: {found}");
    }
}

#[test]
fn the_lowest_of_long_and_short_reads_is_told() {
    let size = 2 * GIB;
    let sample = regions(size, &[]).into_iter().find(|region| region.start > GIB).unwrap().start;
    let (head, tail) = (MIB..MIB + 1, size - 1..size);
    for (set, lowest) in [
        (vec![sample..sample + 1, tail.clone()], sample),
        (vec![head.clone(), sample..sample + 1], head.start),
        (vec![tail.clone()], tail.start),
    ] {
        let disk = Fake { set, ..fake(size) };
        assert_eq!(data_at(&prove_with(&disk, size, &[])), Some(lowest));
    }
}

#[test]
fn more_threads_read_a_slow_disk() {
    let size = 2 * GIB;
    for (takes, expected) in [(Duration::from_nanos(1), 1..=FEW), (Duration::from_millis(2), FEW + 1..=MANY)] {
        let disk = Fake { takes, ..fake(size) };
        assert!(matches!(prove_with(&disk, size, &[]), Verdict::Zeros(_)));
        let busy = disk.busy.into_inner().unwrap().1;
        assert!(expected.contains(&busy), "{busy} reads at once, where each takes {takes:?}");
    }
}

#[test]
fn every_read_that_fails_is_told() {
    let size = 100 * MIB + 512;
    // However long the reads are, the place is told as closely as this.
    let reads: Vec<_> = regions(size, &[]).into_iter().flat_map(|region| pieces(region, PIECE)).collect();
    for read in reads.iter().step_by(3).chain(reads.last()) {
        for errno in [Errno::EIO, Errno::ENODATA] {
            let disk = Fake { errors: Some((read.end - 1..read.end, errno)), ..fake(size) };
            let expected = Verdict::Unreadable { offset: read.start, error: io::Error::from(errno).into() };
            assert_eq!(prove_with(&disk, size, &[]), expected);
        }
        let disk = Fake { short: Some(read.end - 1), ..fake(size) };
        let Verdict::Unreadable { offset, error } = prove_with(&disk, size, &[]) else { panic!("{read:?}") };
        assert_eq!((offset, error.errno), (read.start, None));
    }
    let disk = Fake { errors: Some((0..size, Errno::EIO)), ..fake(size) };
    assert!(matches!(prove_with(&disk, size, &[]), Verdict::Unreadable { offset: 0, .. }));
}

#[test]
fn data_below_an_error_is_told_and_above_it_is_not() {
    let size = 512 * MIB;
    let disk = |at| Fake { set: vec![at..at + 1], errors: Some((MIB..MIB + 1, Errno::EIO)), ..fake(size) };
    assert_eq!(data_at(&prove_with(&disk(5), size, &[])), Some(5));
    assert!(matches!(prove_with(&disk(3 * MIB), size, &[]), Verdict::Unreadable { .. }));
}

fn found(image: &Image) -> Option<Found> {
    let size = image.open().metadata().unwrap().len();
    match prove(&image.open(), Bytes(size), &[]) {
        Verdict::Data { found, .. } => Some(found),
        Verdict::Zeros(_) => None,
        Verdict::Unreadable { offset, error } => panic!("{offset}: {error}"),
    }
}

#[test]
fn a_real_file_is_read_whatever_its_size() {
    for size in [1, 512, 5000, 65 * MIB, 65 * MIB + 512, 65 * MIB + 77] {
        let image = Image::blank(size);
        assert_eq!(found(&image), None, "{size}");
        image.write(size - 1, &[1]);
        let verdict = prove(&image.open(), Bytes(size), &[]);
        assert_eq!(verdict, Verdict::Data { offset: size - 1, found: Found::Bytes });
    }
}

#[test]
fn the_descriptor_is_as_it_was() {
    let file = Image::blank(MIB).open();
    let flags = || nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let before = flags();
    prove(&file, Bytes(MIB), &[]);
    assert_eq!(flags(), before);
}

#[test]
fn a_device_of_another_size_is_not_proved() {
    for size in [0, MIB - 512, MIB + 512] {
        assert!(matches!(prove(&Image::blank(MIB).open(), Bytes(size), &[]), Verdict::Unreadable { .. }), "{size}");
    }
}

/// Filesystems whose primary superblock is gone, zeroed or by `wipefs -a`. The repair is told, and it works.
#[test]
fn a_lost_filesystem_is_told_with_the_command_that_brings_it_back() {
    for (kind, size, tool, repair) in [
        (FsType::Ext4, 700 * MIB, "mkfs.ext4 -q -F", "e2fsck -b 32768 -B 4096 DEVICE"),
        (FsType::Ext4, 100 * MIB, "mkfs.ext4 -q -F -b 1024", "e2fsck -b 8193 -B 1024 DEVICE"),
        (FsType::Ext4, 100 * MIB, "mkfs.ext4 -q -F -b 2048 -O ^metadata_csum", "e2fsck -b 16384 -B 2048 DEVICE"),
        (FsType::Ext4, 3 * GIB, "mkfs.ext4 -q -F -b 4096 -O bigalloc", "e2fsck -b 524288 -B 4096 DEVICE"),
        (FsType::Ext4, 700 * MIB, "mkfs.ext4 -q -F -O sparse_super2,^resize_inode", "e2fsck -b 32768 -B 4096 DEVICE"),
        (FsType::Xfs, 320 * MIB, "mkfs.xfs -q", "xfs_repair DEVICE"),
        (FsType::Xfs, 100 * GIB, "mkfs.xfs -q -d agcount=16", "xfs_repair DEVICE"),
        (FsType::Btrfs, 320 * MIB, "mkfs.btrfs -q", "btrfs rescue super-recover DEVICE"),
    ] {
        for wipe in ["wipefs -qa", "zeros"] {
            let image = Image::made(size, tool);
            match (wipe, kind) {
                ("zeros", FsType::Ext4) => image.write(0, &[0; 2048]),
                ("zeros", FsType::Xfs) => image.write(0, &[0; 512]),
                ("zeros", FsType::Btrfs) => image.write(65536, &[0; 4096]),
                (wipefs, _) => image.run(wipefs),
            }
            let Some(Found::Backup { kind: told, repair: command, .. }) = found(&image) else {
                panic!("{tool}, {wipe}: {:?}", found(&image))
            };
            let wiped_btrfs = kind == FsType::Btrfs && wipe != "zeros";
            let repair = if wiped_btrfs { "btrfs-select-super -s 1 DEVICE" } else { repair };
            assert_eq!((told, command.as_str()), (kind, repair), "{tool}, {wipe}");
            // The same without questions, and on a file.
            let answers =
                [("e2fsck", "e2fsck -y"), ("xfs_repair", "xfs_repair -f"), ("recover", "recover -y"), (DEVICE, "@")];
            image.run(&answers.iter().fold(command, |command, (from, to)| command.replace(from, to)));
            let back = superblock::find(kind, &image.read(0, superblock::HEAD), 0);
            assert!(matches!(back, Finding::Superblock(_)), "{tool}, {wipe}: {back:?}");
        }
    }
}

#[test]
fn a_last_backup_is_enough() {
    let image = Image::made(700 * MIB, "mkfs.ext4 -q -F -O sparse_super2,^resize_inode");
    let zeros = vec![0; 640 * MIB as usize];
    image.write(0, &zeros);
    let Some(Found::Backup { repair, .. }) = found(&image) else { panic!() };
    assert_eq!(repair, "e2fsck -b 163840 -B 4096 DEVICE");
}

#[test]
fn other_traces_are_named() {
    type Make = fn(&Image);
    let size = 100 * MIB;
    let end = |back: u64| size - back;
    let cases: [(&str, Make, u64, &str); 6] = [
        ("sgdisk -n 1:0:0", |image| image.write(0, &[0; 64 * 1024]), end(512), "a GPT backup header"),
        (
            "true",
            |image| image.write((100 << 20) - 65536, &[0xFC, 0x4E, 0x2B, 0xA9]),
            end(65536),
            "the superblock of a Linux software RAID",
        ),
        (
            "true",
            |image| image.write((100 << 20) - 8192, &[0xFC, 0x4E, 0x2B, 0xA9]),
            end(8192),
            "the superblock of a Linux software RAID",
        ),
        (
            "cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 @ -",
            |image| image.write(0, &[0; 4096]),
            16384,
            "a second LUKS2 header",
        ),
        ("mkfs.ext2 -q -F", |image| image.write(0, &[0; 4096]), 8193 * 1024, "a backup superblock of ext2 or ext3"),
        (
            "mkfs.ext3 -q -F -b 4096 -g 8192",
            |image| image.write(0, &[0; 4096]),
            32 << 20,
            "a backup superblock of ext2 or ext3",
        ),
    ];
    for (tool, spoil, at, expected) in cases {
        let image = Image::made(size, tool);
        spoil(&image);
        let Some(Found::Trace { what, offset, .. }) = found(&image) else { panic!("{tool}: {:?}", found(&image)) };
        assert_eq!((what, offset), (expected, at), "{tool}");
    }
}

/// What `wipefs -a` leaves of anything is no blank disk.
#[test]
fn wiped_is_not_blank() {
    for tool in [
        "mkfs.vfat",
        "mkswap",
        "sgdisk -n 1:0:0",
        "mkfs.ext2 -q -F",
        "cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 @ -",
        "cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 @ -",
    ] {
        let image = Image::made(100 * MIB, tool);
        assert!(found(&image).is_some(), "{tool}");
        image.run("wipefs -qa");
        // wipefs leaves nothing of a swap area's page but its UUID and version, and so of each a little.
        assert!(found(&image).is_some(), "{tool}, wiped");
    }
}
