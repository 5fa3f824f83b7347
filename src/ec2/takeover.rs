//! A volume as EC2 has it -> the next thing to do for it. Pure, and asked again after everything that is done: what
//! was decided on is old by then, and a lost answer is made good by looking.

use std::time::Duration;

use super::Me;
use super::api::{AttachmentState, InstanceStateName, Volume, VolumeState};
use crate::config::Takeover;
use crate::error::Refusal;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is here, or on its way.
    Done,
    /// Ask EC2 to attach it.
    Attach,
    /// Look again later: what is waited for.
    Wait(String),
    /// Ask EC2 to detach it from this instance.
    Detach {
        /// The instance.
        instance: String,
        /// By force, which loses what that instance has not written out.
        force: bool,
        /// Why that is right.
        why: String,
    },
    /// Somebody has it, and it stays there.
    Held(Refusal),
    /// It will never be here.
    Never(String),
}

/// What has been seen and done for this volume so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The instance that had it when it was first looked at. It is taken by force from that one only: whoever has it
    /// since then has come up while this node waited.
    pub first_holder: Option<String>,
    /// For how long the plain detach that this run asked for has been without effect.
    pub detaching: Option<Duration>,
    /// Whether this run has asked for it by force.
    pub forced: bool,
}

/// What to do next for `volume`. `holder` is the state of the instance that it is attached to, `None` where EC2 knows
/// that one no more.
pub fn step(volume: &Volume, me: &Me, policy: Takeover, holder: Option<&InstanceStateName>, history: &History) -> Step {
    let id = &volume.id;
    if volume.zone != me.zone {
        return Step::Never(format!(
            "{id} is in {} and this instance in {}: a volume stays in its zone; start the node there, or make a volume \
             here from a snapshot of it",
            volume.zone, me.zone
        ));
    }
    match &volume.state {
        VolumeState::Creating => return Step::Wait(format!("{id} is being made")),
        VolumeState::Deleting | VolumeState::Deleted => return Step::Never(format!("{id} has been deleted")),
        VolumeState::Error => {
            return Step::Never(format!(
                "{id} is in the state `error`: AWS lost the disk under it; restore a snapshot"
            ));
        }
        _ => {}
    }
    let Some(attachment) =
        volume.attachments.iter().find(|one| one.instance == me.instance).or(volume.attachments.first())
    else {
        return match &volume.state {
            VolumeState::Available => Step::Attach,
            state => Step::Wait(format!("{id} is `{state}` and attached to nothing", state = state.as_str())),
        };
    };
    if attachment.instance == me.instance {
        return match attachment.state {
            AttachmentState::Attaching | AttachmentState::Attached => Step::Done,
            _ => Step::Wait(format!("{id} is being detached from this instance")),
        };
    }
    from_another(volume, &attachment.instance, &attachment.state, policy, holder, history)
}

fn from_another(
    volume: &Volume,
    instance: &str,
    state: &AttachmentState,
    policy: Takeover,
    holder: Option<&InstanceStateName>,
    history: &History,
) -> Step {
    use InstanceStateName::{Pending, Running, ShuttingDown, Stopped, Terminated};
    let id = &volume.id;
    let is = holder.map_or("gone", InstanceStateName::as_str);
    let forced_after = match policy {
        Takeover::Force { after } if history.first_holder.as_deref() == Some(instance) => Some(after),
        Takeover::Force { .. } | Takeover::Never | Takeover::WhenStopped => None,
    };
    let held = |way_out: &str| {
        let found = format!("is attached to {instance}, which is {is}");
        Step::Held(Refusal { subject: id.to_string(), found, way_out: way_out.to_owned(), written: false })
    };
    let going = matches!(state, AttachmentState::Detaching | AttachmentState::Busy);
    let plainly = |why: String| Step::Detach { instance: instance.to_owned(), force: false, why };
    match (history.detaching, forced_after) {
        (Some(asked), Some(after)) if going && asked >= after && !history.forced => {
            let why = format!("its detach from {instance} has been `{}` for {} s", state.as_str(), asked.as_secs());
            return Step::Detach { instance: instance.to_owned(), force: true, why };
        }
        // Asked for by an earlier run of ours, perhaps: how long that is ago nobody knows, so the time begins anew.
        (None, Some(_)) if going => return plainly(format!("it is being detached (`{}`)", state.as_str())),
        _ if going => return Step::Wait(format!("{id} is being detached from {instance} (`{}`)", state.as_str())),
        _ => {}
    }
    match (holder, policy) {
        // EC2 lets go of a terminated instance's volumes by itself, and that takes a moment.
        (Some(ShuttingDown), Takeover::Never) => Step::Wait(format!("{instance}, which has {id}, is {is}")),
        (Some(Stopped | Terminated) | None, Takeover::WhenStopped | Takeover::Force { .. }) => {
            plainly(format!("{instance}, which has it, is {is}"))
        }
        (_, Takeover::Never) => held("The config says `takeover: never`: detach it there, or terminate that instance."),
        (Some(Running | Pending), Takeover::Force { .. }) if forced_after.is_some() => {
            plainly(format!("the config says `takeover: force`; {instance}, which has it, is {is}"))
        }
        (Some(Running | Pending), Takeover::Force { .. }) => {
            held("It came there while this node waited for it: that node is alive.")
        }
        (Some(Running | Pending), Takeover::WhenStopped) => held(
            "Stop or terminate that instance, and it is taken over. Where the node is known to be dead, though EC2 says \
             it runs: `takeover: force` and `force-after: 10m`.",
        ),
        // Stopping, shutting down, or what EC2 may call it tomorrow.
        (Some(_), Takeover::WhenStopped | Takeover::Force { .. }) => {
            Step::Wait(format!("{instance}, which has {id}, is {is}"))
        }
    }
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod tests;
