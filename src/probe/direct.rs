//! Reads that go to the device and not to the page cache, which can be stale (util-linux#3301: about once in
//! 2,000 boots). What decides over a format reads this way.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, PosixFadviseAdvice, fcntl, posix_fadvise};

/// The unit of direct reads and writes: a multiple of every sector size.
pub const PAGE: u64 = 4096;

/// What can be read: the device, or a test's stand-in.
pub trait ReadAt: Sync {
    /// As pread(2). The buffer is aligned to and a multiple of [`PAGE`], and may reach past the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// An open file with `O_DIRECT` set while this lives.
///
/// The flag is set on the open file that was checked, where opening /proc/self/fd/N again would go by the
/// device's number, which another disk may have by then.
pub struct Direct<'a> {
    file: &'a File,
    flags: OFlag,
}

impl<'a> Direct<'a> {
    /// Sets it. Where direct reads are not to be had (a file on an old tmpfs), the cache is dropped instead.
    pub fn begin(file: &'a File) -> io::Result<Direct<'a>> {
        let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
        let direct = Direct { file, flags };
        match fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT)) {
            Err(Errno::EINVAL) => direct.give_up()?,
            other => drop(other?),
        }
        Ok(direct)
    }

    fn give_up(&self) -> io::Result<()> {
        fcntl(self.file, FcntlArg::F_SETFL(self.flags - OFlag::O_DIRECT))?;
        Ok(posix_fadvise(self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }
}

impl ReadAt for Direct<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.file.read_at(buffer, offset) {
            // Some filesystems take the flag and refuse the read.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                self.give_up()?;
                self.file.read_at(buffer, offset)
            }
            other => other,
        }
    }
}

/// The first `length` bytes, less where the file ends before.
pub fn head(file: &File, length: usize) -> io::Result<Buffer> {
    let direct = Direct::begin(file)?;
    let mut buffer = Buffer::new(length as u64);
    buffer.length = loop {
        match direct.read_at(buffer.first(length as u64), 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    Ok(buffer)
}

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        if let Err(errno) = fcntl(self.file, FcntlArg::F_SETFL(self.flags)) {
            log::warn!("restoring the flags of the device's descriptor: {errno}");
        }
    }
}

/// Memory that begins on a page, as `O_DIRECT` wants it, without an allocator of its own.
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Of that many bytes.
    pub fn new(length: u64) -> Buffer {
        let page = bytes(PAGE);
        let memory = vec![0; bytes(length) + page];
        // A page's alignment can be had in any memory a page longer; `min` is for Miri, which may deny it.
        let start = memory.as_ptr().align_offset(page).min(page);
        Buffer { memory, start, length: bytes(length) }
    }

    /// The first `length` of them.
    pub fn first(&mut self, length: u64) -> &mut [u8] {
        &mut self.memory[self.start..][..bytes(length)]
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }
}

fn bytes(length: u64) -> usize {
    usize::try_from(length).expect("a read's length is a usize")
}
