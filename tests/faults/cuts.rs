//! A power cut at each write of a first `up`, of the `up` that takes a half-made format away, with and without
//! the writes that no flush came after. From each such disk a machine that knows nothing of it comes up.

use std::path::Path;

use volinit::bytes::Bytes;
use volinit::intent::Intent;

use crate::recorder::Event;
use crate::replay::{Chance, Story, blank, record, recovers};
use crate::rig::{MIB, Rig};
use crate::tally::{Tally, long, sample};

pub const SIZE: u64 = 320 * MIB;

#[test]
fn ext4_first_format() {
    every_cut("ext4", 512);
    every_cut("ext4", 4096);
}

#[test]
fn xfs_first_format() {
    every_cut("xfs", 512);
    every_cut("xfs", 4096);
}

#[test]
fn btrfs_first_format() {
    every_cut("btrfs", 512);
    every_cut("btrfs", 4096);
}

#[test]
fn ext4_taken_away() {
    every_cut_of_the_undo("ext4");
}

#[test]
fn xfs_taken_away() {
    every_cut_of_the_undo("xfs");
}

#[test]
fn btrfs_taken_away() {
    every_cut_of_the_undo("btrfs");
}

fn every_cut(kind: &str, sector: usize) {
    let rig = Rig::new();
    let base = blank(&rig, SIZE);
    let (events, during) = record(&base, kind, sector);
    let copied = copied(&events);
    let story = Story { base: &base, events: &events, sector, ours: copied };
    let title = format!(
        "first format, {kind}, sectors of {sector}: {} writes and {} flushes, of which {} writes are the format's",
        story.cuts().len() - 1,
        story.flushes(),
        story.cuts().iter().filter(|cut| **cut <= copied && **cut > 0).count(),
    );
    assert!(copied <= during, "{title}: `up` ended before its format");
    in_order(&events[..copied]);
    let mut tally = Tally::new(title);
    let image = rig.file("cut", 0);
    // Each write of the format; of the mount's own, which the kernel answers for, a sample.
    let (format, mount): (Vec<usize>, Vec<usize>) = story.cuts().into_iter().partition(|cut| *cut <= copied);
    let format = sample(&format, if sector == 512 { usize::MAX } else { 12 });
    for cut in format.iter().copied().chain(sample(&mount, if sector == 512 { 8 } else { 4 })) {
        story.until(cut, &image);
        tally.add(&format!("cut after event {cut}"), recovers(&image, kind, sector, |_| {}));
    }
    let mut chance = Chance::new(sector as u64);
    for (cut, round) in torn_cuts(&story, copied, if sector == 512 { 24 } else { 8 }) {
        story.torn(cut, &mut chance, &image);
        tally.add(&format!("torn at event {cut}, round {round}"), recovers(&image, kind, sector, |_| {}));
    }
    tally.end();
}

/// The header, the list, the content, the sector with the magic, zeros over the list: a flush after each.
fn in_order(format: &[Event]) {
    let (begun, place, record) = header(format);
    let parts = format[begun..].split(|event| matches!(event, Event::Flush));
    let flushed: Vec<&[Event]> = parts.filter(|one| !one.is_empty()).collect();
    let within = |events: &[Event], range: std::ops::Range<u64>| {
        events.iter().all(|event| matches!(event, Event::Write { offset, .. } if range.contains(offset)))
    };
    let magic = place..place + u64::from(record.sector);
    let [first, list, content, commit, cleared] = flushed.as_slice() else { panic!("{} flushed parts", flushed.len()) };
    assert!(within(first, magic.clone()) && within(commit, magic), "the header and the magic have one place");
    assert!(within(list, record.list()) && within(cleared, record.list()), "the list is elsewhere");
    assert!(!content.is_empty() && content.iter().all(|one| !within(std::slice::from_ref(one), record.list())));
}

