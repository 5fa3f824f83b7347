//! A disk that remembers every write and every flush, in their order: a loop device over a file that this
//! process serves by the FUSE protocol itself (Linux, `include/uapi/linux/fuse.h`). No device-mapper is needed.
//!
//! Flushes are seen as they are: the kernel's loop driver makes an fsync of its file out of each (and of a
//! write with FUA, which it does not know, a write and a flush), and FUSE hands each fsync on. Discards are
//! answered with "not supported": a disk need not have them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::libc::{EIO, ENODEV, ENOSYS};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::rig::{Disk, Rig, tool};

/// What reached the disk.
#[derive(Clone, Debug)]
pub enum Event {
    Write { offset: u64, bytes: Vec<u8> },
    Flush,
}

pub struct Recorder {
    mounted: PathBuf,
    events: Arc<Mutex<Vec<Event>>>,
    served: Option<JoinHandle<()>>,
}

/// The longest write that the kernel hands over at once, in bytes.
const LONGEST: u32 = 1 << 20;

impl Recorder {
    /// Serves `file` under a name of its own beside it.
    pub fn over(file: &Path) -> Recorder {
        let backing = File::options().read(true).write(true).open(file).unwrap();
        let mounted = file.with_extension("recorded");
        File::create(&mounted).unwrap();
        let fuse = File::options().read(true).write(true).open("/dev/fuse").expect("this test needs /dev/fuse");
        let data = format!("fd={},rootmode=100600,user_id=0,group_id=0", fuse.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("volinit-test"), &mounted, Some("fuse"), flags, Some(data.as_str())).expect("mounting a FUSE file");
        let events = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&events);
        let served = thread::spawn(move || serve(fuse, &backing, &written));
        Recorder { mounted, events, served: Some(served) }
    }

    /// The disk; options are losetup's.
    pub fn attach(&self, rig: &mut Rig, options: &[&str]) -> Disk {
        rig.losetup(&self.mounted, options)
    }

    /// How many events there were.
    pub fn seen(&self) -> usize {
        self.events.lock().unwrap().len()
    }

    /// All of it, once the disk is not mounted any more. It is detached here, so nothing can come after.
    pub fn end(mut self, disk: &Disk) -> Vec<Event> {
        tool(["blockdev", "--flushbufs", disk.name()]);
        tool(["losetup", "--detach", disk.name()]);
        umount2(&self.mounted, MntFlags::MNT_DETACH).unwrap();
        self.served.take().unwrap().join().unwrap();
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.served.is_some() {
            // It goes when the loop device that a failed test left has gone.
            let _ = umount2(&self.mounted, MntFlags::MNT_DETACH);
        }
    }
}

/// Answers the kernel until the file is unmounted and nobody has it open.
fn serve(mut fuse: File, backing: &File, events: &Mutex<Vec<Event>>) {
    const HEADER: usize = 40;
    let mut request = vec![0; LONGEST as usize + (64 << 10)];
    loop {
        let length = match fuse.read(&mut request) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(ENODEV) => return,
            Err(_) => continue,
        };
        let request = &request[..length];
        let u32_at = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let (opcode, unique) = (u32_at(4), &request[8..16]);
        let place = || (u64_at(HEADER + 8), u32_at(HEADER + 16) as usize);
        let answer = match opcode {
            // FORGET, INTERRUPT, BATCH_FORGET: these have no answer.
            2 | 36 | 42 => continue,
            // GETATTR, SETATTR.
            3 | 4 => Ok(attributes(backing.metadata().unwrap().len())),
            // OPEN: with FOPEN_DIRECT_IO, so that no page cache is in between.
            14 => Ok([0u64, 1].map(u64::to_le_bytes).concat()),
            // READ.
            15 => {
                let (offset, length) = place();
                let mut bytes = vec![0; length];
                backing.read_exact_at(&mut bytes, offset).map(|()| bytes).map_err(|_| EIO)
            }
            // WRITE.
            16 => {
                let (offset, length) = place();
                let bytes = request[HEADER + 40..][..length].to_vec();
                backing.write_all_at(&bytes, offset).unwrap();
                events.lock().unwrap().push(Event::Write { offset, bytes });
                Ok((length as u64).to_le_bytes().to_vec())
            }
            // STATFS.
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH (that is close(2)), DESTROY.
            18 | 25 | 38 => Ok(Vec::new()),
            // FSYNC.
            20 => {
                events.lock().unwrap().push(Event::Flush);
                Ok(Vec::new())
            }
            26 => Ok(init()),
            _ => Err(ENOSYS),
        };
        let (error, payload) = match &answer {
            Ok(payload) => (0, payload.as_slice()),
            Err(errno) => (-errno, [].as_slice()),
        };
        let length = u32::try_from(16 + payload.len()).unwrap();
        let reply = [&length.to_le_bytes(), &error.to_le_bytes(), unique, payload].concat();
        // A request that was interrupted wants no answer any more.
        let _ = fuse.write(&reply);
    }
}

/// `struct fuse_init_out`, version 7.31: `BIG_WRITES`, `MAX_PAGES`.
fn init() -> Vec<u8> {
    let pages = LONGEST / 4096;
    let numbers = [7, 31, LONGEST, 1 << 5 | 1 << 22, 64 | 48 << 16, LONGEST, 1, pages];
    numbers.iter().flat_map(|number| number.to_le_bytes()).chain([0; 32]).collect()
}

/// `struct fuse_attr_out` of a plain file with this size.
fn attributes(size: u64) -> Vec<u8> {
    let wide = [0, 0, 1, size, size / 512, 0, 0, 0];
    let narrow = [0, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0u32];
    let wide = wide.iter().flat_map(|number: &u64| number.to_le_bytes());
    wide.chain(narrow.iter().flat_map(|number| number.to_le_bytes())).collect()
}
