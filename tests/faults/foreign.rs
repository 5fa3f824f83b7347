//! Half-made disks that somebody else's bytes are on too: in what the format wrote, in its record, wherever the
//! proof reads. None is formatted or taken away; each is refused and stays byte for byte what it was.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use volinit::intent::{self, Intent, List};

use crate::cuts::{SIZE, header, zero};
use crate::recorder::Event;
use crate::replay::{Chance, KINDS, Story, blank, copy, record, run};
use crate::rig::{MIB, Rig, fingerprint, tool};
use crate::tally::{Tally, long, sample};

const TEXT: &[u8] = b"the only copy of somebody's thesis";

#[test]
fn ext4_with_foreign_bytes() {
    every_place("ext4");
}

#[test]
fn xfs_with_foreign_bytes() {
    every_place("xfs");
}

#[test]
fn btrfs_with_foreign_bytes() {
    every_place("btrfs");
}

/// A half-made disk, and what its record says.
struct Half {
    image: PathBuf,
    header: u64,
    record: Intent,
    /// Sectors that the list has and that are written, or not yet.
    written: Vec<u64>,
    unwritten: Vec<u64>,
}

fn every_place(kind: &str) {
    let rig = Rig::new();
    let base = blank(&rig, SIZE);
    let (events, _) = record(&base, kind, 512);
    let story = Story { base: &base, events: &events, sector: 512, ours: events.len() };
    let (begun, at, intent) = header(&events);
    let cuts: Vec<usize> = story.cuts().into_iter().filter(|cut| *cut > begun).collect();
    // After the header, in the list, in the content, and just before the sector with the magic.
    let last = cuts.iter().position(|cut| is_at(&events[cut - 1], at) && *cut > begun + 1).unwrap() - 1;
    let mut chance = Chance::new(11);
    for (name, cut, torn) in [
        ("a header", cuts[0], false),
        ("some of a list", cuts[1], true),
        ("a list", cuts[1], false),
        ("some of the content", cuts[last / 2], true),
        ("all but the magic", cuts[last], false),
    ] {
        let image = rig.file("half", 0);
        if torn {
            story.torn(cut, &mut chance, &image);
        } else {
            story.until(cut, &image);
        }
        let half = look(&image, at, intent);
        let mut tally = Tally::new(format!(
            "foreign bytes, {kind}, on {name}: {} sectors written of {}",
            half.written.len(),
            half.written.len() + half.unwritten.len()
        ));
        for (place, offset, bytes) in places(&rig, kind, &half, &mut chance) {
            tally.add(&format!("{place} at {offset}"), refused(&rig, kind, &half, offset, &bytes).map(|()| place));
        }
        for other in KINDS {
            tally.add(&format!("a superblock of {other}"), superblock(&rig, kind, other, &half));
        }
        tally.end();
    }
}

fn is_at(event: &Event, at: u64) -> bool {
    matches!(event, Event::Write { offset, .. } if *offset == at)
}

fn look(image: &Path, header: u64, record: Intent) -> Half {
    let file = File::open(image).unwrap();
    let read = |range: Range<u64>| {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        file.read_exact_at(&mut bytes, range.start).unwrap();
        bytes
    };
    let entries = match intent::decode_list(&record, &read(record.list())) {
        List::Whole(entries) => entries,
        List::Partial => Vec::new(),
        List::Foreign(offset) => panic!("the list has a foreign byte at {offset}"),
    };
    let sectors = entries.iter().map(|entry| entry.offset);
    let (unwritten, written) = sectors.partition(|at| zero(&read(*at..*at + 512)));
    Half { image: image.to_owned(), header, record, written, unwritten }
}

/// Where foreign bytes go, and which.
fn places(rig: &Rig, kind: &str, half: &Half, chance: &mut Chance) -> Vec<(String, u64, Vec<u8>)> {
    let file = File::open(&half.image).unwrap();
    let flipped = |at: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        vec![byte[0] ^ 0x10]
    };
    let mut places = Vec::new();
    for sector in sample(&half.written, 16) {
        let at = sector + chance.below(512);
        places.push(("a flipped bit of the content".to_owned(), at, flipped(at)));
    }
    for sector in sample(&half.unwritten, 16) {
        places.push(("text where content was to come".to_owned(), sector + chance.below(400), TEXT.to_vec()));
    }
    let list: Vec<u64> = (half.record.list_start..half.record.list().end).step_by(512).collect();
    for sector in sample(&list, 8) {
        let at = sector + chance.below(512);
        places.push(("a flipped bit in the list's place".to_owned(), at, flipped(at)));
        places.push(("text in the list's place".to_owned(), sector + chance.below(400), TEXT.to_vec()));
    }
    let header: Vec<u64> = (half.header..half.header + 512).collect();
    for at in sample(&header, 16) {
        places.push(("a flipped bit of the header".to_owned(), at, flipped(at)));
    }
    let reads = proof_reads(rig, kind, &half.image);
    let ours = |at: u64| half.record.list().contains(&at) || (half.header..half.header + 512).contains(&at);
    let free = reads.iter().map(|read| read.start + chance.below(read.end - read.start)).collect::<Vec<u64>>();
    let free: Vec<u64> =
        free.into_iter().filter(|at| !ours(*at) && !half.written.contains(&(at / 512 * 512))).collect();
    for at in sample(&free, 24) {
        places.push(("a bit where the proof reads".to_owned(), at, vec![1]));
    }
    // As long a run as the proof promises to meet, anywhere.
    for _ in 0..if long() { 40 } else { 4 } {
        let at = chance.below(SIZE - MIB);
        places.push(("a thousandth of the disk".to_owned(), at, vec![0xa5; usize::try_from(SIZE / 1000).unwrap()]));
    }
    places
}

