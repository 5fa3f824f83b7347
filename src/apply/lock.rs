//! The lock that systemd's rule asks for: flock(2) on the whole disk, never on a partition
//! (<https://systemd.io/BLOCK_DEVICE_LOCKING>). udevd and systemd-makefs keep to it too.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use log::info;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use crate::error::Failure;
use crate::locate::{Device, Sysfs};
use crate::report::progress;

/// A disk that is ours as long as this lives.
#[derive(Debug)]
pub struct Lock {
    #[expect(dead_code, reason = "closing it gives the lock back")]
    file: Flock<File>,
    /// The disk, where the device is a partition of it.
    disk: Option<Device>,
    /// Closed after the lock was given back, so that udev finds the disk free.
    writable: Option<File>,
}

impl Lock {
    /// To be called before the disk is written to: udev looks at a disk again when somebody closes it who could write.
    pub fn writes(&mut self, device: &Device) -> Result<()> {
        self.writable = Some(self.disk.as_ref().unwrap_or(device).reopen(true)?);
        Ok(())
    }
}

/// Another volinit may be formatting; a format of terabytes with a slow disk below takes minutes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// flock(2) has no timeout and nothing tells when a lock is given back, so it is tried again this often.
const AGAIN: Duration = Duration::from_millis(20);

/// Takes the lock of the device's disk, waiting for who has it.
pub fn lock(device: &Device) -> Result<Lock, Failure> {
    lock_within(device, PATIENCE)
}

fn lock_within(device: &Device, patience: Duration) -> Result<Lock, Failure> {
    if device.number.is_some() && device.sysfs.is_none() {
        // Whose partition it is, and who uses it, is told there alone.
        return Err(Failure::Failed(anyhow!(
            "/sys has nothing of {}, so that it can't be known whose partition it is and who uses it: is sysfs mounted \
             (`mount -t sysfs sysfs /sys`)? Nothing was written to it",
            device.path.display()
        )));
    }
    let whole = device.sysfs.as_ref().map(Sysfs::whole).map(|disk| disk.node());
    let disk = match whole {
        Some(node) if node != device.path => Some(Device::open(&node)?),
        _ => None,
    };
    let locked = disk.as_ref().unwrap_or(device);
    let path = locked.path.clone();
    let mut file = locked.reopen(false)?;
    let started = Instant::now();
    let mut waiting = None;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => return Ok(Lock { file, disk, writable: None }),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(anyhow!(errno).context(format!("locking {}", path.display())).into()),
        };
        if started.elapsed() > patience {
            let holder = holder(&file).unwrap_or_else(|| "another process".into());
            let waited = started.elapsed().as_secs();
            return Err(Failure::Failed(anyhow!(
                "{} has been locked by {holder} for {waited} s: see what it does, and run volinit again when it is done",
                path.display()
            )));
        }
        if waiting.is_none() {
            let holder = holder(&file).unwrap_or_else(|| "another process".into());
            info!("{} is locked by {holder}; waiting", path.display());
            waiting = Some(progress::start(|| format!("waiting for {holder}, which has locked {}", path.display())));
        }
        thread::sleep(AGAIN);
    }
}

/// Who has the lock, by /proc/locks (proc(5)): `1: FLOCK  ADVISORY  WRITE 712 00:05:305 0 EOF`.
fn holder(file: &File) -> Option<String> {
    let meta = file.metadata().ok()?;
    let node = format!("{:02x}:{:02x}:{}", major(meta.dev()), minor(meta.dev()), meta.ino());
    let table = fs::read_to_string("/proc/locks").ok()?;
    let pid = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&node.as_str())).then(|| fields[4].to_owned())
    })?;
    let name = fs::read_to_string(Path::new("/proc").join(&pid).join("comm")).context("reading a name").ok();
    Some(match name {
        Some(name) => format!("{} (process {pid})", name.trim()),
        None => format!("process {pid}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_taken_names_its_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = Device::open(file.path()).unwrap();
        let first = lock_within(&device, Duration::ZERO).unwrap();
        let error = lock_within(&device, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        lock_within(&device, Duration::ZERO).unwrap();
    }
}
