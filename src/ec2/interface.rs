//! Has a network interface attached to this instance. What is true of volumes is true of interfaces; and one that a
//! running instance holds is never moved.

use anyhow::anyhow;
use log::info;

use super::Ec2;
use super::answer::Means;
use super::api::{AttachmentStatus, InstanceStateName, Nic, Which};
use super::claim::{Missed, ask, show, states, worth_a_look};
use super::wait::Patience;
use crate::error::{Failure, Refusal};

/// Has it attached to this instance at `index`, and returns once EC2 has begun to.
///
/// # Errors
/// [`Missed::Held`] where another instance has it and keeps it.
pub async fn hold(ec2: &Ec2, which: &Which<'_>, index: u8, patience: &mut Patience) -> Result<Nic, Missed> {
    // A look may lag behind an attach of a moment ago.
    let mut looks = 3;
    loop {
        let nic = one(ec2, which, patience).await?;
        is_in_zone(ec2, &nic)?;
        let id = &nic.id;
        let Some(attachment) = &nic.attachment else {
            info!("{id}: attaching it at device index {index}");
            match patience.within(ec2.api.attach_interface(id, &ec2.me.instance, index)).await {
                Ok(()) => return Ok(nic),
                Err(error) if error.means == Means::SlotTaken => {
                    // Ours, where the answer to an earlier call was lost.
                    if looks == 0 {
                        let why = anyhow!("{error}: choose another `device-index`");
                        return Err(Missed::Failed(Failure::Failed(why)));
                    }
                    looks -= 1;
                    patience.note(&error);
                    patience.pause(&format!("whether {id} has device index {index} already")).await?;
                }
                Err(error) if worth_a_look(error.means) => {
                    patience.note(&error);
                    patience.pause(&format!("{id} could not be attached")).await?;
                }
                Err(error) => return Err(error.into()),
            }
            continue;
        };
        match (attachment.instance == ec2.me.instance, &attachment.status) {
            (true, AttachmentStatus::Attached | AttachmentStatus::Attaching) => return Ok(nic),
            (_, AttachmentStatus::Detaching) | (true, _) => {
                patience.pause(&format!("{id} is being detached from {}", attachment.instance)).await?;
            }
            (false, _) => {
                if is_to_be_had(ec2, &nic, patience).await? {
                    info!("{id}: detached from {}, which does not run", attachment.instance);
                    match patience.within(ec2.api.detach_interface(&attachment.id)).await {
                        Ok(()) => {}
                        Err(error) if worth_a_look(error.means) => patience.note(&error),
                        Err(error) => return Err(error.into()),
                    }
                }
                patience.pause(&format!("{id} is being detached from {}", attachment.instance)).await?;
            }
        }
    }
}

/// Detaches the interface from this instance, and waits until others can have it; whether it was here.
pub async fn give_back(ec2: &Ec2, id: &str, patience: &mut Patience) -> Result<bool, Missed> {
    let (mut here, mut asked) = (false, false);
    loop {
        let nic = one(ec2, &Which::Id(id), patience).await?;
        let Some(attachment) = nic.attachment.as_ref().filter(|one| one.instance == ec2.me.instance) else {
            return Ok(here);
        };
        here = true;
        if !asked {
            match patience.within(ec2.api.detach_interface(&attachment.id)).await {
                Ok(()) => asked = true,
                Err(error) if worth_a_look(error.means) => patience.note(&error),
                Err(error) => return Err(error.into()),
            }
        }
        patience.pause(&format!("{id} is being detached")).await?;
    }
}

/// Whether it may be taken now (`true`) or a little later (`false`).
///
/// # Errors
/// [`Missed::Held`] where a running instance has it, or it is in another zone.
pub async fn is_to_be_had(ec2: &Ec2, nic: &Nic, patience: &mut Patience) -> Result<bool, Missed> {
    is_in_zone(ec2, nic)?;
    let held = |found: String, way_out: &str| Err(held(nic, found, way_out));
    let Some(attachment) = nic.attachment.as_ref().filter(|one| one.instance != ec2.me.instance) else {
        return Ok(true);
    };
    if attachment.instance.is_empty() {
        return held("belongs to a service of AWS's".into(), "Name another one.");
    }
    let state = states(ec2, vec![attachment.instance.clone()], patience).await?.remove(&attachment.instance);
    match state {
        Some(InstanceStateName::Running | InstanceStateName::Pending) => held(
            format!("is attached to {}, which is running", attachment.instance),
            "Detach it there, or stop that instance.",
        ),
        Some(InstanceStateName::Stopped | InstanceStateName::Terminated) | None => Ok(true),
        Some(_) => Ok(false),
    }
}

fn is_in_zone(ec2: &Ec2, nic: &Nic) -> Result<(), Missed> {
    if nic.zone == ec2.me.zone {
        return Ok(());
    }
    let found = format!("is in {} and this instance in {}", nic.zone, ec2.me.zone);
    Err(held(nic, found, "An interface stays in its zone: make one here."))
}

fn held(nic: &Nic, found: String, way_out: &str) -> Missed {
    Missed::Held(Refusal { subject: nic.id.clone(), found, way_out: way_out.to_owned(), written: false })
}

/// The one interface that is meant.
pub(super) async fn one(ec2: &Ec2, which: &Which<'_>, patience: &mut Patience) -> Result<Nic, Missed> {
    let mut nics = ask(patience, || ec2.api.interfaces(which)).await?;
    if nics.len() == 1 {
        return Ok(nics.remove(0));
    }
    let what = match which {
        Which::Id(id) => (*id).to_owned(),
        Which::Tags(tags) => format!("with the tags {}", show(tags)),
    };
    let ids: Vec<&str> = nics.iter().map(|nic| nic.id.as_str()).collect();
    Err(Missed::Failed(Failure::Failed(match ids.as_slice() {
        [] => anyhow!("EC2 has no such network interface in {}: {what}", ec2.me.region),
        many => anyhow!("{} network interfaces are {what}: {}. Name one by its id", many.len(), many.join(", ")),
    })))
}
