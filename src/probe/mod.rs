//! [`Device`] -> [`Facts`]: all that the plan needs to know, read and never written.

mod blank;
mod blkid;
mod content;
pub mod direct;
#[cfg(test)]
mod images;
mod interrupted;
mod mounts;
pub mod nfs;
mod recognise;
mod superblock;
mod target;

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::dev_t;
use rustix::thread::{CapabilitySet, capabilities};

pub use blank::{DEVICE, Found, Proof, ReadError, Verdict, is_read_whole, is_zero, prove, prove_ranges};
pub use content::{Content, Sign};
pub use interrupted::Interrupted;
#[doc(hidden)] // for the fuzzer
pub use mounts::parse as parse_mounts;
pub use mounts::{MountTable, Mounted, are_hidden_from_host, mounts};
pub use superblock::{Finding, State, Superblock, find};
pub use target::{Ownership, Target, TargetState};

use crate::bytes::Bytes;
use crate::config::{FsType, Mount, VolumeId};
use crate::ioctl::{self, Geometry};
use crate::locate::{Cloud, Device, Sysfs, nvme};
use crate::publish::CloudWords;
use crate::root::Root;
use crate::signals;

/// What is known of a device and of the mount point that is meant for it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The device itself.
    pub device: DeviceFacts,
    /// What it carries.
    pub content: Content,
    /// Whether that is known by the filesystem's UUID alone, without libblkid's word: enough to mount it, for nothing else.
    pub recognised: bool,
    /// The mount point.
    pub target: Target,
    /// Whether this process may grow an ext4 that is mounted (`CAP_SYS_RESOURCE`).
    pub may_grow_mounted_ext4: bool,
}

/// What is known of a device but for its content.
#[derive(Clone, Debug)]
pub struct DeviceFacts {
    /// The kernel's node.
    pub path: PathBuf,
    /// The path that lasts, for What=.
    pub stable: PathBuf,
    /// The file of an image.
    pub image: Option<PathBuf>,
    /// What would have to be done to have it at all; empty for a device that is there.
    pub pending: Vec<String>,
    /// What EC2 said of it in this run.
    pub cloud: Option<Cloud>,
    /// What EC2 said of it, in this run or the one that attached it, for metadata.
    pub words: CloudWords,
    /// Its size.
    pub size: Bytes,
    /// Its logical sector size in bytes.
    pub sector: u32,
    /// Its physical sector size in bytes; never below the logical one.
    pub physical_sector: u32,
    /// In what pieces it likes to be written, in bytes; more than a sector on a RAID.
    pub minimum_io: u32,
    /// How much it writes best at once, in bytes; 0 where it does not say.
    pub optimal_io: u32,
    /// The EBS volume id that it reports.
    pub volume_id: Option<VolumeId>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its number among all disks that the machine has seen since it started.
    pub diskseq: Option<u64>,
    /// Whether the kernel refuses to write to it.
    pub read_only: bool,
    /// Devices that are built upon it.
    pub holders: Vec<String>,
    /// Partitions that the kernel knows on it.
    pub partitions: Vec<String>,
    /// Whether it is swap space in use.
    pub swap: bool,
    /// Where it, or a partition of it, is mounted.
    pub mounts: Vec<Mounted>,
}

impl DeviceFacts {
    /// Whether the system runs from it.
    pub fn is_root_disk(&self) -> bool {
        self.mounts.iter().any(|mounted| mounted.at == Path::new("/"))
    }

    /// Whether it is a disk of the EC2 host's own, which another instance has after a stop.
    pub fn is_instance_store(&self) -> bool {
        self.model.as_deref() == Some(nvme::INSTANCE_STORE)
    }
}