/// What a `plan` reads of the disk, by its own syscalls.
fn proof_reads(rig: &Rig, kind: &str, image: &Path) -> Vec<Range<u64>> {
    let mut machine = Rig::new();
    let disk = machine.attach(image);
    let trace = rig.file("trace", 0);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-qq", "-f", "-e", "trace=pread64", "-o"]).arg(&trace);
    strace.arg(crate::rig::VOLINIT).arg("--root").arg(machine.root());
    strace.args(["plan", "--device", disk.name(), "--mount", "/data/pg", "--fs", kind]);
    let plan = machine.run(&mut strace);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let text = fs::read_to_string(trace).unwrap();
    // 123 pread64(3, "\0"..., 65536, 1048576) = 65536, or, where another thread was in between,
    // 123 <... pread64 resumed>"\0"..., 65536, 1048576) = 65536
    let read = text.lines().filter_map(|line| {
        let (call, got) = line.rsplit_once(") = ")?;
        let start: u64 = call.rsplit_once(", ")?.1.parse().ok()?;
        let got: u64 = got.trim().parse().ok()?;
        (got > 0).then_some(start..start + got)
    });
    let mut reads: Vec<Range<u64>> = read.collect();
    reads.sort_by_key(|read| (read.start, read.end));
    reads.dedup();
    assert!(reads.len() > 300, "only {} reads were seen", reads.len());
    reads
}

/// With these bytes on it: not formatted, refused, and byte for byte as it was.
fn refused(rig: &Rig, kind: &str, half: &Half, offset: u64, bytes: &[u8]) -> Result<(), String> {
    let image = rig.file("foreign", 0);
    copy(&half.image, &image);
    File::options().write(true).open(&image).unwrap().write_all_at(bytes, offset).unwrap();
    let (code, said) = untouched(&image, kind)?;
    if code == Some(3) { Ok(()) } else { Err(format!("exit {code:?}: {said}")) }
}

/// Runs `up`; an error where it changed the disk.
fn untouched(image: &Path, kind: &str) -> Result<(Option<i32>, String), String> {
    let mut machine = Rig::new();
    let before = fingerprint(image);
    let disk = machine.attach(image);
    let up = run(&machine, &disk, kind, "up");
    let mounted = machine.mount_at("/data/pg").is_some();
    if disk.fingerprint() != before || mounted {
        return Err(format!("mounted: {mounted}, or the disk was written to: {up:?}"));
    }
    Ok((up.code, up.out))
}

fn uuid(path: &Path) -> String {
    let words = ["blkid", "--probe", "--match-tag", "UUID", "--output", "value"].map(OsStr::new);
    tool(words.into_iter().chain([path.as_os_str()]))
}

/// Somebody else's superblock put over it, in its 4 KiB. One of another type is refused; one of the type that is
/// asked for is a filesystem to mount, which the kernel says no to.
fn superblock(rig: &Rig, kind: &str, other: &str, half: &Half) -> Result<String, String> {
    let theirs = rig.file("theirs", SIZE);
    tool([&format!("mkfs.{other}"), "-q", theirs.to_str().unwrap()]);
    let at: u64 = if other == "btrfs" { 65536 } else { 0 };
    let mut bytes = vec![0; 4096];
    File::open(&theirs).unwrap().read_exact_at(&mut bytes, at).unwrap();
    let image = rig.file("foreign", 0);
    copy(&half.image, &image);
    File::options().write(true).open(&image).unwrap().write_all_at(&bytes, at).unwrap();
    if kind == other {
        // The kernel may write to what it tries to mount (XFS its log and superblock): that is no format.
        let mut machine = Rig::new();
        let disk = machine.attach(&image);
        let up = run(&machine, &disk, kind, "up");
        let still = uuid(&theirs) == uuid(&disk.device);
        let failed = up.code == Some(3) || up.code == Some(1) && up.out.contains("failed: mounting ");
        let untaken = failed && still && machine.mount_at("/data/pg").is_none();
        let exit = up.code.unwrap_or_default();
        let said = format!("superblock of the same type: exit {exit}, not formatted");
        return if untaken { Ok(said) } else { Err(format!("{up:?}")) };
    }
    match untouched(&image, kind)? {
        (Some(3), _) => Ok("superblock of another filesystem".to_owned()),
        other => Err(format!("{other:?}")),
    }
}
