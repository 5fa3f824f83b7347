//! The proof of zeros: reads where something would be if the device held anything, and says that all of it is
//! zero, or the lowest offset where it is not.
//!
//! It must never take for zero what it could not read: an error, a short read and a device of another size
//! than was thought are verdicts of their own. It never writes, and never says what to do about a verdict
//! beyond naming the command that brings a lost filesystem back.

mod places;
mod regions;
mod trace;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::direct::{Buffer, Direct, PAGE, ReadAt};
use crate::bytes::Bytes;
use crate::config::FsType;
pub use regions::{is_read_whole, regions};

/// The longest single read: four of these at once are as fast as a disk in memory gives them.
const READ: u64 = 256 * 1024;

/// How closely a place is told that can't be read.
const PIECE: u64 = 64 * 1024;

/// Long reads under way at once: 1 MiB of memory.
const LONG_READS: usize = 4;

/// Reads under way at once, where a disk answers at once: more threads cost more than they bring.
const FEW: usize = 8;

/// Reads of a page under way at once on a slow disk: what takes 1,500 at the 1 ms of a network disk below 100 ms.
const MANY: usize = 32;

/// After so many reads of a page it is known whether the disk is slow: none of them was faster than this.
const TRIED: usize = 32;
const SLOW: Duration = Duration::from_micros(200);

/// Stands for the device's path in a repair command.
pub const DEVICE: &str = "DEVICE";

/// What the reads show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte that was read is zero.
    Zeros(Proof),
    /// There is something.
    Data {
        /// The lowest offset, of those that were read, with a byte that is not zero.
        offset: u64,
        /// What it is likely to be.
        found: Found,
    },
    /// Not all of it could be read, and nothing below that place was other than zero.
    Unreadable {
        /// Where the lowest read that failed begins.
        offset: u64,
        /// Why it failed.
        error: ReadError,
    },
}

/// How much was read to prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The bytes.
    pub bytes_read: Bytes,
    /// The reads.
    pub reads: usize,
}

/// What is likely to be on a device that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Bytes that do not say what they are.
    Bytes,
    /// A whole backup superblock; the primary is not there.
    Backup {
        /// Of which filesystem.
        kind: FsType,
        /// Where it is.
        offset: u64,
        /// The command that brings the filesystem back, with [`DEVICE`] for the device.
        repair: String,
    },
    /// The mark of something that is not volinit's.
    Trace {
        /// What it is, with its article: "a GPT backup header".
        what: &'static str,
        /// Where it is.
        offset: u64,
        /// The command that looks into it or brings it back, with [`DEVICE`] for the device.
        repair: String,
    },
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The system's number for it; none for a short read.
    pub errno: Option<i32>,
    /// The same in words.
    pub text: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError { errno: error.raw_os_error(), text: error.to_string() }
    }
}

/// Proves that the device is blank, or says what speaks against it. What lies in `except`, sorted, has been
/// proved to be volinit's own and counts as blank; what shares a page with it is read too, since a disk may have
/// to be written in whole pages.
///
/// While it reads, the open file has `O_DIRECT` set (and restored after): it is this very descriptor that is
/// proved, not another that its name leads to. So nothing else may read through it meanwhile.
pub fn prove(device: &File, size: Bytes, except: &[Range<u64>]) -> Verdict {
    let mut end = device;
    match end.seek(SeekFrom::End(0)) {
        Ok(real) if real == size.0 => {}
        Ok(real) => return unreadable(size.0.min(real), format!("its size is {real} bytes, not {}", size.0)),
        Err(error) => return Verdict::Unreadable { offset: 0, error: error.into() },
    }
    match Direct::begin(device) {
        Ok(device) => prove_with(&device, size.0, except),
        Err(error) => Verdict::Unreadable { offset: 0, error: error.into() },
    }
}

/// Proves that these ranges are zero, each byte of them; whole pages, sorted.
pub fn prove_ranges(device: &File, size: Bytes, ranges: &[Range<u64>]) -> Verdict {
    let reads: Vec<Range<u64>> = ranges.iter().cloned().flat_map(split).collect();
    match Direct::begin(device) {
        Ok(device) => verdict(&device, size.0, &reads, &[]),
        Err(error) => Verdict::Unreadable { offset: 0, error: error.into() },
    }
}

fn unreadable(offset: u64, text: String) -> Verdict {
    Verdict::Unreadable { offset, error: ReadError { errno: None, text } }
}

fn prove_with(device: &impl ReadAt, size: u64, except: &[Range<u64>]) -> Verdict {
    if size == 0 {
        return unreadable(0, "it has no size".to_owned());
    }
    let reads: Vec<Range<u64>> = regions(size, except).into_iter().flat_map(split).collect();
    verdict(device, size, &reads, except)
}

