//! The one descriptor that a format is written through: exclusive, direct, and the disk that was looked at.

use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use anyhow::{Context, Result, anyhow};
use nix::libc::{EBUSY, O_DIRECT, O_EXCL};

use crate::apply::busy::patiently;
use crate::bytes::Bytes;
use crate::ioctl;
use crate::locate::Device;
use crate::probe::direct::Buffer;

/// The most that is written at once, in bytes.
const WRITE: usize = 128 << 10;

/// A disk that is open for writing.
pub struct Disk {
    file: std::fs::File,
    /// Its logical sector size in bytes.
    sector: u64,
    /// What is written next, or was read.
    buffer: Buffer,
}

impl Disk {
    /// Opens the device once more. `O_EXCL`: nobody can mount it, or build upon it, while this is open.
    pub fn open(device: &Device) -> Result<Disk> {
        let mut options = OpenOptions::new();
        // A file that stands for a disk is in nobody's mount table.
        let exclusive = if device.number.is_some() { O_EXCL } else { 0 };
        options.read(true).write(true).custom_flags(O_DIRECT | exclusive);
        let file = match patiently(|| options.open(&device.path)) {
            Err(error) if error.raw_os_error() == Some(EBUSY) => {
                return Err(anyhow!(
                    "{} is in use, though this process sees no mount of it: by another mount namespace, LVM, md or \
                     another program (`lsblk`, `lsof {0}`)",
                    device.path.display()
                ));
            }
            other => other.with_context(|| format!("opening {}", device.path.display()))?,
        };
        device.prove_same(&file)?;
        let sector = u64::from(ioctl::sector_size(&file).unwrap_or(512));
        Ok(Disk { file, sector, buffer: Buffer::new(WRITE as u64) })
    }

    /// Writes whole sectors.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        for (at, part) in (offset..).step_by(WRITE).zip(bytes.chunks(WRITE)) {
            let aligned = self.buffer.first(part.len() as u64);
            aligned.copy_from_slice(part);
            self.file.write_all_at(aligned, at).with_context(|| format!("writing {} bytes at {at}", part.len()))?;
        }
        Ok(())
    }

    /// Writes zeros over a range. It may begin and end within sectors, where a disk of smaller ones was copied to
    /// this one: what else is in those stays.
    pub fn zero(&mut self, range: &Range<u64>) -> Result<()> {
        let sectors = range.start / self.sector * self.sector..range.end.next_multiple_of(self.sector);
        for at in sectors.clone().step_by(WRITE) {
            let end = sectors.end.min(at + WRITE as u64);
            let bytes = self.buffer.first(end - at);
            let zeros = range.start.max(at)..range.end.min(end);
            if zeros != (at..end) {
                self.file.read_exact_at(bytes, at).with_context(|| format!("reading {} bytes at {at}", end - at))?;
            }
            let place = |offset: u64| usize::try_from(offset - at).expect("within a write");
            bytes[place(zeros.start)..place(zeros.end)].fill(0);
            self.file.write_all_at(bytes, at).with_context(|| format!("writing zeros at {at}"))?;
        }
        Ok(())
    }

    /// Makes all of the disk zero.
    pub fn erase(&self, size: Bytes) -> Result<()> {
        /// So large that the kernel has its way, and so small that each call ends soon.
        const PIECE: u64 = 1 << 30;
        let mut at = 0;
        while at < size.0 {
            let length = PIECE.min(size.0 - at);
            ioctl::zero_out(&self.file, at, length).with_context(|| format!("making {length} bytes at {at} zero"))?;
            at += length;
        }
        self.flush()
    }

    /// Reads whole sectors.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut buffer = Buffer::new(length as u64);
        let bytes = buffer.first(length as u64);
        self.file.read_exact_at(bytes, offset).with_context(|| format!("reading {length} bytes at {offset}"))?;
        Ok(bytes.to_vec())
    }

    /// Returns when all that was written is on the disk, its own cache flushed.
    pub fn flush(&self) -> Result<()> {
        self.file.sync_all().context("flushing the disk")
    }
}