/// Reads everything there is to know but for the `mounts`; where the filesystem with this `uuid` is on the device, no more
/// than it takes to know it again.
pub fn facts(device: &Device, mount: &Mount, root: &Root, mounts: &[Mounted], uuid: Option<&str>) -> Result<Facts> {
    let target = target::look(mount, root, mounts)?;
    let about = device_facts(device, mounts);
    let mounted = mounted_filesystem(device, &about)?;
    let known = match (&mounted, uuid) {
        (None, Some(uuid)) => recognise::recognise(device, uuid),
        _ => None,
    };
    let recognised = known.is_some();
    let content = match mounted.or(known) {
        Some(found) => Content::Filesystem(found),
        None => unmounted(device)?,
    };
    Ok(Facts { device: about, content, recognised, target, may_grow_mounted_ext4: may_grow_mounted_ext4() })
}

/// What is known of a device but for its content.
pub fn about(device: &Device) -> Result<DeviceFacts> {
    Ok(device_facts(device, &mounts()?))
}

/// Whether anything is mounted at the mount point.
pub fn is_mounted(mount: &Mount, root: &Root) -> bool {
    mounts().is_ok_and(|mounts| mounted(&mounts, mount, root).is_some())
}

/// What of `mounts` is shown at the mount point.
pub fn mounted<'a>(mounts: &'a [Mounted], mount: &Mount, root: &Root) -> Option<&'a Mounted> {
    mounts::at(mounts, &mounts::real(&root.path(mount.at.as_path())))
}

/// The mount point alone, for what has no device.
pub fn target(mount: &Mount, root: &Root) -> Result<Target> {
    target::look(mount, root, &mounts()?)
}

/// What the device carries.
pub fn content(device: &Device, about: &DeviceFacts) -> Result<Content> {
    match mounted_filesystem(device, about)? {
        Some(mounted) => Ok(Content::Filesystem(mounted)),
        None => unmounted(device),
    }
}

/// What every witness says of a device that is not mounted.
fn unmounted(device: &Device) -> Result<Content> {
    // Past the page cache: a stale page has been seen to look like damage (util-linux#3301).
    let head = || direct::head(&device.file, superblock::HEAD).with_context(|| reading(device));
    let content = content::decide(
        blkid::signatures(&device.file),
        || Ok(superblock::find_all(&head()?, unix_time())),
        || {
            // The proof reads as long as the disk takes.
            signals::listen();
            Ok(match interrupted::look(&device.file, device.size, &head()?) {
                Some(Ok(ours)) => Content::Interrupted(ours),
                Some(Err(foreign)) => foreign.into(),
                None => prove(&device.file, device.size, &[]).into(),
            })
        },
    );
    match content {
        Content::Filesystem(found) if found.kind == FsType::Xfs => Ok(groups_of_xfs(device, &head()?, found)),
        // libblkid says neither where nor why: our own reads do.
        Content::Unreadable(why) => Ok(match prove(&device.file, device.size, &[]) {
            place @ Verdict::Unreadable { .. } => place.into(),
            Verdict::Zeros(_) | Verdict::Data { .. } => Content::Unreadable(why),
        }),
        other => Ok(other),
    }
}

/// Whether libblkid and our own parsers find nothing. What they can't read is not unmarked.
pub fn is_unmarked(device: &Device) -> bool {
    let nothing = |found: blkid::Signatures| found.found.is_empty() && !found.ambivalent;
    blkid::signatures(&device.file).is_ok_and(nothing)
        && direct::head(&device.file, superblock::HEAD)
            .is_ok_and(|head| superblock::find_all(&head, unix_time()).is_empty())
}

