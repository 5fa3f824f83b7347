//! The source `ebs`: an EBS volume by the serial that its disk reports. One that is attached needs no API, no
//! credentials and no network; for one that is not, EC2 is asked where the config allows it.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use log::{debug, info};

use super::{Cloud, Device, Effort, Sysfs, wait};
use crate::config::template::{self, Piece, Word};
use crate::config::{Ebs, EbsVolume, Interface, Volume, VolumeId};
use crate::error::Failure;
use crate::interfaces;
use crate::report::progress;
use crate::root::Root;
use crate::state::{self, Attached};

/// The device of the volume `volume`, whose source is `ebs`.
pub fn locate(
    volume: &Volume,
    ebs: &Ebs,
    of_config: &[Interface],
    root: &Root,
    effort: Effort,
) -> Result<Device, Failure> {
    let pair = of_config.iter().find(|interface| interface.is_slot_of(&volume.name));
    let attached: Option<Attached> = state::recall(root, &volume.name);
    let last = attached.as_ref().and_then(Attached::id);
    let known = known(ebs, last.as_ref());
    let words = attached.filter(|_| last == known).map(|attached| attached.words);
    let is_whole = pair.is_none_or(|pair| interfaces::look(pair, root).is_some());
    if let Some(id) = &known
        && is_whole
        && (words.is_some() || !(ebs.attach && asks_for_words(volume)))
        && let Some(device) = find(id)?
    {
        return Ok(Device { words: words.unwrap_or_default(), ..device });
    }
    match (effort, ebs.attach, &known) {
        (Effort::Bring, true, _) => attach(volume, ebs, pair, last.as_ref(), root),
        (Effort::Bring, false, Some(id)) => arrives(id, ebs.timeout, || find(id)),
        (Effort::Bring, false, None) => Err(Failure::Usage(anyhow!(
            "only EC2 knows which volume has these tags: say `attach: true`, or name the volume by its id"
        ))),
        (Effort::Look, true, _) => {
            let what = known.map_or_else(|| "the volume".to_owned(), |id| id.to_string());
            Err(Failure::Absent(anyhow!("{what} is not attached to this instance yet; `volinit up` asks EC2 for it")))
        }
        (Effort::Look, false, known) => Err(absent(known.as_ref(), Duration::ZERO)),
    }
}

/// Whether its metadata has a word that only EC2 knows.
fn asks_for_words(volume: &Volume) -> bool {
    let of_ec2 = |piece: &Piece| matches!(piece, Piece::Word(Word::Slot | Word::Zone));
    volume.metadata.values().any(|text| template::pieces(text).is_ok_and(|pieces| pieces.iter().any(of_ec2)))
}

