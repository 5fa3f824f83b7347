//! A disk for a virtual machine that loses power at a chosen moment, as a server of the NBD protocol
//! (<https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>).
//!
//! It has a volatile cache. What the guest wrote and did not flush is there to be read, and when the power goes
//! each piece of it is kept or lost by chance: killing QEMU over a file would lose nothing that was written,
//! which no real disk promises. After that moment it answers every request with an error and changes nothing.
//!
//! A piece is what was written to one aligned block of 4 KiB, which disks write whole or not at all, and btrfs
//! needs that of its superblock. (A tear within: the crash log's tests.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use super::Chance;

const SECTOR: usize = 512;
const PIECE: usize = 4096;
const EIO: u32 = 5;
const EINVAL: u32 = 22;

/// Where the piece begins that this byte is in.
fn first_of(offset: u64) -> u64 {
    offset - offset % PIECE as u64
}

pub struct Disk {
    file: File,
    size: u64,
    /// Sectors that were written and not flushed.
    cache: BTreeMap<u64, [u8; SECTOR]>,
    chance: Chance,
    /// Writes and flushes so far.
    pub steps: u64,
    /// The power goes in this one.
    cut_at: Option<u64>,
    off: bool,
}

impl Disk {
    pub fn new(file: File, cut_at: Option<u64>, chance: Chance) -> Disk {
        let size = file.metadata().unwrap().len();
        Disk { file, size, cache: BTreeMap::new(), chance, steps: 0, cut_at, off: false }
    }

    /// Answers one client until it is gone, which may be in the middle of anything: it is killed. `on_cut` is called
    /// when the power goes.
    pub fn serve(&mut self, stream: &UnixStream, on_cut: impl Fn()) {
        let _ = self.answer(stream, on_cut);
    }

    /// An error is the client's end; the file's own is a panic.
    fn answer(&mut self, mut stream: &UnixStream, on_cut: impl Fn()) -> io::Result<()> {
        let mut input = BufReader::with_capacity(1 << 20, stream.try_clone()?);
        self.greet(&mut input, stream)?;
        loop {
            let mut request = [0; 28];
            input.read_exact(&mut request)?;
            let [flags, command] = [4, 6].map(|at| u16::from_be_bytes(request[at..at + 2].try_into().unwrap()));
            let offset = u64::from_be_bytes(request[16..24].try_into().unwrap());
            let mut data = vec![0; u32::from_be_bytes(request[24..28].try_into().unwrap()) as usize];
            if command == 1 {
                input.read_exact(&mut data)?;
            }
            let was_off = self.off;
            let error = match command {
                _ if self.off => EIO,
                0 => self.read(offset, &mut data),
                1 => self.write(offset, &data, flags & 1 != 0),
                2 => return Ok(()),
                3 => self.flush(),
                _ => EINVAL,
            };
            if self.off && !was_off {
                on_cut();
            }
            let mut reply = 0x6744_6698_u32.to_be_bytes().to_vec();
            reply.extend(error.to_be_bytes());
            reply.extend(&request[8..16]);
            if command == 0 && error == 0 {
                reply.extend(data);
            }
            stream.write_all(&reply)?;
        }
    }

    fn greet(&self, input: &mut impl Read, mut output: &UnixStream) -> io::Result<()> {
        const FLAGS: u16 = 1 | 4 | 8; // flags are there; it can flush; it knows force-unit-access
        output.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
        input.read_exact(&mut [0; 4])?;
        loop {
            let mut head = [0; 16];
            input.read_exact(&mut head)?;
            let option = u32::from_be_bytes(head[8..12].try_into().unwrap());
            let mut data = vec![0; u32::from_be_bytes(head[12..16].try_into().unwrap()) as usize];
            input.read_exact(&mut data)?;
            let reply = |kind: u32, data: &[u8]| {
                let mut bytes = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
                bytes.extend([option, kind, u32::try_from(data.len()).unwrap()].map(u32::to_be_bytes).concat());
                bytes.extend(data);
                (&mut &*output).write_all(&bytes)
            };
            // NBD_OPT_GO; that all else is unknown here is an answer that a client has to take.
            if option == 7 {
                reply(3, &[&[0, 0], &self.size.to_be_bytes()[..], &FLAGS.to_be_bytes()].concat())?;
                return reply(1, &[]);
            }
            reply(0x8000_0001, &[])?;
        }
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> u32 {
        self.file.read_exact_at(data, offset).unwrap();
        for (at, sector) in self.cache.range(offset..offset + data.len() as u64) {
            let start = usize::try_from(at - offset).unwrap();
            data[start..start + SECTOR].copy_from_slice(sector);
        }
        0
    }

    fn write(&mut self, offset: u64, data: &[u8], durable: bool) -> u32 {
        let end = offset + data.len() as u64;
        for piece in (first_of(offset)..end).step_by(PIECE) {
            // The cache is written out in no order and at no time that one could rely on.
            if self.chance.below(2) == 0 {
                self.store(piece..piece + PIECE as u64);
            }
        }
        for (at, sector) in (offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
            self.cache.insert(at, sector.try_into().expect("whole sectors are written"));
        }
        if self.power_goes() {
            return EIO;
        }
        if durable {
            self.store(offset..end);
        }
        0
    }

    fn flush(&mut self) -> u32 {
        if self.power_goes() {
            return EIO;
        }
        self.store(0..self.size);
        self.cache.clear();
        0
    }

    fn store(&self, range: Range<u64>) {
        for (at, sector) in self.cache.range(range) {
            self.file.write_all_at(sector, *at).unwrap();
        }
    }

    /// Counts a step, and where it is the last one: some of what is cached still gets to the disk.
    fn power_goes(&mut self) -> bool {
        self.steps += 1;
        self.off = self.cut_at == Some(self.steps);
        if self.off {
            // None, a quarter, half, three quarters, all.
            let kept = self.chance.below(5);
            let pieces: BTreeSet<u64> = self.cache.keys().copied().map(first_of).collect();
            for piece in pieces {
                if self.chance.below(4) < kept {
                    self.store(piece..piece + PIECE as u64);
                }
            }
        }
        self.off
    }
}
