//! Has a volume attached to this instance: the loop around [`takeover::step`], and the choice from a pool.
//!
//! EC2's own `AttachVolume` is the only arbiter between nodes. Whatever came of a call, the volume is looked at again:
//! an answer may be lost though the call was done, and a call may be refused because an earlier one was done.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use anyhow::anyhow;
use log::{info, warn};
use siphasher::sip::SipHasher13;
use tokio::time::Instant;

use super::answer::{ApiError, Means};
use super::api::{InstanceStateName, Nic, Volume, VolumeState, Which};
use super::takeover::{self, History, Step};
use super::wait::Patience;
use super::{Ec2, interface};
use crate::config::{Interface, Takeover, VolumeId};
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
    let mut names = NAMES.map(|letter| format!("/dev/sd{letter}")).filter(|name| ec2.take_name(name));
    let mut name = names.next();
    let (mut attached_now, mut taken_from) = (false, None);
    let mut history = History::default();
    let mut detach_asked: Option<Instant> = None;
    loop {
        let volume = one(ec2, &Which::Id(&id.to_string()), patience).await?;
        let other = volume.attachments.iter().map(|one| &one.instance).find(|instance| **instance != ec2.me.instance);
        let other = other.cloned();
        if history.first_holder.is_none() {
            history.first_holder.clone_from(&other);
        }
        history.detaching = detach_asked.map(|asked| asked.elapsed());
        let holder = match &other {
            Some(instance) => states(ec2, vec![instance.clone()], patience).await?.remove(instance),
            None => None,
        };
        match takeover::step(&volume, &ec2.me, policy, holder.as_ref(), &history) {
            Step::Done => {
                let own = volume.attachments.iter().find(|one| one.instance == ec2.me.instance);
                let device = own.map(|own| own.device.clone()).unwrap_or_default();
                return Ok(Claimed { volume, device, attached_now, taken_from, nic: None });
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
                match ec2.api.detach(id, &instance, force).await {
                    Ok(()) => {}
                    Err(error) if worth_a_look(error.means) => patience.note(&error),
                    Err(error) => return Err(error.into()),
                }
                detach_asked = detach_asked.or_else(|| Some(Instant::now()));
                taken_from = Some(instance);
                patience.pause(&format!("{id} is being detached")).await?;
            }
            Step::Attach => {
                let Some(device) = &name else {
                    let why = format!("{id}: every device name from /dev/sdf to /dev/sdp is taken on this instance");
                    return Err(Missed::Failed(Failure::Failed(anyhow!(why))));
                };
                info!("{id}: attaching it as {device}");
                match ec2.api.attach(id, &ec2.me.instance, device).await {
                    Ok(()) => {
                        let device = device.clone();
                        return Ok(Claimed { volume, device, attached_now: true, taken_from, nic: None });
                    }
                    Err(error) if error.means == Means::SlotTaken => {
                        // The kernel's names say nothing of an AMI's own mapping, and EC2 does not list it either.
                        name = names.next();
                        patience.note(&error);
                    }
                    Err(error) if error.means == Means::InUse => patience.note(&error),
                    Err(error) if worth_a_look(error.means) => {
                        attached_now |= error.means == Means::Unknown;
                        patience.note(&error);
                        patience.pause(&format!("{id} could not be attached")).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// Has the one volume with these tags attached.
pub async fn by_tags(
    ec2: &Ec2,
    tags: &BTreeMap<String, String>,
    policy: Takeover,
    patience: &mut Patience,
) -> Result<Claimed, Missed> {
    let volume = one(ec2, &Which::Tags(tags), patience).await?;
    hold(ec2, &volume.id, policy, patience).await
}

/// What is chosen from.
#[derive(Debug)]
pub struct Pool<'a> {
    /// The tags of its volumes.
    pub tags: &'a BTreeMap<String, String>,
    /// The tag whose value is the slot.
    pub slot_tag: Option<&'a str>,
    /// The network interface that goes with the slot.
    pub interface: Option<&'a Interface>,
    /// The volume that this instance had.
    pub last: Option<&'a VolumeId>,
    /// Whether volumes of instances that have stopped or are gone may be taken over.
    pub policy: Takeover,
}

/// Has one volume of a pool attached, with the network interface of its slot: both or neither.
///
/// # Errors
/// [`Failure::Absent`] where no slot has become free before the deadline.
pub async fn from_pool(ec2: &Ec2, pool: &Pool<'_>, patience: &mut Patience) -> Result<Claimed, Missed> {
    let mut passed: BTreeSet<VolumeId> = BTreeSet::new();
    loop {
        let which = Which::Tags(pool.tags);
        let volumes = ask(patience, || ec2.api.volumes(&which)).await?;
        if volumes.is_empty() {
            return Err(Missed::Failed(Failure::Failed(anyhow!(
                "no volume has the tags of the pool ({})",
                show(pool.tags)
            ))));
        }
        let holders: BTreeSet<String> =
            volumes.iter().flat_map(|one| &one.attachments).map(|one| one.instance.clone()).collect();
        let mut order = order(&volumes, &ec2.me, pool.last);
        order.retain(|volume| !passed.contains(&volume.id) && !ec2.is_taken(&volume.id));
        let mut choice = order.iter().find(|volume| volume.attachments.is_empty() || is_here(volume, &ec2.me)).copied();
        if choice.is_none() && !holders.is_empty() {
            let states = states(ec2, holders.into_iter().take(200).collect(), patience).await?;
            let ended = |volume: &&&Volume| {
                let history = History::default();
                let holder = volume.attachments.first().and_then(|one| states.get(&one.instance));
                let step = takeover::step(volume, &ec2.me, pool.policy, holder, &history);
                matches!(step, Step::Detach { .. } | Step::Attach)
            };
            choice = order.iter().find(ended).copied();
        }
        let Some(choice) = choice else {
            passed.clear();
            let here = volumes.iter().filter(|volume| volume.zone == ec2.me.zone).count();
            let what = format!(
                "a free volume of the pool ({}): of {} with these tags {here} are in {}, and each is another node's",
                show(pool.tags),
                volumes.len(),
                ec2.me.zone
            );
            patience.pause(&what).await?;
            continue;
        };
        let id = choice.id.clone();
        if !ec2.take(&id) {
            continue;
        }
        match hold_slot(ec2, pool, choice, patience).await {
            Ok(claimed) => return Ok(claimed),
            Err(Missed::Held(refusal)) => {
                info!("the next of the pool: {refusal}");
                ec2.give(&id);
                passed.insert(id);
            }
            Err(failed) => {
                ec2.give(&id);
                return Err(failed);
            }
        }
    }
}

/// The volume first: who has it has the right to the interface of its slot.
async fn hold_slot(ec2: &Ec2, pool: &Pool<'_>, volume: &Volume, patience: &mut Patience) -> Result<Claimed, Missed> {
    let slot = pool.slot_tag.and_then(|tag| volume.tags.get(tag));
    let wanted = match (pool.interface, pool.slot_tag, slot) {
        (Some(interface), Some(tag), Some(slot)) => {
            let mut tags = pool.tags.clone();
            tags.insert(tag.to_owned(), slot.clone());
            Some((interface, tags))
        }
        (Some(_), tag, _) => {
            let way_out = "Give each volume of the pool a slot that one network interface has too.".into();
            let found = format!("has no tag `{}`, so no network interface goes with it", tag.unwrap_or("slot"));
            return Err(Missed::Held(Refusal { subject: volume.id.to_string(), found, way_out, written: false }));
        }
        (None, ..) => None,
    };
    if let Some((_, tags)) = &wanted {
        // Looked at before anything is taken: a pair that cannot be whole is left for others to see.
        let nic = interface::one(ec2, &Which::Tags(tags), patience).await?;
        interface::is_to_be_had(ec2, &nic, patience).await?;
    }
    // Another node of the pool that has it by now is no reason to fight.
    let mut claimed = hold(ec2, &volume.id, pool.policy, patience).await?;
    if let Some((interface, tags)) = &wanted {
        match interface::hold(ec2, &Which::Tags(tags), interface.device_index, patience).await {
            Ok(nic) => claimed.nic = Some(nic),
            Err(missed) => {
                if claimed.attached_now {
                    warn!("{}: given back, since the network interface of its slot is not to be had", volume.id);
                    give_back(ec2, &volume.id, patience).await?;
                }
                return Err(missed);
            }
        }
    }
    Ok(claimed)
}

/// Detaches the volume from this instance, and waits until others can have it; whether it was here.
pub async fn give_back(ec2: &Ec2, id: &VolumeId, patience: &mut Patience) -> Result<bool, Missed> {
    let (mut here, mut asked) = (false, false);
    loop {
        let volume = one(ec2, &Which::Id(&id.to_string()), patience).await?;
        if !is_here(&volume, &ec2.me) {
            return Ok(here);
        }
        here = true;
        if !asked {
            match ec2.api.detach(id, &ec2.me.instance, false).await {
                Ok(()) => asked = true,
                Err(error) if worth_a_look(error.means) => patience.note(&error),
                Err(error) => return Err(error.into()),
            }
        }
        let state = volume.attachments.iter().find(|one| one.instance == ec2.me.instance).map(|one| one.state.as_str());
        patience.pause(&format!("{id} is being detached (`{}`)", state.unwrap_or("detached"))).await?;
    }
}

fn is_here(volume: &Volume, me: &super::Me) -> bool {
    volume.attachments.iter().any(|one| one.instance == me.instance)
}

/// Whether what was asked for may have been done, or may be done a little later.
pub(super) fn worth_a_look(means: Means) -> bool {
    match means {
        Means::Unknown | Means::Throttled | Means::NotNow | Means::NotAttached | Means::InUse => true,
        Means::SlotTaken | Means::Missing | Means::Forbidden | Means::Never => false,
    }
}

/// The volumes of a pool in the order in which this node tries them: what is here, what was here, what is free, what
/// others have. Among equals each node has an order of its own, so that many do not all want the first.
pub fn order<'a>(volumes: &'a [Volume], me: &super::Me, last: Option<&VolumeId>) -> Vec<&'a Volume> {
    let own = |volume: &Volume| {
        let mut hasher = SipHasher13::new();
        hasher.write(me.instance.as_bytes());
        hasher.write(volume.id.to_string().as_bytes());
        hasher.finish()
    };
    let rank = |volume: &Volume| match () {
        () if is_here(volume, me) => 0,
        () if Some(&volume.id) == last && volume.attachments.is_empty() => 1,
        () if volume.state == VolumeState::Available => 2,
        () if Some(&volume.id) == last => 3,
        () => 4,
    };
    let can_be = |volume: &&Volume| {
        volume.zone == me.zone
            && matches!(volume.state, VolumeState::Available | VolumeState::InUse | VolumeState::Creating)
    };
    let mut order: Vec<&Volume> = volumes.iter().filter(can_be).collect();
    order.sort_by_key(|volume| (rank(volume), own(volume)));
    order
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
        match call().await {
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
