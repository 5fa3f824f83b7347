//! The source `image`: a file through a loop device. Made where it is absent, attached once however many
//! runs there are, found again after a reboot. What an existing file holds is never touched here.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use log::info;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_CLOEXEC;

use super::{Device, Effort, Sysfs};
use crate::bytes::Bytes;
use crate::error::Failure;
use crate::ioctl;

/// A race for a free loop device is lost at most this often in a row before it is called an error.
const ATTEMPTS: usize = 64;

/// The device of the image at `path` (as this process opens it).
pub fn locate(path: &Path, size: Bytes, effort: Effort) -> Result<Device, Failure> {
    let mut device = match effort {
        Effort::Bring => bring(path, size)?,
        Effort::Look => look(path, size)?,
    };
    device.image = Some(path.to_owned());
    Ok(device)
}

fn bring(path: &Path, size: Bytes) -> anyhow::Result<Device> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(O_CLOEXEC)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    // Two runs at once: the second waits here, then finds the loop device of the first.
    let file = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| anyhow!(errno))
        .with_context(|| format!("locking {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("looking at {}", path.display()))?.len();
    if length == 0 {
        info!("making {}, sparse, {size}", path.display());
        file.set_len(size.0).with_context(|| format!("making {}", path.display()))?;
    }
    // Held until it is open once more: the last one who closes it detaches it.
    let (node, _held) = match attached(&file, path)? {
        Some(found) => found,
        None => attach(&file, path)?,
    };
    let device = Device::open(&node)?;
    let length = Bytes(file.metadata().with_context(|| format!("looking at {}", path.display()))?.len() & !511);
    if device.size == length {
        return Ok(device);
    }
    ioctl::refresh_loop_size(&device.file).with_context(|| format!("telling {} its file's size", node.display()))?;
    Device::open(&node)
}

/// The loop device of the image, where there is one.
pub fn find(path: &Path) -> anyhow::Result<Option<Device>> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    attached(&file, path)?.map(|(node, _held)| Device::open(&node)).transpose()
}

fn look(path: &Path, size: Bytes) -> anyhow::Result<Device> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return rehearse(path, size),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    if let Some((node, _held)) = attached(&file, path)? {
        return Device::open(&node);
    }
    let mut device = Device::open(path)?;
    if device.size == Bytes(0) {
        return rehearse(path, size);
    }
    device.pending.push(format!("attach {} to a loop device", path.display()));
    Ok(device)
}

/// What the image would be like: a nameless file of its size, so that the plan is made from real reads.
fn rehearse(path: &Path, size: Bytes) -> anyhow::Result<Device> {
    let file = tempfile::tempfile()
        .and_then(|file| file.set_len(size.0).map(|()| file))
        .context("making a file to plan with")?;
    let pending =
        vec![format!("make {}, sparse, {size}", path.display()), format!("attach {} to a loop device", path.display())];
    let path = path.to_owned();
    Ok(Device { size, pending, ..Device::of_file(file, path) })
}

/// The loop device that has this very file behind it: by inode, since a path can be renamed or replaced.
fn attached(file: &File, path: &Path) -> anyhow::Result<Option<(PathBuf, File)>> {
    let meta = file.metadata().context("looking at the image")?;
    for disk in Sysfs::disks().context("listing /sys/block")? {
        // Opening a loop device whose file hangs would hang this boot with it. The kernel tells the file's name of
        // today; its folder may be another one in another mount namespace.
        let backing = disk.attribute("loop/backing_file");
        if backing.as_deref().map(Path::new).and_then(Path::file_name) != path.file_name() {
            continue;
        }
        let node = disk.node();
        let Ok(device) = File::open(&node) else { continue };
        if ioctl::loop_backing(&device) == Ok((meta.dev(), meta.ino())) {
            return Ok(Some((node, device)));
        }
    }
    Ok(None)
}

/// As mount(8) attaches an image: it is detached when it is unmounted, or when nobody has it open that did not come to
/// mounting it. Left attached, it would keep what its file lies on from being unmounted.
fn attach(file: &File, path: &Path) -> anyhow::Result<(PathBuf, File)> {
    let control = File::open("/dev/loop-control").context("opening /dev/loop-control (is the loop module there?)")?;
    for _ in 0..ATTEMPTS {
        let number = ioctl::free_loop(&control).context("asking for a free loop device")?;
        let node = Path::new("/dev").join(format!("loop{number}"));
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&node)
            .with_context(|| format!("opening {}", node.display()))?;
        match ioctl::attach_loop(&device, file, path) {
            Ok(()) => {
                info!("attached {} to {}", path.display(), node.display());
                return Ok((node, device));
            }
            // Another process took it between the question and the answer.
            Err(Errno::EBUSY) => {}
            Err(errno) => {
                return Err(errno).with_context(|| format!("attaching {} to {}", path.display(), node.display()));
            }
        }
    }
    Err(anyhow!(
        "no loop device could be had for {} in {ATTEMPTS} attempts: others take each free one first",
        path.display()
    ))
}
