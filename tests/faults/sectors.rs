//! A half-made disk that comes back with logical sectors of another size, as a copy on another disk does: its format
//! is taken away and made anew, cut off again or not; and whoever's bytes share a sector with ours are kept.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use volinit::intent::Intent;

use crate::cuts::{copied, header};
use crate::recorder::Event;
use crate::replay::{Chance, KINDS, Story, blank, copy, record, recovers, run};
use crate::rig::{MIB, Rig, fingerprint};
use crate::tally::{Tally, sample};

/// Larger than what is read whole.
const LARGE: u64 = 2048 * MIB;

#[test]
fn ext4_on_other_sectors() {
    every_cut("ext4", 512, 4096);
    every_cut("ext4", 4096, 512);
}

#[test]
fn xfs_on_other_sectors() {
    every_cut("xfs", 512, 4096);
    every_cut("xfs", 4096, 512);
}

#[test]
fn btrfs_on_other_sectors() {
    every_cut("btrfs", 512, 4096);
    every_cut("btrfs", 4096, 512);
}

/// A format of which all may be cut, and where its parts end.
struct Format {
    events: Vec<Event>,
    header: Range<u64>,
    record: Intent,
    /// After the header, the list, the content.
    flushed: [usize; 3],
}

fn format(base: &std::path::Path, kind: &str, sector: usize) -> Format {
    let (events, _) = record(base, kind, sector);
    let (begun, at, intent) = header(&events);
    let flushes = events.iter().enumerate().filter(|(at, event)| *at > begun && matches!(event, Event::Flush));
    let flushes: Vec<usize> = flushes.map(|(at, _)| at).collect();
    Format { events, header: at..at + sector as u64, record: intent, flushed: [flushes[0], flushes[1], flushes[2]] }
}

fn every_cut(kind: &str, made: usize, seen: usize) {
    let rig = Rig::new();
    let base = blank(&rig, crate::cuts::SIZE);
    let first = format(&base, kind, made);
    let story = Story { base: &base, events: &first.events, sector: made, ours: first.events.len() };
    let [_, list_end, content_end] = first.flushed;
    // With its magic it is a filesystem, and whether one of other sectors can be mounted is the kernel's.
    let cuts: Vec<usize> = story.cuts().into_iter().filter(|cut| *cut <= content_end).collect();
    let mut tally = Tally::new(format!("first format, {kind}, on sectors of {made}, then seen with {seen}"));
    let image = rig.file("cut", 0);
    let mut chance = Chance::new(23);
    for cut in sample(&cuts, 6) {
        story.until(cut, &image);
        tally.add(&format!("cut after event {cut}"), recovers(&image, kind, seen, |_| {}));
        story.torn(cut, &mut chance, &image);
        tally.add(&format!("torn at event {cut}"), recovers(&image, kind, seen, |_| {}));
    }
    tally.end();

    let half = rig.file("half", 0);
    for (name, cut, torn) in [("some of a list", list_end, true), ("all but the magic", content_end, false)] {
        if torn {
            story.torn(cut, &mut chance, &half);
        } else {
            story.until(cut, &half);
        }
        let (events, _) = record(&half, kind, seen);
        let again = Story { base: &half, events: &events, sector: seen, ours: copied(&events) };
        let (begun, ..) = header(&events);
        let undo: Vec<usize> = again.cuts().into_iter().filter(|cut| *cut <= begun + 1).collect();
        let title = format!("undo, {kind}, {name}, of sectors of {made} on {seen}: {} writes", undo.len() - 1);
        let mut tally = Tally::new(title);
        for cut in sample(&undo, 6) {
            again.until(cut, &image);
            tally.add(&format!("cut after event {cut}"), recovers(&image, kind, seen, |_| {}));
            again.torn(cut, &mut chance, &image);
            tally.add(&format!("torn at event {cut}"), recovers(&image, kind, seen, |_| {}));
        }
        tally.end();
    }
}

/// On a disk of which only samples are read: a byte that is not ours in a sector that is to be taken away with what
/// is ours.
#[test]
fn a_byte_that_shares_a_sector_with_ours_is_refused() {
    for kind in KINDS {
        let rig = Rig::new();
        let base = blank(&rig, LARGE);
        let made = format(&base, kind, 512);
        let story = Story { base: &base, events: &made.events, sector: 512, ours: made.events.len() };
        let half = rig.file("half", 0);
        story.until(made.flushed[2], &half);
        let end = made.record.list().end;
        assert!(!end.is_multiple_of(4096), "{kind}: the list ends with a page, so nothing shares it");
        // Behind the list, and in what was written beside the header, which is told by where its 512 bytes begin.
        let header = made.header.end;
        for (foreign, told) in
            [end, end.next_multiple_of(4096) - 1].map(|at| (at, at)).into_iter().chain([(header + 100, header)])
        {
            for seen in [512, 4096] {
                let image = rig.file("foreign", 0);
                copy(&half, &image);
                File::options().write(true).open(&image).unwrap().write_all_at(b"x", foreign).unwrap();
                let before = fingerprint(&image);
                let mut machine = Rig::new();
                let disk = machine.losetup(&image, &["--sector-size", &seen.to_string()]);
                let up = run(&machine, &disk, kind, "up");
                assert_eq!((up.code, disk.fingerprint()), (Some(3), before), "{kind}, {seen}: {up:?}");
                let words = format!("there is data at byte {told}.");
                assert!(up.out.contains(&words), "{kind}, {seen}: {words}: {up:?}");
            }
        }
    }
}
