//! What is in the rehearsed file: the blocks that are not zero, where the magic is, where there is room for the
//! record, and which zeros the filesystem relies on. Reads the file; writes nothing.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use super::zeros;
use crate::bytes::Bytes;
use crate::config::FsType;
use crate::intent::{self, Intent};
use crate::probe::is_zero;

/// What is copied is counted in these, whatever the filesystem's own blocks are.
const BLOCK: usize = 4096;
const BLOCK_BYTES: u64 = BLOCK as u64;
/// The most that is read at once, in bytes.
const READ: u64 = 128 << 10;

/// What is to be written, and where.
#[derive(Debug)]
pub struct Layout<'a> {
    scratch: &'a File,
    /// The filesystem.
    pub kind: FsType,
    /// The disk's logical sector size in bytes.
    pub sector: u32,
    /// The blocks that are not zero, side by side ones in one; sorted.
    pub blocks: Vec<Range<u64>>,
    /// The sector with the magic.
    pub commit: Range<u64>,
    /// Room for the list, in whole blocks.
    pub list: Range<u64>,
    /// What the filesystem takes to be zero and mkfs would have written zeros to.
    relied_on: Vec<Range<u64>>,
}

impl Layout<'_> {
    /// Looks through a rehearsed file.
    pub fn of(scratch: &File, kind: FsType, sector: u32) -> Result<Layout<'_>> {
        let size = scratch.metadata().context("looking at the file in memory")?.len();
        let blocks = not_zero(scratch, size).context("reading the file in memory")?;
        let place = Intent::place(kind, sector);
        let commit = place..place + u64::from(sector);
        if !blocks.iter().any(|block| block.start <= commit.start && commit.end <= block.end) {
            bail!("the {kind} has no superblock at byte {place}");
        }
        let units: u64 = blocks.iter().map(|block| (block.end - block.start).div_ceil(intent::UNIT as u64)).sum();
        let entries = usize::try_from(units).context("counting what is written")?;
        let list = room(&blocks, size, intent::list_length(entries))?;
        let relied_on = zeros::relied_on(scratch, kind).context("reading the file in memory")?;
        Ok(Layout { scratch, kind, sector, blocks, commit, list, relied_on })
    }

    /// How much is written.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.blocks.iter().map(|block| block.end - block.start).sum())
    }

    /// The blocks without the sector that is written last.
    pub fn but_commit(&self) -> impl Iterator<Item = Range<u64>> {
        let commit = &self.commit;
        let parts = self.blocks.iter().flat_map(|block| {
            if block.start <= commit.start && commit.end <= block.end {
                [block.start..commit.start, commit.end..block.end]
            } else {
                [block.clone(), block.end..block.end]
            }
        });
        parts.filter(|part| !part.is_empty())
    }

    /// What is read before the format and has to be zero: sorted, in whole blocks, none twice. What is written is all
    /// among it; of what is only relied on, with `sampled`, a part.
    pub fn must_be_zero(&self, sampled: bool) -> Vec<Range<u64>> {
        let relied_on =
            self.relied_on.iter().flat_map(|range| if sampled { zeros::samples(range) } else { vec![range.clone()] });
        let all = self.blocks.iter().chain([&self.list]).cloned().chain(relied_on);
        let mut all: Vec<Range<u64>> =
            all.map(|range| range.start / BLOCK_BYTES * BLOCK_BYTES..range.end.next_multiple_of(BLOCK_BYTES)).collect();
        all.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in all {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// Gives the bytes of a range to `take`, with their offset, a piece at a time.
    pub fn read(&self, range: &Range<u64>, mut take: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; usize::try_from((range.end - range.start).min(READ)).context("reading a piece")?];
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from((range.end - at).min(READ)).context("reading a piece")?;
            let bytes = &mut buffer[..length];
            self.scratch.read_exact_at(bytes, at).context("reading the file in memory")?;
            take(at, bytes)?;
            at += length as u64;
        }
        Ok(())
    }
}

/// The blocks that hold anything but zeros.
fn not_zero(scratch: &File, size: u64) -> Result<Vec<Range<u64>>> {
    let mut blocks: Vec<Range<u64>> = Vec::new();
    stored(scratch, size, |start, block| {
        if is_zero(block) {
            return Ok(());
        }
        let end = start + block.len() as u64;
        match blocks.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => blocks.push(start..end),
        }
        Ok(())
    })?;
    Ok(blocks)
}