fn verdict(device: &impl ReadAt, size: u64, reads: &[Range<u64>], except: &[Range<u64>]) -> Verdict {
    match lowest(device, reads, except) {
        None => Verdict::Zeros(Proof {
            bytes_read: Bytes(reads.iter().map(|read| read.end - read.start).sum()),
            reads: reads.len(),
        }),
        Some((offset, Event::Data)) => Verdict::Data { offset, found: trace::look(device, size, except) },
        Some((offset, Event::Failed(error))) => Verdict::Unreadable { offset, error },
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

fn split(region: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    pieces(region, READ)
}

fn pieces(region: Range<u64>, longest: u64) -> impl Iterator<Item = Range<u64>> {
    let end = region.end;
    let step = usize::try_from(longest).expect("a read's length is a usize");
    region.step_by(step).map(move |start| start..end.min(start + longest))
}

/// What ends a proof.
enum Event {
    Data,
    Failed(ReadError),
}

/// Does the reads, sorted as they are, side by side; the lowest offset where one was not all zeros.
fn lowest(device: &impl ReadAt, reads: &[Range<u64>], except: &[Range<u64>]) -> Option<(u64, Event)> {
    let (long, short): (Vec<_>, Vec<_>) = reads.iter().partition(|read| length(read) > PAGE);
    let threads = FEW.min(short.len()).max(LONG_READS.min(long.len()));
    let proving = Proving {
        device,
        except,
        long: Queue { reads: long, longest: READ, next: AtomicUsize::new(0) },
        short: Queue { reads: short, longest: PAGE, next: AtomicUsize::new(0) },
        fastest: AtomicU64::new(u64::MAX),
        lowest: Mutex::new(None),
    };
    thread::scope(|scope| {
        proving.start(scope, 1..threads);
        proving.work(scope, 0);
    });
    proving.lowest.into_inner().expect(SOUND)
}

/// Reads that are handed out in order.
struct Queue<'a> {
    reads: Vec<&'a Range<u64>>,
    longest: u64,
    next: AtomicUsize,
}

/// What the threads of a proof share.
struct Proving<'a, D> {
    device: &'a D,
    except: &'a [Range<u64>],
    long: Queue<'a>,
    short: Queue<'a>,
    /// How long the fastest of the short reads took, in nanoseconds. The slower ones may have waited for a processor.
    fastest: AtomicU64,
    lowest: Mutex<Option<(u64, Event)>>,
}

const SOUND: &str = "a thread of the proof does not panic";

impl<D: ReadAt> Proving<'_, D> {
    fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, numbers: Range<usize>) {
        for number in numbers {
            let work = move || self.work(scope, number);
            // A thread that cannot be had (a limit on tasks) makes it slower, nothing else.
            if thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, work).is_err() {
                return;
            }
        }
    }

    /// The first few threads do the long reads, and all of them the short ones.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, number: usize) {
        if number < LONG_READS {
            self.take(&self.long, |_, _| ());
        }
        self.take(&self.short, |index, took| {
            let fastest = took.min(self.fastest.fetch_min(took, Ordering::Relaxed));
            if index == TRIED && Duration::from_nanos(fastest) > SLOW {
                self.start(scope, FEW..MANY.min(self.short.reads.len()));
            }
        });
    }

    /// Does reads until none is left that could tell of anything lower than what is known.
    fn take(&self, queue: &Queue, done: impl Fn(usize, u64)) {
        let mut buffer = None;
        loop {
            let index = queue.next.fetch_add(1, Ordering::Relaxed);
            let known = self.lowest.lock().expect(SOUND).as_ref().map_or(u64::MAX, |(at, _)| *at);
            let Some(read) = queue.reads.get(index).filter(|read| read.start <= known) else { return };
            let began = Instant::now();
            let buffer = buffer.get_or_insert_with(|| Buffer::new(queue.longest));
            if let Some((at, event)) = check(self.device, buffer, read, self.except) {
                let mut lowest = self.lowest.lock().expect(SOUND);
                if lowest.as_ref().is_none_or(|(known, _)| at < *known) {
                    *lowest = Some((at, event));
                }
                return;
            }
            done(index, u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

fn check(device: &impl ReadAt, buffer: &mut Buffer, read: &Range<u64>, except: &[Range<u64>]) -> Option<(u64, Event)> {
    match fetch(device, buffer, read) {
        Ok(bytes) => first_set(passing_over(bytes, read, except)).map(|at| (read.start + at as u64, Event::Data)),
        Err(error) => {
            // Of a long read it is told where in it: what lies below that place counts.
            let closer = (length(read) > PIECE).then(|| pieces(read.clone(), PIECE));
            let found = closer.into_iter().flatten().find_map(|piece| check(device, buffer, &piece, except));
            found.or(Some((read.start, Event::Failed(error))))
        }
    }
}

/// The range's bytes, all of them, or an error.
pub fn fetch<'a>(device: &impl ReadAt, buffer: &'a mut Buffer, read: &Range<u64>) -> Result<&'a mut [u8], ReadError> {
    let wanted = read.end - read.start;
    // The last sectors of a device may be less than a page; O_DIRECT wants the length whole all the same.
    let bytes = buffer.first(wanted.next_multiple_of(PAGE));
    let got = loop {
        match device.read_at(bytes, read.start) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    let wanted = usize::try_from(wanted).expect("a read's length is a usize");
    match bytes.get_mut(..wanted) {
        Some(bytes) if got >= wanted => Ok(bytes),
        _ => Err(ReadError { errno: None, text: format!("only {got} of {wanted} bytes could be read") }),
    }
}

/// The bytes of a read, with zeros in place of what counts as blank.
fn passing_over<'a>(bytes: &'a mut [u8], read: &Range<u64>, except: &[Range<u64>]) -> &'a [u8] {
    let first = except.partition_point(|known| known.end <= read.start);
    for known in except[first..].iter().take_while(|known| known.start < read.end) {
        let place = |at: u64| usize::try_from(at.clamp(read.start, read.end) - read.start).expect("within a read");
        bytes[place(known.start)..place(known.end)].fill(0);
    }
    bytes
}

/// Whether all of it is zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    first_set(bytes).is_none()
}

/// The first byte that is not zero. Looked for by the sixteen, where musl's memcmp(3) goes byte by byte.
fn first_set(bytes: &[u8]) -> Option<usize> {
    let (chunks, _) = bytes.as_chunks();
    let zeros = chunks.iter().position(|chunk| u128::from_ne_bytes(*chunk) != 0).unwrap_or(chunks.len()) * 16;
    bytes[zeros..].iter().position(|byte| *byte != 0).map(|at| zeros + at)
}