/// The disk that reports this volume's serial.
pub fn find(id: &VolumeId) -> Result<Option<Device>, Failure> {
    let Ok(disks) = Sysfs::disks().inspect_err(|error| debug!("listing the disks: {error}")) else { return Ok(None) };
    let is_it = |disk: &&Sysfs| disk.serial().as_deref().and_then(VolumeId::from_serial).as_ref() == Some(id);
    let Some(disk) = disks.iter().find(is_it) else { return Ok(None) };
    let device = match Device::open(&disk.node()) {
        Ok(device) => device,
        Err(error) if super::comes_later(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The node is devtmpfs's or udev's: it is proved to be that disk, by its own number.
    match device.volume_id() {
        Some(reported) if reported == *id => {
            info!("{} reports the serial of {id}", device.path.display());
            Ok(Some(device))
        }
        _ => Ok(None),
    }
}

/// Waits for the disk that `find` looks for.
fn arrives(
    id: &VolumeId,
    timeout: Duration,
    find: impl FnMut() -> Result<Option<Device>, Failure>,
) -> Result<Device, Failure> {
    let _waiting = progress::start(|| format!("waiting for the disk of {id}"));
    // devtmpfs makes the node in this folder.
    let found = wait::until(Path::new("/dev/nvme"), timeout, find)?;
    found.ok_or_else(|| absent(Some(id), timeout))
}

fn absent(id: Option<&VolumeId>, waited: Duration) -> Failure {
    let what = id.map_or_else(|| "a volume with these tags".to_owned(), |id| format!("the disk of {id}"));
    let waited = if waited.is_zero() { String::new() } else { format!(" after {} s", waited.as_secs()) };
    Failure::Absent(anyhow!(
        "{what} is not there{waited}: attach it, or say `attach: true` and volinit does; `volinit devices` lists what is there"
    ))
}

#[cfg(not(feature = "ec2"))]
fn attach(_: &Volume, _: &Ebs, _: Option<&Interface>, _: Option<&VolumeId>, _: &Root) -> Result<Device, Failure> {
    Err(Failure::without_ec2("attach the volume by other means"))
}

#[cfg(feature = "ec2")]
fn attach(
    volume: &Volume,
    ebs: &Ebs,
    pair: Option<&Interface>,
    last: Option<&VolumeId>,
    root: &Root,
) -> Result<Device, Failure> {
    use crate::config::Takeover;
    use crate::ec2::claim::{self, Pool};
    use crate::ec2::{self, wait::Patience};
    use crate::publish::CloudWords;
    use crate::report::journal::event;
    use crate::state::Link;

    let forcing = match ebs.takeover {
        Takeover::Force { after } => after,
        Takeover::Never | Takeover::WhenStopped => Duration::ZERO,
    };
    let timeout = ebs.timeout + forcing;
    let began = std::time::Instant::now();
    let (claimed, zone) = ec2::with(async |ec2| {
        let mut patience = Patience::new(timeout);
        let claimed = match &ebs.volume {
            EbsVolume::Id(id) => claim::hold(ec2, id, ebs.takeover, &mut patience).await?,
            EbsVolume::Tags(tags) => claim::by_tags(ec2, &ec2.tags(tags).await?, ebs.takeover, &mut patience).await?,
            EbsVolume::Pool { tags, slot_tag } => {
                let (tags, slot_tag) = (&ec2.tags(tags).await?, slot_tag.as_deref());
                let pool = Pool { tags, slot_tag, interface: pair, last, policy: ebs.takeover };
                claim::from_pool(ec2, &pool, &mut patience).await?
            }
        };
        Ok((claimed, ec2.me.zone.clone()))
    })?;
    let id = claimed.volume.id.clone();
    let left = || timeout.saturating_sub(began.elapsed()).max(Duration::from_secs(1));
    let on_xen = std::fs::read_to_string("/sys/hypervisor/type").is_ok_and(|kind| kind.trim() == "xen");
    let find = || match find(&id)? {
        None if on_xen => super::xen::find(Path::new("/dev"), &claimed.device, claimed.volume.size, &id),
        found => Ok(found),
    };
    let mut device = arrives(&id, left(), find).map_err(|failure| match failure {
        Failure::Absent(_) => Failure::Absent(anyhow!(
            "EC2 attached {id}, but no disk of it has come after {} s: see the kernel's log",
            began.elapsed().as_secs()
        )),
        other => other,
    })?;
    let slot = match &ebs.volume {
        EbsVolume::Pool { slot_tag: Some(tag), .. } => claimed.volume.tags.get(tag).cloned(),
        EbsVolume::Id(_) | EbsVolume::Tags(_) | EbsVolume::Pool { slot_tag: None, .. } => None,
    };
    if let (Some(nic), Some(interface)) = (&claimed.nic, pair) {
        let link = Link { id: nic.id.clone(), mac: nic.mac.clone(), address: nic.address.clone() };
        link.arrives(left())?;
        state::remember(root, &interface.name, &link)?;
    }
    info!(target: event::ATTACHED, "{}: {id} is attached, as {}", volume.name, device.path.display());
    device.words = CloudWords { slot, zone: Some(zone), address: None };
    let attached = Attached { volume_id: id.to_string(), words: device.words.clone() };
    state::remember(root, &volume.name, &attached)?;
    device.cloud =
        Some(Cloud { size: claimed.volume.size, snapshot: claimed.volume.snapshot, taken_from: claimed.taken_from });
    Ok(device)
}

/// What EC2 knows of a volume that is attached; `None` for a disk that reports no volume id.
///
/// # Errors
/// [`Failure::Absent`] where there is no answer in time.
#[cfg(feature = "ec2")]
pub fn ask(device: &Device, timeout: Duration) -> Result<Option<Cloud>, Failure> {
    use crate::ec2::{self, api::Which, claim, wait::Patience};
    let Some(id) = device.volume_id() else { return Ok(None) };
    ec2::with(async |ec2| {
        let volume = claim::one(ec2, &Which::Id(&id.to_string()), &mut Patience::new(timeout)).await?;
        Ok(Some(Cloud { size: volume.size, snapshot: volume.snapshot, taken_from: None }))
    })
}

/// Waits until the kernel shows the size that EC2 gives the volume: a modification takes seconds to hours.
///
/// # Errors
/// [`Failure::Failed`] when it does not: to be run again later.
#[cfg(feature = "ec2")]
pub fn wait_for_size(device: &mut Device, timeout: Duration) -> Result<(), Failure> {
    use crate::ec2::api::VolumeModificationState::Modifying;
    use crate::ec2::{self, api::Which, claim, wait::Patience};
    let Some(id) = device.volume_id() else { return Ok(()) };
    let began = std::time::Instant::now();
    let size = ec2::with(async |ec2| {
        let mut patience = Patience::new(timeout);
        loop {
            // The new size is there once the modification is `optimizing`; before that nothing shows it.
            if claim::ask(&mut patience, || ec2.api.modification(&id)).await? != Some(Modifying) {
                return Ok(claim::one(ec2, &Which::Id(&id.to_string()), &mut patience).await?.size);
            }
            patience.pause(&format!("{id} is being modified")).await?;
        }
    })?;
    let left = timeout.saturating_sub(began.elapsed());
    let _waiting = progress::start(|| format!("waiting for {} to become {size}", device.path.display()));
    let grown = wait::until(Path::new("/dev/nvme"), left, || -> Result<_, Failure> {
        device.refresh()?;
        Ok((device.size >= size).then_some(()))
    })?;
    grown.ok_or_else(|| {
        let path = device.path.display();
        Failure::Failed(anyhow!(
            "{id} has {size} by EC2's word, but {path} still shows {}: run it again, or write 1 to \
             /sys/class/nvme/nvme*/rescan_controller",
            device.size
        ))
    })
}

/// Without the feature there is nobody to ask.
#[cfg(not(feature = "ec2"))]
pub fn ask(_: &Device, _: Duration) -> Result<Option<Cloud>, Failure> {
    Err(Failure::without_ec2("say `attach: false`"))
}

/// Without the feature there is nobody to ask, and the kernel's size is what counts.
#[cfg(not(feature = "ec2"))]
pub fn wait_for_size(_: &mut Device, _: Duration) -> Result<(), Failure> {
    Ok(())
}

/// How long the kernel takes at most to let go of a disk that EC2 has detached.
#[cfg(feature = "ec2")]
const GONE: Duration = Duration::from_secs(30);

/// Detaches the volume from this instance and waits until others can have it; says what was done.
#[cfg(feature = "ec2")]
pub fn detach(volume: &Volume, ebs: &Ebs, root: &Root) -> Result<Option<String>, Failure> {
    use crate::ec2::{self, claim, wait::Patience};
    use log::warn;
    let Some(id) = recalled(volume, ebs, root) else { return Ok(None) };
    let here = ec2::with(async |ec2| Ok(claim::give_back(ec2, &id, &mut Patience::new(ebs.timeout)).await?))?;
    state::forget::<Attached>(root, &volume.name)?;
    // A disk that is yet to go would be taken for the volume by the next `up`. Where it stays, EC2's word stands.
    if let Ok(None) = wait::until(Path::new("/dev/nvme"), GONE, || Ok::<_, Failure>(find(&id)?.is_none().then_some(())))
    {
        warn!("{id} is detached, but its disk is still there after {} s", GONE.as_secs());
    }
    Ok(here.then(|| format!("{id} detached")))
}

/// Without the feature it stays attached.
#[cfg(not(feature = "ec2"))]
pub fn detach(_: &Volume, _: &Ebs, _: &Root) -> Result<Option<String>, Failure> {
    Err(Failure::without_ec2("detach the volume by other means"))
}

/// The volume, where it is here already.
pub fn attached(volume: &Volume, ebs: &Ebs, root: &Root) -> Result<Option<Device>, Failure> {
    recalled(volume, ebs, root).map_or(Ok(None), |id| find(&id))
}

/// Which volume it is, as far as that is known without EC2: one that is not named is the last that was attached.
fn known(ebs: &Ebs, last: Option<&VolumeId>) -> Option<VolumeId> {
    match &ebs.volume {
        EbsVolume::Id(id) => Some(id.clone()),
        EbsVolume::Tags(_) | EbsVolume::Pool { .. } => last.cloned(),
    }
}

fn recalled(volume: &Volume, ebs: &Ebs, root: &Root) -> Option<VolumeId> {
    let attached: Option<Attached> = state::recall(root, &volume.name);
    known(ebs, attached.as_ref().and_then(Attached::id).as_ref())
}