/// An XFS of which only the head is there has a superblock that is whole. The kernel finds out when it mounts
/// it, and by then it has written to the log; so the superblocks of the other allocation groups are looked at
/// first.
fn groups_of_xfs(device: &Device, head: &[u8], found: Superblock) -> Content {
    /// mkfs.xfs makes 4 up to 4 TiB; each costs a read.
    const MOST: u64 = 64;
    for (number, at) in (1..).zip(superblock::xfs::groups(head, MOST)) {
        let mut magic = [0; 4];
        match device.file.read_exact_at(&mut magic, at) {
            Ok(()) if magic == superblock::xfs::MAGIC => {}
            // A disk that is too small is told so, which says more.
            _ if at >= device.size.0 => break,
            Ok(()) => {
                let evidence = format!("its allocation group {number} has no superblock, at byte {at}");
                return Content::Damaged { kind: FsType::Xfs, evidence, repair: format!("xfs_repair {DEVICE}") };
            }
            Err(error) => return Content::Unreadable(format!("byte {at} could not be read: {error}")),
        }
    }
    Content::Filesystem(found)
}

/// What a mounted filesystem of ours says of itself. The kernel owns its superblock now, and what is on the
/// disk may lag behind or change while it is read; so the kernel is asked, and no checksum is judged.
fn mounted_filesystem(device: &Device, about: &DeviceFacts) -> Result<Option<Superblock>> {
    let Some(number) = device.number else { return Ok(None) };
    let mut own = about.mounts.iter().filter(|mounted| mounted.is_of(number));
    let Some((kind, mounted)) = own.find_map(|mounted| Some((FsType::parse(&mounted.fstype)?, mounted))) else {
        return Ok(None);
    };
    let asking = || format!("asking {} what it is", mounted.at.display());
    let on_disk = || Ok(on_disk(device, kind)?.map(|found| Superblock { state: State::Clean, ..found }));
    let (folder, geometry) = match kind {
        // The kernel keeps its superblock in the page cache of the disk.
        FsType::Ext4 => return on_disk(),
        // Hidden below another mount, it can't be asked.
        FsType::Xfs if !shows(&mounted.at, kind, device)? => return on_disk(),
        FsType::Xfs => {
            let folder = File::open(&mounted.at).with_context(asking)?;
            let geometry = ioctl::xfs_geometry(&folder).with_context(asking)?;
            (folder, geometry)
        }
        FsType::Btrfs => {
            let (folder, _, geometry) = btrfs_device(device, &mounted.at)?;
            (folder, geometry)
        }
    };
    let label = match ioctl::label(&folder) {
        Err(Errno::ENOTTY) => on_disk()?.map(|found| found.label).unwrap_or_default(),
        other => other.with_context(asking)?,
    };
    let uuid = superblock::uuid(geometry.uuid);
    let (size, block_size) = (geometry.size, geometry.block);
    Ok(Some(Superblock { kind, uuid, label, size, block_size, group_overhead: Bytes(0), state: State::Clean }))
}

/// Whether `folder` is on a filesystem of `kind` that is on the device. A Btrfs has a number of its own.
pub fn shows(folder: &Path, kind: FsType, device: &Device) -> Result<bool> {
    Ok(match kind {
        FsType::Ext4 | FsType::Xfs => {
            let meta = std::fs::metadata(folder).with_context(|| format!("looking at {}", folder.display()))?;
            device.number == Some(meta.dev())
        }
        FsType::Btrfs => match btrfs_device(device, folder) {
            Ok(_) => true,
            Err(error) if error.downcast_ref() == Some(&Errno::ENODEV) => false,
            Err(error) => return Err(error),
        },
    })
}

/// The folder that a Btrfs is mounted at, open, and what it says of this device, with the id that it has it under.
pub fn btrfs_device(device: &Device, at: &Path) -> Result<(File, u64, Geometry)> {
    let asking = || format!("asking {} for its devices", at.display());
    let folder = File::open(at).with_context(asking)?;
    let is_the_one = |path: &Path| crate::locate::number_of(path) == device.number;
    let (id, geometry) = ioctl::btrfs_device(&folder, is_the_one).with_context(asking)?;
    Ok((folder, id, geometry))
}

