//! A disk that fails where a test says: this process serves the file below a loop device over FUSE, so that each
//! read, write and flush passes here first, and an error that is given here reaches volinit as the kernel's EIO.
//! Needs nothing but the kernel; <linux/fuse.h> has the protocol.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::{EIO, ENOSYS};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::rig::{Disk, Rig, fingerprint, tool};

/// What passed, and what shall fail.
#[derive(Default)]
pub struct Traffic {
    /// The reads, in the order in which they came.
    pub reads: Vec<Range<u64>>,
    pub writes: usize,
    pub flushes: usize,
    /// How many reads had come before the first write.
    pub reads_before_writes: Option<usize>,
    /// Reads that touch one of these fail.
    pub bad: Vec<Range<u64>>,
    /// The write of this number fails, counted from 0; and the flush.
    pub bad_write: Option<usize>,
    pub bad_flush: Option<usize>,
    /// From this write on nothing is answered but errors, as when a disk is pulled.
    pub gone_at_write: Option<usize>,
    pub gone: bool,
    /// How many requests were answered with an error.
    pub failed: usize,
}

pub struct Faulty {
    pub disk: Disk,
    pub traffic: Arc<Mutex<Traffic>>,
    at: PathBuf,
}

impl Faulty {
    /// A disk of zeros that works, until it is told otherwise.
    pub fn new(rig: &mut Rig, name: &str, size: u64) -> Faulty {
        let backing = rig.file(name, size);
        let at = rig.file(&format!("{name}.served"), 0);
        let fuse =
            File::options().read(true).write(true).open("/dev/fuse").expect("this test needs FUSE in the kernel");
        let options = format!("fd={},rootmode=100000,user_id=0,group_id=0", fuse.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("faulty"), &at, Some("fuse"), flags, Some(options.as_str())).unwrap();
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        for _ in 0..2 {
            let server = Server {
                fuse: fuse.try_clone().unwrap(),
                disk: File::options().read(true).write(true).open(&backing).unwrap(),
                size,
                traffic: traffic.clone(),
            };
            thread::spawn(move || server.serve());
        }
        let Disk { device, .. } = rig.losetup(&at, &["--direct-io=on"]);
        Faulty { disk: Disk { device, file: backing }, traffic, at }
    }

    /// All zeros again, nothing fails, nothing is counted.
    pub fn renew(&self) {
        *self.traffic.lock().unwrap() = Traffic::default();
        let backing = File::options().write(true).open(&self.disk.file).unwrap();
        let size = backing.metadata().unwrap().len().cast_signed();
        // In one step: a read that is still under way must not find a file that ends before.
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&backing, punch, 0, size).unwrap();
        tool(["blockdev", "--flushbufs", self.disk.name()]);
        self.traffic.lock().unwrap().reads.clear();
    }

    /// The disk works again; what it holds stays.
    pub fn heal(&self) {
        *self.traffic.lock().unwrap() = Traffic::default();
    }

    /// What is on the disk itself: reads that fail or a cache have no say in it.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.disk.file)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        // Before the connection ends, so that nothing waits for an answer.
        self.heal();
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        for line in table.lines().filter(|line| line.starts_with(&format!("{} ", self.disk.name()))) {
            let _ = umount2(Path::new(line.split(' ').nth(1).unwrap()), MntFlags::MNT_DETACH);
        }
        tool(["losetup", "--detach", self.disk.name()]);
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

struct Server {
    fuse: File,
    disk: File,
    size: u64,
    traffic: Arc<Mutex<Traffic>>,
}

impl Server {
    fn serve(mut self) {
        let mut request = vec![0; (1 << 20) + 4096];
        // An error here is the end: it was unmounted.
        while let Ok(length) = self.fuse.read(&mut request) {
            let u32_at = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
            let u64_at = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().unwrap());
            let (offset, count) = if length >= 60 { (u64_at(48), u32_at(56)) } else { (0, 0) };
            let here = offset..offset + u64::from(count);
            let answer = match u32_at(4) {
                // FORGET, INTERRUPT and BATCH_FORGET want none.
                2 | 36 | 42 => continue,
                // INIT: version 7.31, FUSE_MAX_PAGES and FUSE_BIG_WRITES. A write of 1 MiB comes in one piece: of
                // several, where a later one fails, the loop driver would take the short write for a whole one.
                26 => Ok(words(&[7, 31, 1 << 20, 1 << 22 | 1 << 5, 0, 1 << 20, 1, 256, 0, 0, 0, 0, 0, 0, 0, 0])),
                // GETATTR and SETATTR: valid for an hour; a file of one link, 0600.
                3 | 4 => Ok([words(&[3600, 0, 0, 0]), self.attributes()].concat()),
                // OPEN, with FOPEN_DIRECT_IO: nothing is cached on the way.
                14 => Ok(words(&[0, 0, 1, 0])),
                15 => self.read(here),
                16 => self.write(&here, &request[80..length]),
                // RELEASE, FLUSH.
                18 | 25 => Ok(Vec::new()),
                20 => self.flush(),
                _ => Err(ENOSYS),
            };
            let (error, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
            let total = u32::try_from(16 + body.len()).unwrap();
            let head = [&total.to_ne_bytes()[..], &error.to_ne_bytes(), &request[8..16]].concat();
            let _ = self.fuse.write(&[head, body].concat());
        }
    }

    /// `struct fuse_attr`.
    fn attributes(&self) -> Vec<u8> {
        let numbers = [1, self.size, self.size / 512, 0, 0, 0].map(u64::to_ne_bytes).concat();
        [numbers, words(&[0, 0, 0, 0o10_0600, 1, 0, 0, 0, 4096, 0])].concat()
    }

    fn read(&self, here: Range<u64>) -> Result<Vec<u8>, i32> {
        let mut traffic = self.traffic.lock().unwrap();
        let bad = traffic.gone || traffic.bad.iter().any(|bad| bad.start < here.end && here.start < bad.end);
        traffic.failed += usize::from(bad);
        traffic.reads.push(here.clone());
        drop(traffic);
        if bad {
            return Err(EIO);
        }
        let mut bytes = vec![0; usize::try_from(here.end.min(self.size) - here.start).unwrap()];
        self.disk.read_exact_at(&mut bytes, here.start).unwrap();
        Ok(bytes)
    }

    fn write(&self, here: &Range<u64>, bytes: &[u8]) -> Result<Vec<u8>, i32> {
        let mut traffic = self.traffic.lock().unwrap();
        let number = traffic.writes;
        traffic.writes += 1;
        if traffic.reads_before_writes.is_none() {
            traffic.reads_before_writes = Some(traffic.reads.len());
        }
        traffic.gone |= traffic.gone_at_write == Some(number);
        if traffic.gone || traffic.bad_write == Some(number) {
            traffic.failed += 1;
            return Err(EIO);
        }
        drop(traffic);
        self.disk.write_all_at(bytes, here.start).unwrap();
        Ok(words(&[u32::try_from(bytes.len()).unwrap(), 0]))
    }

    fn flush(&self) -> Result<Vec<u8>, i32> {
        let mut traffic = self.traffic.lock().unwrap();
        let number = traffic.flushes;
        traffic.flushes += 1;
        if traffic.gone || traffic.bad_flush == Some(number) {
            traffic.failed += 1;
            return Err(EIO);
        }
        Ok(Vec::new())
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
