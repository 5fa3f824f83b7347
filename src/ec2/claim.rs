//! Has a volume attached to this instance: the loop around [`takeover::step`]. What is chosen
//! from a pool, [`pool`](super::pool) says.
//!
//! EC2's own `AttachVolume` is the only arbiter between nodes. Whatever came of a call, the volume is looked at again:
//! an answer may be lost though the call was done, and a call may be refused because an earlier one was done.

use std::collections::BTreeMap;

use anyhow::anyhow;
use log::{debug, info, warn};
use tokio::time::Instant;

use super::answer::{ApiError, Means};
use super::api::{InstanceStateName, Nic, Volume, Which};
pub use super::pool::{Pool, from_pool};
use super::takeover::{self, History, Step};
use super::wait::Patience;
use super::{Ec2, Me};
use crate::config::{Takeover, VolumeId};
use crate::error::{Failure, Refusal};

/// A volume that is attached here, or on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// As EC2 had it when it was looked at last.
    pub volume: Volume,
    /// The device name that it was attached as, `/dev/sdf`.
    pub device: String,
    /// Whether this run attached it.
    pub attached_now: bool,
    /// The instance that it was taken from.
    pub taken_from: Option<String>,
    /// The network interface of the same slot.
    pub nic: Option<Nic>,
}

/// Why a volume did not come here.
#[derive(Debug)]
pub enum Missed {
    /// Somebody else has it.
    Held(Refusal),
    /// All else.
    Failed(Failure),
}

