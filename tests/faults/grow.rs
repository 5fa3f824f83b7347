//! A power cut at each write of an `up` that grows a filesystem with files in it: all of them are there after the
//! next one, and the filesystem is whole and as large as its disk.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cuts::SIZE;
use crate::recorder::Event;
use crate::replay::{Chance, Story, blank, record, recovers, run, stands, unmount};
use crate::rig::Rig;
use crate::tally::{Tally, long, sample};

/// Enough for folders and extents that a grow has to leave alone.
const FILES: u64 = 300;

#[test]
fn ext4_with_files_grows() {
    every_cut("ext4");
}

#[test]
fn xfs_with_files_grows() {
    every_cut("xfs");
}

#[test]
fn btrfs_with_files_grows() {
    every_cut("btrfs");
}

fn every_cut(kind: &str) {
    let rig = Rig::new();
    let base = with_files(&rig, kind);
    fs::File::options().write(true).open(&base).unwrap().set_len(2 * SIZE).unwrap();
    let (events, during) = record(&base, kind, 512);
    let story = Story { base: &base, events: &events, sector: 512, ours: 0 };
    let writes = |part: &[Event]| part.iter().filter(|event| matches!(event, Event::Write { .. })).count();
    let mut tally = Tally::new(format!(
        "grow, {kind}, with {FILES} files: {} writes and {} flushes until it was unmounted, of which {} writes are `up`'s",
        writes(&events),
        story.flushes(),
        writes(&events[..during]),
    ));
    let image = rig.file("cut", 0);
    let look = |top: &Path| {
        assert!(as_written(top), "{kind}: a file is not as it was");
        let size = nix::sys::statvfs::statvfs(top).unwrap();
        assert!(size.blocks() * size.fragment_size() > SIZE * 3 / 2, "{kind}: it was not grown");
    };
    let (up, after): (Vec<usize>, Vec<usize>) = story.cuts().into_iter().partition(|cut| *cut <= during);
    for cut in sample(&up, 40).into_iter().chain(sample(&after, 4)) {
        story.until(cut, &image);
        tally.add(&format!("cut after event {cut}"), recovers(&image, kind, 512, look));
    }
    let mut chance = Chance::new(3);
    for round in 0..if long() { 8 } else { 1 } {
        for cut in sample(&up, 20) {
            story.torn(cut, &mut chance, &image);
            tally.add(&format!("torn at event {cut}, round {round}"), recovers(&image, kind, 512, look));
        }
    }
    tally.end();
}

/// A filesystem of ours with files that were synced, unmounted.
fn with_files(rig: &Rig, kind: &str) -> PathBuf {
    let base = blank(rig, SIZE);
    let mut machine = Rig::new();
    let disk = machine.attach(&base);
    let up = run(&machine, &disk, kind, "up");
    stands(&machine, &disk, kind, &up).unwrap();
    let top = machine.path("/data/pg");
    for number in 0..FILES {
        let (path, content) = file(&top, number);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    unmount(&machine, &disk);
    base
}

/// Its path and what is in it: from nothing to 64 KiB.
fn file(top: &Path, number: u64) -> (PathBuf, Vec<u8>) {
    let mut chance = Chance::new(1000 + number);
    let magnitude = chance.below(17);
    let length = chance.below(1 << magnitude);
    let content = (0..length).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
    (top.join(format!("folder-{}/file-{number}", number % 7)), content)
}

fn as_written(top: &Path) -> bool {
    (0..FILES).all(|number| {
        let (path, content) = file(top, number);
        fs::read(path).is_ok_and(|found| found == content)
    })
}