/// Gives the memory of blocks that are zero back. Nobody may write to the file meanwhile.
pub fn punch_zeros(scratch: &File) -> Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let size = scratch.metadata().context("looking at the file in memory")?.len();
    let mut zeros: Vec<Range<u64>> = Vec::new();
    stored(scratch, size, |start, block| {
        if is_zero(block) {
            let end = start + block.len() as u64;
            match zeros.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => zeros.push(start..end),
            }
        }
        Ok(())
    })?;
    for range in zeros {
        fallocate(scratch, flags, range.start.cast_signed(), (range.end - range.start).cast_signed())
            .context("giving memory back")?;
    }
    Ok(())
}

/// Gives each block that is stored at all, and its offset, to `take`.
fn stored(scratch: &File, size: u64, mut take: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(READ)?];
    let mut hole = 0u64;
    loop {
        let data = match lseek(scratch, hole.cast_signed(), Whence::SeekData) {
            Ok(data) => data.cast_unsigned() / BLOCK_BYTES * BLOCK_BYTES,
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        hole = lseek(scratch, data.cast_signed(), Whence::SeekHole)?.cast_unsigned();
        hole = hole.next_multiple_of(BLOCK_BYTES).min(size);
        for at in (data..hole).step_by(usize::try_from(READ)?) {
            let bytes = &mut buffer[..usize::try_from((hole - at).min(READ))?];
            scratch.read_exact_at(bytes, at)?;
            for (start, block) in (at..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
                take(start, block)?;
            }
        }
    }
}

/// A place for the list: the end of the largest space that the filesystem leaves free, with some distance.
fn room(blocks: &[Range<u64>], size: u64, length: u64) -> Result<Range<u64>> {
    const DISTANCE: u64 = 1 << 20;
    let starts = std::iter::once(0).chain(blocks.iter().map(|block| block.end));
    let ends = blocks.iter().map(|block| block.start).chain([size]);
    let hole = starts.zip(ends).max_by_key(|(start, end)| end.saturating_sub(*start)).unwrap_or((0, 0));
    let end = hole.1.saturating_sub(DISTANCE) / BLOCK_BYTES * BLOCK_BYTES;
    let start = end.saturating_sub(length) / BLOCK_BYTES * BLOCK_BYTES;
    if end == 0 || start < hole.0 + DISTANCE || end - start < length {
        bail!("the disk is too small: there is no room for the record of the format");
    }
    Ok(start..start + length.next_multiple_of(BLOCK_BYTES))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn scratch(size: u64, writes: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        for (at, bytes) in writes {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    #[test]
    fn what_is_not_zero_is_found_and_zeros_are_given_back() {
        let size = 64 << 20;
        // Zeros that are stored, a byte at the very end, and a run that crosses pieces of reading.
        let (zeros, run) = (vec![0; 8 << 20], vec![7; (2 << 20) + 1]);
        let file = scratch(size, &[(1 << 20, &zeros), (20 << 20, &run), (5000, b"x"), (size - 1, b"y")]);
        let expected = [4096..8192, 20 << 20..(22 << 20) + 4096, size - 4096..size];
        assert_eq!(not_zero(&file, size).unwrap(), expected);
        let before = file.metadata().unwrap().blocks();
        punch_zeros(&file).unwrap();
        assert_eq!(not_zero(&file, size).unwrap(), expected);
        let given_back = (before - file.metadata().unwrap().blocks()) * 512;
        assert!(given_back >= 8 << 20, "{given_back} of 8 MiB");
    }

    #[test]
    fn the_list_has_room_in_the_largest_hole_or_nowhere() {
        let blocks = [0..8192, 4 << 20..5 << 20, 60 << 20..61 << 20];
        assert_eq!(room(&blocks, 64 << 20, 5000).unwrap(), (59 << 20) - 8192..59 << 20);
        assert!(room(&blocks, 64 << 20, 54 << 20).is_err());
        assert!(room(std::slice::from_ref(&(0..1 << 20)), 1 << 20, 512).is_err());
    }
}