impl From<Missed> for Failure {
    fn from(missed: Missed) -> Failure {
        match missed {
            Missed::Held(refusal) => Failure::Refused(refusal),
            Missed::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Missed {
        Missed::Failed(failure)
    }
}

impl From<ApiError> for Missed {
    fn from(error: ApiError) -> Missed {
        Missed::Failed(error.into())
    }
}

/// Device names: `sdf` to `sdp` are for EBS volumes on every kind of instance; `sdX` and `xvdX` are one
/// (<https://docs.aws.amazon.com/ebs/latest/userguide/device_naming.html>).
const NAMES: std::ops::RangeInclusive<char> = 'f'..='p';

/// Has the volume attached to this instance, and returns once EC2 has begun to.
///
/// # Errors
/// [`Missed::Held`] where another instance has it and keeps it.
pub async fn hold(ec2: &Ec2, id: &VolumeId, policy: Takeover, patience: &mut Patience) -> Result<Claimed, Missed> {
    let volume = one(ec2, &Which::Id(&id.to_string()), patience).await?;
    hold_seen(ec2, volume, policy, patience).await
}

/// Has the one volume with these tags attached.
pub async fn by_tags(
    ec2: &Ec2,
    tags: &BTreeMap<String, String>,
    policy: Takeover,
    patience: &mut Patience,
) -> Result<Claimed, Missed> {
    let volume = one(ec2, &Which::Tags(tags), patience).await?;
    hold_seen(ec2, volume, policy, patience).await
}

/// The same of a volume that was looked at just now: the first step needs no other look.
pub(super) async fn hold_seen(
    ec2: &Ec2,
    volume: Volume,
    policy: Takeover,
    patience: &mut Patience,
) -> Result<Claimed, Missed> {
    let id = volume.id.clone();
    let mut names = Names { ec2, letters: NAMES, now: None };
    let (mut attach_asked, mut in_use, mut taken_from) = (false, false, None);
    // Of the first look alone: who has come by the second one is alive.
    let mut history = History { first_holder: other(&volume, ec2).cloned(), ..History::default() };
    let mut detach_asked: Option<Instant> = None;
    let mut seen = Some(volume);
    loop {
        let volume = match seen.take() {
            Some(volume) => volume,
            None => one(ec2, &Which::Id(&id.to_string()), patience).await?,
        };
        history.detaching = detach_asked.map(|asked| asked.elapsed());
        let holder = match other(&volume, ec2) {
            Some(instance) => states(ec2, vec![instance.clone()], patience).await?.remove(instance),
            None => None,
        };
        match takeover::step(&volume, &ec2.me, policy, holder.as_ref(), &history) {
            Step::Done => {
                let own = volume.attachments.iter().find(|one| one.instance == ec2.me.instance);
                let device = own.map(|own| own.device.clone()).unwrap_or_default();
                // It was not here when this run asked for it: nobody else attaches to this instance.
                return Ok(Claimed { volume, device, attached_now: attach_asked, taken_from, nic: None });
            }
            Step::Wait(what) => patience.pause(&what).await?,
            Step::Held(refusal) => return Err(Missed::Held(refusal)),
            Step::Never(why) => return Err(Missed::Failed(Failure::Failed(anyhow!(why)))),
            Step::Detach { instance, force, why } => {
                if force {
                    warn!("{id}: forced off {instance}: {why}; what that node had not yet written to it is lost");
                } else {
                    info!("{id}: detached from {instance}: {why}");
                }
                let asked = match patience.within(ec2.api.detach(&id, &instance, force)).await {
                    Ok(()) => true,
                    Err(error) if worth_a_look(error.means) => {
                        patience.note(&error);
                        error.means == Means::Unknown
                    }
                    Err(error) => return Err(error.into()),
                };
                if asked {
                    detach_asked = detach_asked.or_else(|| Some(Instant::now()));
                    history.forced |= force;
                    taken_from = Some(instance);
                }
                patience.pause(&format!("{id} is being detached")).await?;
            }
            Step::Attach => {
                attach_asked = true;
                match attach(ec2, &id, &mut names, patience).await? {
                    Ok(device) => return Ok(Claimed { volume, device, attached_now: true, taken_from, nic: None }),
                    // Whose it is by now a look tells at once, unless looks lag behind.
                    Err(error) if error.means == Means::InUse && !in_use => in_use = true,
                    Err(error) => {
                        patience.note(&error);
                        patience.pause(&format!("{id} could not be attached")).await?;
                    }
                }
            }
        }
    }
}

/// Asks for it under the first name that is free, and says which; or the error that may pass.
async fn attach(
    ec2: &Ec2,
    id: &VolumeId,
    names: &mut Names<'_>,
    patience: &mut Patience,
) -> Result<Result<String, ApiError>, Missed> {
    loop {
        let Some(device) = names.now() else {
            let why = format!("{id}: every device name from /dev/sdf to /dev/sdp is taken on this instance");
            return Err(Missed::Failed(Failure::Failed(anyhow!(why))));
        };
        info!("{id}: attaching it as {device}");
        match patience.within(ec2.api.attach(id, &ec2.me.instance, &device)).await {
            Ok(()) => {
                names.now = None;
                return Ok(Ok(device));
            }
            // The kernel's names say nothing of an AMI's own mapping, and EC2 does not list it either.
            Err(error) if error.means == Means::SlotTaken => {
                debug!("{error}");
                names.now = None;
            }
            Err(error) if worth_a_look(error.means) => return Ok(Err(error)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The device names for one volume. Several volumes are attached at once, and each asks for names that no other does.
struct Names<'a> {
    ec2: &'a Ec2,
    letters: std::ops::RangeInclusive<char>,
    /// The one that is asked for.
    now: Option<String>,
}

impl Names<'_> {
    fn now(&mut self) -> Option<String> {
        if self.now.is_none() {
            let mut names = self.letters.by_ref().map(|letter| format!("/dev/sd{letter}"));
            self.now = names.find(|name| self.ec2.take_name(name));
        }
        self.now.clone()
    }
}

impl Drop for Names<'_> {
    /// What was asked for in vain is free for the next volume.
    fn drop(&mut self) {
        if let Some(name) = self.now.take() {
            self.ec2.give_name(&name);
        }
    }
}

/// Detaches the volume from this instance, and waits until others can have it; whether it was here.
///
/// Asked for before anything is looked at: a look that lags behind an attach of a moment ago does not show it.
pub async fn give_back(ec2: &Ec2, id: &VolumeId, patience: &mut Patience) -> Result<bool, Missed> {
    let what = format!("{id} is being detached");
    let here = loop {
        match patience.within(ec2.api.detach(id, &ec2.me.instance, false)).await {
            Ok(()) => break true,
            Err(error) if error.means == Means::NotAttached => break false,
            Err(error) if worth_a_look(error.means) => patience.note(&error),
            Err(error) => return Err(error.into()),
        }
        patience.pause(&what).await?;
    };
    loop {
        let volume = one(ec2, &Which::Id(&id.to_string()), patience).await?;
        let Some(own) = volume.attachments.iter().find(|one| one.instance == ec2.me.instance) else {
            return Ok(here);
        };
        patience.pause(&format!("{what} (`{}`)", own.state.as_str())).await?;
    }
}

/// The instance that has it, where that is not this one.
fn other<'a>(volume: &'a Volume, ec2: &Ec2) -> Option<&'a String> {
    volume.attachments.iter().map(|one| &one.instance).find(|instance| **instance != ec2.me.instance)
}

pub(super) fn is_here(volume: &Volume, me: &Me) -> bool {
    volume.attachments.iter().any(|one| one.instance == me.instance)
}

/// Whether what was asked for may have been done, or may be done a little later.
pub(super) fn worth_a_look(means: Means) -> bool {
    match means {
        Means::Unknown | Means::Throttled | Means::NotNow | Means::NotAttached | Means::InUse => true,
        Means::SlotTaken | Means::Missing | Means::Forbidden | Means::Never => false,
    }
}

/// The one volume that is meant.
pub async fn one(ec2: &Ec2, which: &Which<'_>, patience: &mut Patience) -> Result<Volume, Missed> {
    let mut volumes = ask(patience, || ec2.api.volumes(which)).await?;
    if volumes.len() == 1 {
        return Ok(volumes.remove(0));
    }
    let what = match which {
        Which::Id(id) => (*id).to_owned(),
        Which::Tags(tags) => format!("a volume with the tags {}", show(tags)),
    };
    let ids: Vec<String> = volumes.iter().map(|volume| volume.id.to_string()).collect();
    Err(Missed::Failed(Failure::Failed(match ids.as_slice() {
        [] => anyhow!("EC2 has no such volume in {}: {what}", ec2.me.region),
        many => anyhow!(
            "{} volumes have the tags of {what}: {}. Name one by its id, or write `pool:`",
            many.len(),
            many.join(", ")
        ),
    })))
}

/// The states of these instances.
pub(super) async fn states(
    ec2: &Ec2,
    ids: Vec<String>,
    patience: &mut Patience,
) -> Result<BTreeMap<String, InstanceStateName>, Missed> {
    Ok(ask(patience, || ec2.api.instance_states(ids.clone())).await?)
}

/// Asks again until there is an answer, or no time is left.
pub async fn ask<T, F>(patience: &mut Patience, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ApiError>>,
{
    loop {
        match patience.within(call()).await {
            Err(error) if matches!(error.means, Means::Unknown | Means::Throttled) => {
                patience.note(&error);
                patience.pause("EC2 gives no answer").await?;
            }
            other => return Ok(other?),
        }
    }
}

/// `cluster=kafka, slot=3`
pub(super) fn show(tags: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}
