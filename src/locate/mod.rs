//! Source -> [`Device`]: waits for it, attaches an image's file, and proves that it is the one meant.
//! Never writes to a device.

mod ebs;
mod image;
pub mod nvme;
mod sysfs;
pub(crate) mod wait;
pub mod xen;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use log::{debug, info};
use nix::libc::{O_NONBLOCK, dev_t};

pub use ebs::{ask, detach, wait_for_size};
pub use sysfs::Sysfs;

use crate::bytes::Bytes;
use crate::config::{Ebs, EbsVolume, Interface, Source, Volume, VolumeId};
use crate::error::{Failure, Refusal};
use crate::ioctl;
use crate::publish::CloudWords;
use crate::report::progress;
use crate::root::Root;

/// A located source. The open descriptor is the device from here on: names move, descriptors do not.
#[derive(Debug)]
pub struct Device {
    /// Open for reading.
    pub file: File,
    /// The kernel's node, or the file of an image that is not attached.
    pub path: PathBuf,
    /// The path that the person wrote.
    pub said: PathBuf,
    /// Its number; `None` for a file.
    pub number: Option<dev_t>,
    /// Its folder in sysfs; `None` for a file, or where sysfs is not mounted.
    pub sysfs: Option<Sysfs>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its size.
    pub size: Bytes,
    /// The number of this disk among all that the machine has seen; `None` before Linux 5.15.
    pub diskseq: Option<u64>,
    /// What was not done because it was only looked: the steps that come before all others.
    pub pending: Vec<String>,
    /// The file behind an image.
    pub image: Option<PathBuf>,
    /// The volume that it is by EC2's word and its name, where a disk reports no serial (Xen).
    pub named: Option<VolumeId>,
    /// What EC2 said of it in this run.
    pub cloud: Option<Cloud>,
    /// What EC2 said of it, in this run or the one that attached it, for metadata.
    pub words: CloudWords,
}

/// What EC2 says of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Its size; after a modification the new one, which the kernel may not show yet.
    pub size: Bytes,
    /// The snapshot that it was made from.
    pub snapshot: Option<String>,
    /// The instance that it was taken from in this run.
    pub taken_from: Option<String>,
}

/// Whether the machine may be changed to make the device appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Wait for it, make and attach an image.
    Bring,
    /// Take what is there; change nothing.
    Look,
}

/// Finds the device of a source.
///
/// # Errors
/// [`Failure::Absent`] when it does not come in time, [`Failure::Refused`] when it is not the one meant.
pub fn locate(volume: &Volume, interfaces: &[Interface], root: &Root, effort: Effort) -> Result<Device, Failure> {
    match &volume.source {
        Source::Device { path, timeout } => {
            let timeout = if effort == Effort::Bring { *timeout } else { Duration::ZERO };
            let device = device(path, timeout)?;
            prove_identity(&device)?;
            Ok(device)
        }
        Source::Image { path, size } => {
            let device = image::locate(&root.path_within(path)?, *size, effort)?;
            Ok(Device { said: path.clone(), ..device })
        }
        Source::Ebs(ebs) => ebs::locate(volume, ebs, interfaces, root, effort),
        Source::Nfs { .. } => Err(no_device()),
    }
}