/// Where writes are lost: most of it in the format, some in the mount.
fn torn_cuts(story: &Story<'_>, copied: usize, most: usize) -> Vec<(usize, usize)> {
    let rounds = if long() { 8 } else { 1 };
    let (format, mount): (Vec<usize>, Vec<usize>) = story.cuts().into_iter().skip(1).partition(|cut| *cut <= copied);
    let cuts = [sample(&format, most), sample(&mount, most / 4)].concat();
    (0..rounds).flat_map(|round| cuts.iter().map(move |cut| (*cut, round))).collect()
}

/// The number of events until the format is done: it ends with zeros over the list, flushed.
pub fn copied(events: &[Event]) -> usize {
    let (.., record) = header(events);
    let zeroed = events.iter().rposition(|event| match event {
        Event::Write { offset, bytes } => {
            record.list().contains(offset) && *offset < record.list_start + record.list_length && zero(bytes)
        }
        Event::Flush => false,
    });
    let zeroed = zeroed.expect("the list was zeroed");
    zeroed + 2
}

pub fn zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The write that begins the last format, where the header is, and what it says.
pub fn header(events: &[Event]) -> (usize, u64, Intent) {
    let found = events.iter().enumerate().rev().find_map(|(at, event)| {
        let Event::Write { offset, bytes } = event else { return None };
        let mut head = vec![0; 128 << 10];
        let place = usize::try_from(*offset).ok().filter(|place| place + bytes.len() <= head.len())?;
        head[place..place + bytes.len()].copy_from_slice(bytes);
        Intent::find(&head, Bytes(1 << 50)).map(|(place, record)| (at, place, record))
    });
    found.expect("a header was written")
}

/// The disk at the end of its content, and the one in the middle of it, cut again while it is taken away.
fn every_cut_of_the_undo(kind: &str) {
    let rig = Rig::new();
    let base = blank(&rig, SIZE);
    let (events, _) = record(&base, kind, 512);
    let first = Story { base: &base, events: &events, sector: 512, ours: events.len() };
    let half = rig.file("half", 0);
    let image = rig.file("cut", 0);
    let flushes: Vec<usize> =
        events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Flush)).map(|(at, _)| at).collect();
    let (begun, ..) = header(&events);
    // The flushes after the header, after the list, after the content.
    let flushes: Vec<usize> = flushes.into_iter().filter(|at| *at > begun).collect();
    let (header_end, list_end, content_end) = (flushes[0], flushes[1], flushes[2]);
    let mut chance = Chance::new(7);
    let halves = [
        ("a header", header_end, false),
        ("some of a list", list_end, true),
        ("some of the content", content_end, true),
        ("all but the magic", content_end, false),
    ];
    for (name, cut, torn) in halves {
        if torn {
            first.torn(cut, &mut chance, &half);
        } else {
            first.until(cut, &half);
        }
        cut_again(kind, name, &half, &image, &mut chance);
    }
}

fn cut_again(kind: &str, name: &str, half: &Path, image: &Path, chance: &mut Chance) {
    let (events, _) = record(half, kind, 512);
    let again = Story { base: half, events: &events, sector: 512, ours: copied(&events) };
    // What follows is a first format like any other: a few of its cuts will do.
    let (begun, ..) = header(&events);
    let (undo, format): (Vec<usize>, Vec<usize>) = again.cuts().into_iter().partition(|cut| *cut <= begun + 1);
    let mut tally = Tally::new(format!("undo, {kind}, {name}: {} writes", undo.len() - 1));
    for cut in sample(&undo, 14).into_iter().chain(sample(&format, 4)) {
        again.until(cut, image);
        tally.add(&format!("cut after event {cut}"), recovers(image, kind, 512, |_| {}));
    }
    for round in 0..if long() { 8 } else { 1 } {
        for cut in sample(&undo, 8) {
            again.torn(cut, chance, image);
            tally.add(&format!("torn at event {cut}, round {round}"), recovers(image, kind, 512, |_| {}));
        }
    }
    tally.end();
}
