//! A first format of ours that was cut off: recognised by its record, and believed only where every byte on
//! the disk is accounted for. Reads; undoing it is [`crate::apply`]'s.

use std::fs::File;
use std::ops::Range;

use super::blank::{self, Found, Proof, ReadError, Verdict};
use super::direct::{Buffer, Direct, PAGE};
use crate::bytes::Bytes;
use crate::config::FsType;
use crate::intent::{self, Entry, Intent, List, UNIT};

/// An interrupted format and all that it left. Taken away in this order, each part flushed before the next, it
/// leaves a blank disk; cut off in between, it is still recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The filesystem that was to be made.
    pub kind: FsType,
    /// What of it had been written, in units of [`intent::UNIT`], sorted.
    pub content: Vec<Range<u64>>,
    /// The list.
    pub list: Range<u64>,
    /// The header.
    pub header: Range<u64>,
    /// How much of the rest was read, and was zero.
    pub proof: Proof,
}

/// The largest piece that is looked at at once, in bytes.
const READ: usize = 1 << 20;

/// Looks for the record in `head`, the disk's first bytes; `None` where there is none. Where there is one, the
/// disk is ours, or the first thing that speaks against it is told.
pub fn look(device: &File, size: Bytes, head: &[u8]) -> Option<Result<Interrupted, Verdict>> {
    let (place, intent) = Intent::find(head, size)?;
    let ours = verify(device, &intent);
    Some(ours.and_then(|content| {
        let header = place..place + u64::from(intent.sector);
        let mut known = [content.as_slice(), &[intent.list(), header.clone()]].concat();
        known.sort_by_key(|range| range.start);
        match blank::prove(device, size, &known) {
            Verdict::Zeros(proof) => Ok(Interrupted { kind: intent.kind, content, list: intent.list(), header, proof }),
            foreign => Err(foreign),
        }
    }))
}

/// The units of the list that hold what the list says; the others have to be zero.
fn verify(device: &File, intent: &Intent) -> Result<Vec<Range<u64>>, Verdict> {
    let direct = Direct::begin(device).map_err(|error| unreadable(0, error.into()))?;
    let place = intent.list();
    let mut buffer = Buffer::new(READ as u64 + 2 * PAGE);
    let mut bytes = Vec::new();
    for part in pieces(&place) {
        bytes.extend_from_slice(read(&direct, &mut buffer, &part)?);
    }
    let entries = match intent::decode_list(intent, &bytes) {
        List::Whole(entries) => entries,
        // Nothing else had been written yet, or all of it has been taken away again.
        List::Partial => return Ok(Vec::new()),
        List::Foreign(offset) => return Err(Verdict::Data { offset, found: Found::Bytes }),
    };
    let mut content: Vec<Range<u64>> = Vec::new();
    for run in runs(&entries) {
        let first = run[0].offset;
        let bytes = read(&direct, &mut buffer, &(first..first + (run.len() * UNIT) as u64))?;
        for (entry, bytes) in run.iter().zip(bytes.chunks(UNIT)) {
            let here = entry.offset..entry.offset + UNIT as u64;
            match Intent::hash(&intent.nonce, bytes) {
                0 => {}
                hash if hash == entry.hash => match content.last_mut() {
                    Some(last) if last.end == here.start => last.end = here.end,
                    _ => content.push(here),
                },
                _ => return Err(Verdict::Data { offset: entry.offset, found: Found::Bytes }),
            }
        }
    }
    Ok(content)
}

/// Entries that lie side by side, as many as one read takes.
fn runs(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    entries.chunk_by(|a, b| a.offset + UNIT as u64 == b.offset).flat_map(|run| run.chunks(READ / UNIT))
}

fn pieces(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    (range.start..end).step_by(READ).map(move |start| start..end.min(start + READ as u64))
}

/// Reads whole pages: the disk's sectors may be larger than those that the record was made for.
fn read<'a>(device: &Direct, buffer: &'a mut Buffer, range: &Range<u64>) -> Result<&'a [u8], Verdict> {
    let first = range.start / PAGE * PAGE;
    let bytes = blank::fetch(device, buffer, &(first..range.end)).map_err(|error| unreadable(first, error))?;
    Ok(&bytes[usize::try_from(range.start - first).expect("less than a page")..])
}

fn unreadable(offset: u64, error: ReadError) -> Verdict {
    Verdict::Unreadable { offset, error }
}
