use super::*;
use crate::bytes::Bytes;
use crate::config::VolumeId;
use crate::ec2::api::Attachment;

const FORCE: Takeover = Takeover::Force { after: Duration::from_secs(600) };

fn me() -> Me {
    Me { instance: "i-me".into(), zone: "z1".into(), region: "z".into() }
}

fn volume(state: VolumeState, holder: Option<(&str, AttachmentState)>) -> Volume {
    let attachments = holder.into_iter().map(|(instance, state)| Attachment {
        instance: instance.into(),
        device: "/dev/sdf".into(),
        state,
    });
    Volume {
        id: VolumeId::parse("vol-5afc0745").unwrap(),
        size: Bytes::gib(1),
        zone: "z1".into(),
        state,
        snapshot: None,
        tags: [].into(),
        attachments: attachments.collect(),
    }
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::Done => "done",
        Step::Attach => "attach",
        Step::Wait(_) => "wait",
        Step::Detach { force: false, .. } => "detach",
        Step::Detach { force: true, .. } => "force",
        Step::Held(_) => "held",
        Step::Never(_) => "never",
    }
}

#[test]
fn what_nobody_else_has() {
    use AttachmentState::{Attached, Attaching, Busy, Detaching};
    for (state, holder, expected) in [
        (VolumeState::Available, None, "attach"),
        (VolumeState::Creating, None, "wait"),
        (VolumeState::InUse, None, "wait"),
        (VolumeState::Deleting, None, "never"),
        (VolumeState::Error, None, "never"),
        (VolumeState::InUse, Some(("i-me", Attaching)), "done"),
        (VolumeState::InUse, Some(("i-me", Attached)), "done"),
        (VolumeState::InUse, Some(("i-me", Detaching)), "wait"),
        (VolumeState::InUse, Some(("i-me", Busy)), "wait"),
    ] {
        let volume = volume(state, holder);
        let step = step(&volume, &me(), Takeover::Never, None, &History::default());
        assert_eq!(word(&step), expected, "{volume:?}");
    }
    let elsewhere = Volume { zone: "z2".into(), ..volume(VolumeState::Available, None) };
    assert_eq!(word(&step(&elsewhere, &me(), FORCE, None, &History::default())), "never");
}

#[test]
fn what_another_instance_has() {
    use InstanceStateName::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    // The instance's state; then with `never`, `when-stopped`, `force`.
    for (holder, expected) in [
        (Some(Running), ["held", "held", "detach"]),
        (Some(Pending), ["held", "held", "detach"]),
        (Some(Stopping), ["held", "wait", "wait"]),
        (Some(Stopped), ["held", "detach", "detach"]),
        (Some(ShuttingDown), ["wait", "wait", "wait"]),
        (Some(Terminated), ["held", "detach", "detach"]),
        (None, ["held", "detach", "detach"]),
        (Some(InstanceStateName::from("of-tomorrow")), ["held", "wait", "wait"]),
    ] {
        let volume = volume(VolumeState::InUse, Some(("i-core1", AttachmentState::Attached)));
        let history = History { first_holder: Some("i-core1".into()), detaching: None, forced: false };
        let steps = [Takeover::Never, Takeover::WhenStopped, FORCE]
            .map(|policy| word(&step(&volume, &me(), policy, holder.as_ref(), &history)));
        assert_eq!(steps, expected, "{holder:?}");
    }
}

#[test]
fn force_comes_last_and_only_to_the_first_holder() {
    let running = Some(&InstanceStateName::Running);
    let first = |asked| History { first_holder: Some("i-core1".into()), detaching: asked, forced: false };
    let secs = Duration::from_secs;
    for (state, policy, asked, expected) in [
        (AttachmentState::Attached, FORCE, None, "detach"),
        (AttachmentState::Detaching, FORCE, Some(secs(1)), "wait"),
        (AttachmentState::Busy, FORCE, Some(secs(599)), "wait"),
        (AttachmentState::Busy, FORCE, Some(secs(600)), "force"),
        (AttachmentState::Detaching, FORCE, Some(secs(600)), "force"),
        // An earlier run asked for that detach, and has ended.
        (AttachmentState::Busy, FORCE, None, "detach"),
        (AttachmentState::Busy, Takeover::WhenStopped, None, "wait"),
        (AttachmentState::Busy, Takeover::WhenStopped, Some(secs(6000)), "wait"),
    ] {
        let volume = volume(VolumeState::InUse, Some(("i-core1", state.clone())));
        assert_eq!(word(&step(&volume, &me(), policy, running, &first(asked))), expected, "{state} {asked:?}");
    }
    let forced = History { forced: true, ..first(Some(secs(700))) };
    let volume_of_core1 = volume(VolumeState::InUse, Some(("i-core1", AttachmentState::Busy)));
    assert_eq!(word(&step(&volume_of_core1, &me(), FORCE, running, &forced)), "wait", "force is asked for once");
    let of_another = volume(VolumeState::InUse, Some(("i-core3", AttachmentState::Attached)));
    assert_eq!(word(&step(&of_another, &me(), FORCE, running, &first(None))), "held");
}