/// The filesystem of `kind` on the device as it is now, mounted or not.
pub fn filesystem(device: &Device, about: &DeviceFacts, kind: FsType) -> Result<Option<Superblock>> {
    if let Some(mounted) = mounted_filesystem(device, about)? {
        return Ok(Some(mounted));
    }
    on_disk(device, kind)
}

/// The filesystem of `kind` on the disk, where its superblock is whole.
fn on_disk(device: &Device, kind: FsType) -> Result<Option<Superblock>> {
    Ok(match superblock(device, kind)? {
        Finding::Superblock(found) => Some(found),
        Finding::Absent | Finding::Damaged { .. } => None,
    })
}

/// The superblock of `kind` on the device as it is now; for after a format or a repair.
pub fn superblock(device: &Device, kind: FsType) -> Result<Finding> {
    let head = beginning(&device.file, superblock::reach(kind)).with_context(|| reading(device))?;
    Ok(superblock::find(kind, &head, unix_time()))
}

/// The time for a whole check of an ext4, in seconds since 1970: now, but not before it was last mounted.
pub fn time_of_check(device: &Device) -> Result<u64> {
    let head = head(&device.file).with_context(|| reading(device))?;
    Ok(unix_time().max(superblock::ext4::last_mount(&head)))
}

/// Whether the ext4 on the device has a journal that is yet to be replayed.
pub fn awaits_replay(device: &Device) -> Result<bool> {
    let head = head(&device.file).with_context(|| reading(device))?;
    Ok(superblock::ext4::awaits_replay(&head))
}

fn device_facts(device: &Device, mounts: &[Mounted]) -> DeviceFacts {
    let sysfs = device.sysfs.as_ref();
    let partitions = sysfs.map(Sysfs::partitions).unwrap_or_default();
    let numbers: Vec<dev_t> = device
        .number
        .into_iter()
        .chain(partitions.iter().filter_map(|part| crate::locate::number_of(&part.node())))
        .collect();
    let sector = ioctl::sector_size(&device.file).unwrap_or(512);
    DeviceFacts {
        path: device.path.clone(),
        stable: device.stable_path(),
        image: device.image.clone(),
        pending: device.pending.clone(),
        cloud: device.cloud.clone(),
        words: device.words.clone(),
        size: device.size,
        sector,
        physical_sector: ioctl::physical_sector_size(&device.file).unwrap_or(sector).max(sector),
        minimum_io: ioctl::minimum_io(&device.file).unwrap_or(sector),
        optimal_io: ioctl::optimal_io(&device.file).unwrap_or(0),
        volume_id: device.volume_id(),
        serial: device.serial.clone(),
        model: sysfs.and_then(Sysfs::model),
        diskseq: device.diskseq,
        // A kernel that does not say is not asked to be written to.
        read_only: device.number.is_some() && ioctl::is_read_only(&device.file).unwrap_or(true),
        holders: sysfs.map(Sysfs::holders).unwrap_or_default(),
        partitions: partitions.iter().map(Sysfs::name).collect(),
        swap: mounts::swaps().iter().any(|swap| numbers.contains(swap)),
        mounts: mounts.iter().filter(|mounted| numbers.iter().any(|number| mounted.is_of(*number))).cloned().collect(),
    }
}

fn reading(device: &Device) -> String {
    format!("reading {}", device.path.display())
}

/// The beginning of the device, as far as superblocks are looked for; less where it ends before.
pub fn head(device: &File) -> std::io::Result<Vec<u8>> {
    beginning(device, superblock::HEAD)
}

fn beginning(device: &File, length: usize) -> std::io::Result<Vec<u8>> {
    let mut head = vec![0; length];
    let mut length = 0;
    while length < head.len() {
        match device.read_at(&mut head[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(length);
    Ok(head)
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Whether `CAP_SYS_RESOURCE` is in effect: without it the kernel answers EPERM to `EXT4_IOC_RESIZE_FS`.
fn may_grow_mounted_ext4() -> bool {
    capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_RESOURCE))
}
