//! Which volume of a pool this node takes, and the network interface of its slot: both or neither.
//!
//! Many nodes choose at once and nobody but `AttachVolume` settles who gets what; who comes too late takes the next.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::time::Duration;

use anyhow::anyhow;
use log::{info, warn};
use siphasher::sip::SipHasher13;

use super::api::{Volume, VolumeState, Which};
use super::claim::{Claimed, Missed, ask, give_back, hold_seen, is_here, show, states};
use super::takeover::{self, History, Step};
use super::wait::Patience;
use super::{Ec2, Me, interface};
use crate::config::{Interface, Takeover, VolumeId};
use crate::error::{Failure, Refusal};

/// How long it is tried to give back what cannot be used.
const GIVING_BACK: Duration = Duration::from_secs(60);

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
            // One that is here already may be in use here: another one beside it would not make this node whole.
            Err(Missed::Held(refusal)) if !is_here(choice, &ec2.me) => {
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
    let mut claimed = hold_seen(ec2, volume.clone(), pool.policy, patience).await?;
    if let Some((interface, tags)) = &wanted {
        match interface::hold(ec2, &Which::Tags(tags), interface.device_index, patience).await {
            Ok(nic) => claimed.nic = Some(nic),
            Err(missed) => {
                if claimed.attached_now {
                    warn!("{}: given back, since the network interface of its slot is not to be had", volume.id);
                    // The time may be over; a volume without its interface is nobody's all the same.
                    if let Err(error) = give_back(ec2, &volume.id, &mut Patience::new(GIVING_BACK)).await {
                        warn!("{}: it stays here: {}", volume.id, Failure::from(error));
                    }
                }
                return Err(missed);
            }
        }
    }
    Ok(claimed)
}

/// The volumes of a pool in the order in which this node tries them: what is here, what was here, what is free, what
/// others have. Among equals each node has an order of its own, so that many do not all want the first.
pub fn order<'a>(volumes: &'a [Volume], me: &Me, last: Option<&VolumeId>) -> Vec<&'a Volume> {
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
