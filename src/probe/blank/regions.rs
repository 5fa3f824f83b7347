//! Which parts of a device the proof of zeros reads: a pure function of its size, and of what is ours there.
//!
//! It has to keep two promises whatever the size: a run of foreign bytes as long as a thousandth of the device
//! is met, and what is read is bounded, so that a boot does not wait for a large disk.

use std::ops::Range;

use super::PAGE;
use super::places::places;
use crate::bytes::Bytes;

/// Up to here a device is read whole: a fast disk gives that in the tenth of a second that a boot may wait.
const WHOLE: u64 = 512 << 20;

/// At the head, what LUKS2's largest header and its second, LVM's first MiB, VMFS (2 MiB) and all superblocks
/// take; at the tail, what GPT, MD, DRBD, ZFS (4 labels of 256 KiB) and the BIOS RAIDs (3 MiB at most,
/// libblkid's `promise_raid.c`) do.
const EDGE: u64 = 4 << 20;

/// One run in this many of the device is met.
const SHARE: u64 = 1000;

/// Whether the proof reads all of a disk of this size.
pub fn is_read_whole(size: Bytes) -> bool {
    size.0 <= WHOLE
}

/// The parts to read: sorted, apart from each other, each beginning on a page, the last one ending with the
/// device. The pages that `ours` only begins or ends in are among them.
pub fn regions(size: u64, ours: &[Range<u64>]) -> Vec<Range<u64>> {
    if is_read_whole(Bytes(size)) {
        return (0..size.min(1)).map(|_| 0..size).collect();
    }
    let page = |at: u64| at / PAGE * PAGE..(at / PAGE * PAGE).saturating_add(PAGE);
    // So close that a whole sample lies within any run of the promised length.
    let spacing = (size / SHARE - PAGE) / PAGE * PAGE;
    let samples = (0..size.div_ceil(spacing)).map(|n| page(n * spacing));

    let mut parts = vec![0..EDGE, (size - EDGE) / PAGE * PAGE..size];
    parts.extend(places(size).into_iter().map(|place| page(place.at)));
    parts.extend(samples);
    let edges = ours.iter().flat_map(|ours| [ours.start, ours.end]);
    parts.extend(edges.filter(|edge| edge % PAGE != 0 && *edge < size).map(page));
    parts.sort_unstable_by_key(|part| part.start);

    let mut merged: Vec<Range<u64>> = Vec::with_capacity(parts.len());
    for part in parts {
        let end = part.end.min(size);
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(end),
            _ => merged.push(part.start..end),
        }
    }
    merged
}
