//! What sysfs says of a block device. Reads attributes; opens no device.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::bytes::Bytes;

/// A block device's folder in sysfs.
#[derive(Clone, Debug)]
pub struct Sysfs {
    folder: PathBuf,
    is_partition: bool,
}

impl Sysfs {
    /// The folder of the device with this number.
    pub fn of(number: u64) -> io::Result<Sysfs> {
        let dev = Path::new("/sys/dev/block");
        let link = fs::read_link(dev.join(format!("{}:{}", major(number), minor(number))))?;
        // `../../devices/…`, and on all that way is no other link.
        let folder = match link.strip_prefix("../..") {
            Ok(below) => Path::new("/sys").join(below),
            Err(_) => fs::canonicalize(dev.join(link))?,
        };
        Ok(Sysfs { is_partition: folder.join("partition").exists(), folder })
    }

    /// All disks that have a size, by name; partitions are below their disk.
    pub fn disks() -> io::Result<Vec<Sysfs>> {
        let mut disks: Vec<Sysfs> = fs::read_dir("/sys/block")?
            .filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok())
            .map(|folder| Sysfs { folder, is_partition: false })
            .filter(|disk| disk.size() > Bytes(0))
            .collect();
        disks.sort_by(|a, b| a.folder.file_name().cmp(&b.folder.file_name()));
        Ok(disks)
    }

    /// The kernel's name, `nvme1n1`.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The node that devtmpfs makes. The kernel writes `!` where a name has `/` in it.
    pub fn node(&self) -> PathBuf {
        Path::new("/dev").join(self.name().replace('!', "/"))
    }

    /// An attribute's text without the white space around it; `None` where there is none or it is empty.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Its size; sysfs counts in 512 bytes whatever the sectors are.
    pub fn size(&self) -> Bytes {
        Bytes(self.attribute("size").and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0).saturating_mul(512))
    }

    /// The disk that this is a partition of; itself where it is none.
    #[must_use]
    pub fn whole(&self) -> Sysfs {
        match self.folder.parent() {
            Some(disk) if self.is_partition => Sysfs { folder: disk.to_owned(), is_partition: false },
            _ => self.clone(),
        }
    }

    /// The partitions that the kernel knows of.
    pub fn partitions(&self) -> Vec<Sysfs> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        // `sda1`, `nvme1n1p1` (`add_partition` in Linux, block/partitions/core.c): the other thirty are not looked at.
        let disk = self.name();
        let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&disk);
        let mut partitions: Vec<Sysfs> = entries
            .filter_map(|entry| entry.ok().filter(named))
            .map(|entry| entry.path())
            .filter(|path| path.join("partition").exists())
            .map(|folder| Sysfs { folder, is_partition: true })
            .collect();
        partitions.sort_by_key(Sysfs::name);
        partitions
    }

    /// Devices built on top of this one: device-mapper, md, bcache.
    pub fn holders(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder.join("holders")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
        names.sort();
        names
    }

    /// `major:minor`, as mountinfo writes it.
    pub fn number(&self) -> Option<String> {
        self.attribute("dev")
    }

    /// The serial number: NVMe has it at the controller, virtio at the disk.
    pub fn serial(&self) -> Option<String> {
        let disk = self.whole();
        disk.attribute("device/serial").or_else(|| disk.attribute("serial"))
    }

    /// The model.
    pub fn model(&self) -> Option<String> {
        self.whole().attribute("device/model")
    }
}