/// The device of a volume that is here already; nothing is waited for, made or attached.
pub fn attached(volume: &Volume, root: &Root) -> Result<Option<Device>, Failure> {
    let found = match &volume.source {
        Source::Device { path, .. } => device(path, Duration::ZERO),
        Source::Image { path, .. } => return Ok(image::find(&root.path_within(path)?)?),
        Source::Ebs(ebs) => return ebs::attached(volume, ebs, root),
        Source::Nfs { .. } => return Err(no_device()),
    };
    match found {
        Ok(device) => Ok(Some(device)),
        Err(Failure::Absent(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What the config gives for What=, where nothing may be looked at: the device's path, or the export.
pub fn declared(source: &Source) -> Result<PathBuf, Failure> {
    match source {
        Source::Device { path, .. } | Source::Image { path, .. } => Ok(path.clone()),
        // The link that systemd's own udev rules make, as they name it (60-persistent-storage.rules).
        Source::Ebs(Ebs { volume: EbsVolume::Id(id), .. }) => {
            let serial = id.to_string().replacen('-', "", 1);
            Ok(format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}").into())
        }
        Source::Ebs(_) => Err(Failure::Usage(anyhow!(
            "which volume it will be is known on the instance only: an image can hold units of volumes that are named by id"
        ))),
        Source::Nfs { export, .. } => Ok(export.into()),
    }
}

/// [`crate::nfs`] is for these.
fn no_device() -> Failure {
    Failure::Usage(anyhow!("an nfs export has no device"))
}

fn device(path: &Path, timeout: Duration) -> Result<Device, Failure> {
    // Told only once it is not there: most often it is.
    let mut waiting = None;
    let found = wait::until(path, timeout, || {
        let found = match Device::open(path) {
            Ok(device) if device.size == Bytes(0) => {
                debug!("{} has no medium yet", path.display());
                None
            }
            Ok(device) => Some(device),
            Err(error) if comes_later(&error) => None,
            Err(error) => return Err(error),
        };
        if found.is_none() && waiting.is_none() {
            waiting = Some(progress::start(|| format!("waiting for {}", path.display())));
        }
        Ok(found)
    })?;
    drop(waiting);
    found.ok_or_else(|| {
        let waited = if timeout.is_zero() { String::new() } else { format!(" after {} s", timeout.as_secs()) };
        Failure::Absent(anyhow!(
            "{} is not there{waited}: attach it, or correct `device`; `volinit devices` lists what is there",
            path.display()
        ))
    })
}

/// Whether an open failed in a way that time may mend: no node, or a node before its medium.
fn comes_later(error: &anyhow::Error) -> bool {
    use nix::libc::{ENODEV, ENOENT, ENOMEDIUM, ENOTDIR, ENXIO};
    let errno = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    matches!(errno, Some(ENOENT | ENOTDIR | ENXIO | ENODEV | ENOMEDIUM))
}

impl Device {
    /// Opens a block device, or a regular file that stands for one, for reading.
    pub fn open(path: &Path) -> anyhow::Result<Device> {
        let said = path;
        let opening = || format!("opening {}", path.display());
        // O_NONBLOCK: a FIFO or a tape in the wrong place must not hang the boot.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).with_context(opening)?;
        let meta = file.metadata().with_context(opening)?;
        if meta.is_file() {
            return Ok(Device { size: Bytes(meta.len()), ..Device::of_file(file, path.to_owned()) });
        }
        if !meta.file_type().is_block_device() {
            return Err(anyhow!("{} is not a block device", path.display()));
        }
        let number = meta.rdev();
        let sysfs = Sysfs::of(number).inspect_err(|e| debug!("looking {} up in /sys: {e}", path.display())).ok();
        // The node that the kernel gave, where it is this very device: a link may point elsewhere tomorrow.
        let node = sysfs.as_ref().map(Sysfs::node).filter(|node| number_of(node) == Some(number));
        let path = node.unwrap_or_else(|| said.to_owned());
        let size = ioctl::size(&file).with_context(|| format!("asking {} for its size", path.display()))?;
        let diskseq = ioctl::diskseq(&file).ok();
        let serial = sysfs.as_ref().and_then(Sysfs::serial);
        Ok(Device {
            said: said.to_owned(),
            number: Some(number),
            sysfs,
            serial,
            size,
            diskseq,
            ..Device::of_file(file, path)
        })
    }

    /// With nothing known of it.
    fn of_file(file: File, path: PathBuf) -> Device {
        Device {
            file,
            said: path.clone(),
            path,
            number: None,
            sysfs: None,
            serial: None,
            size: Bytes(0),
            diskseq: None,
            pending: vec![],
            image: None,
            named: None,
            cloud: None,
            words: CloudWords::default(),
        }
    }

    /// The same device once more, under the kernel's current path: fails when it is another one by now.
    pub fn reopen(&self, write: bool) -> anyhow::Result<File> {
        let path = self.path.display();
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(O_NONBLOCK)
            .open(&self.path)
            .with_context(|| format!("opening {path}"))?;
        self.prove_same(&file)?;
        Ok(file)
    }

    /// Whether an open file is this very disk: by its number, its serial, and the sequence number that no two disks
    /// of a boot share; by its inode where it is a file.
    pub fn prove_same(&self, file: &File) -> anyhow::Result<()> {
        let looking = || format!("looking at {}", self.path.display());
        let (meta, known) = (file.metadata().with_context(looking)?, self.file.metadata().with_context(looking)?);
        let same = (meta.dev(), meta.ino()) == (known.dev(), known.ino()) || self.number == Some(meta.rdev());
        let serial = self.number.and_then(|_| Sysfs::of(meta.rdev()).ok()?.serial());
        if !same || serial != self.serial || ioctl::diskseq(file).ok() != self.diskseq {
            return Err(anyhow!("{} is another disk now than the one that was looked at", self.path.display()));
        }
        Ok(())
    }

    /// Asks for the size once more: it may have grown.
    pub fn refresh(&mut self) -> anyhow::Result<()> {
        if self.number.is_some() {
            self.size =
                ioctl::size(&self.file).with_context(|| format!("asking {} for its size", self.path.display()))?;
        }
        Ok(())
    }

    /// The EBS volume id that the device itself reports, or that EC2 says it is where no disk reports any.
    pub fn volume_id(&self) -> Option<VolumeId> {
        self.serial.as_deref().and_then(VolumeId::from_serial).or_else(|| self.named.clone())
    }

    /// The device name that EC2 attached this volume as, `/dev/sdf`, where its controller tells.
    pub fn attached_as(&self) -> Option<String> {
        // Any other disk is left in peace: it has nothing to say.
        self.sysfs.as_ref().and_then(Sysfs::model).filter(|model| model == nvme::EBS)?;
        nvme::ask(&self.file)?.attached_as
    }

    /// The path that finds this disk again after a reboot, for What=: a by-id link where udev made one.
    ///
    /// The name that carries the serial is preferred, then the shorter one: udev makes `…_1` and `-ns-1`
    /// twins for NVMe namespaces, and WWN links that say nothing to a reader.
    pub fn stable_path(&self) -> PathBuf {
        if self.image.is_some() {
            return self.said.clone();
        }
        let is_it = |link: &Path| self.number.is_some() && number_of(link) == self.number;
        best_link(Path::new("/dev/disk/by-id"), self.serial.as_deref(), is_it).unwrap_or_else(|| self.said.clone())
    }
}

/// Of the links in `folder` to this disk the one that says most to a reader. There may be none, or no folder: what
/// links there are depends on the image's udev rules, systemd's (`…_vol0123`, `…_vol0123_1`) and those of
/// amazon-ec2-utils (`…_vol0123-ns-1`, and /dev/sdf, which is in no such folder).
fn best_link(folder: &Path, serial: Option<&str>, is_it: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let links = std::fs::read_dir(folder).into_iter().flatten().flatten();
    links.map(|link| link.path()).filter(|link| is_it(link)).min_by_key(|link| {
        let name = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tells = serial.is_some_and(|serial| name.contains(serial));
        (!tells, name.len(), name)
    })
}

/// The number of the block device at `path`, links followed.
pub fn number_of(path: &Path) -> Option<dev_t> {
    let meta = std::fs::metadata(path).ok()?;
    meta.file_type().is_block_device().then(|| meta.rdev())
}

/// A by-id link names the volume that is meant. Such links have been seen stale (aws-ebs-csi-driver#1224), so
/// the disk behind it has to say the same; one that says nothing is refused too.
fn prove_identity(device: &Device) -> Result<(), Failure> {
    let Some(meant) = volume_id_in(&device.said) else { return Ok(()) };
    let says = device.volume_id();
    if says.as_ref() == Some(&meant) {
        info!("{} reports the serial of {meant}", device.path.display());
        return Ok(());
    }
    let reports = says.map_or_else(|| "reports no EBS serial".to_owned(), |id| format!("reports the serial of {id}"));
    Err(Failure::Refused(Refusal {
        subject: device.said.display().to_string(),
        found: format!("leads to {}, which {reports}: it is not {meant}", device.path.display()),
        way_out:
            "The link is stale or wrong: `udevadm trigger` makes it anew; `volinit devices` shows which disk is which."
                .into(),
        written: false,
    }))
}

/// The EBS volume id that a by-id link's name carries.
fn volume_id_in(link: &Path) -> Option<VolumeId> {
    let name = link.file_name()?.to_str()?.strip_prefix("nvme-Amazon_Elastic_Block_Store_")?;
    let serial = name.split(['_', '-']).next()?;
    VolumeId::from_serial(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_by_id_link_names_its_volume() {
        let id = |link: &str| volume_id_in(Path::new(link)).map(|id| id.to_string());
        let link = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0";
        for suffix in ["", "_1", "-ns-1"] {
            assert_eq!(id(&format!("{link}{suffix}")).as_deref(), Some("vol-0123456789abcdef0"), "{suffix}");
        }
        assert_eq!(id("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol5afc0745").as_deref(), Some("vol-5afc0745"));
        assert_eq!(id("/dev/xvdb"), None);
        assert_eq!(id("/dev/disk/by-id/nvme-Samsung_990_S6Z1"), None);
    }

    #[test]
    fn the_best_link_is_the_one_with_the_serial_whoever_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, other) = (folder.path().join("nvme1n1"), folder.path().join("nvme2n1"));
        for file in [&disk, &other] {
            std::fs::write(file, "").unwrap();
        }
        let serial = "vol0123456789abcdef0";
        let ebs = format!("nvme-Amazon_Elastic_Block_Store_{serial}");
        let of_systemd = [ebs.clone(), format!("{ebs}_1"), "nvme-nvme.1d0f-766f6c30-416d617a-00000001".into()];
        let of_amazon = [format!("{ebs}-ns-1")];
        for (made, best) in [
            (&[][..], None),
            (&of_systemd, Some(&of_systemd[0])),
            (&of_systemd[1..], Some(&of_systemd[1])),
            (&of_systemd[2..], Some(&of_systemd[2])),
            (&of_amazon, Some(&of_amazon[0])),
            (&[&of_systemd[..], &of_amazon].concat(), Some(&of_systemd[0])),
            (&[&of_systemd[2..], &of_amazon].concat(), Some(&of_amazon[0])),
        ] {
            let links = tempfile::tempdir().unwrap();
            for link in made {
                std::os::unix::fs::symlink(&disk, links.path().join(link)).unwrap();
            }
            // Those of another disk, and one that leads nowhere.
            std::os::unix::fs::symlink(&other, links.path().join("nvme-A")).unwrap();
            std::os::unix::fs::symlink("../../nvme9n1", links.path().join(format!("nvme-{serial}"))).unwrap();
            let is_it = |link: &Path| link.canonicalize().is_ok_and(|path| path == disk.canonicalize().unwrap());
            let found = best_link(links.path(), Some(serial), is_it);
            assert_eq!(found, best.map(|name| links.path().join(name)), "{made:?}");
        }
        assert_eq!(best_link(&folder.path().join("absent"), Some(serial), |_| true), None);
        // Without a serial to look for: the shortest.
        let links = tempfile::tempdir().unwrap();
        for link in ["wwn-0x5000c500a1b2c3d4", "virtio-data"] {
            std::os::unix::fs::symlink(&disk, links.path().join(link)).unwrap();
        }
        assert_eq!(best_link(links.path(), None, |_| true), Some(links.path().join("virtio-data")));
    }
}
