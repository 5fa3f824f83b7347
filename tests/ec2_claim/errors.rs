//! Each row of EC2's errors: what is asked after it, and how it ends.

use volinit::config::Takeover;

use crate::ec2::{Event, Fault, Form, Hold, Life, When};
use crate::node::{A, B, World, claim, failed, run, secs};

const VOLUME: &str = "vol-0a0a0a0a";
const NEVER: Takeover = Takeover::Never;

/// This node, another one, and a volume that nobody has.
fn world() -> World {
    let world = World::new();
    world.cloud.instance("i-me", A);
    world.cloud.instance("i-other", A);
    world.cloud.volume(VOLUME, A, 10);
    world
}

/// It is here, it came once, and nothing was taken from anybody.
#[track_caller]
fn attached_once(world: &World) {
    assert_eq!(world.owner(VOLUME).as_deref(), Some("i-me"), "{:?}", world.said());
    let came = world.events().into_iter().filter(|event| matches!(event, Event::Attached { .. }));
    assert_eq!(came.count(), 1, "{:?}", world.events());
    assert_eq!(world.cloud.count("DetachVolume"), 0);
}

#[test]
fn a_free_volume_takes_two_calls() {
    run(async {
        let world = world();
        let claimed = claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await.unwrap();
        assert_eq!(world.said(), ["DescribeVolumes", "AttachVolume"]);
        assert!(claimed.attached_now && claimed.taken_from.is_none());
        assert_eq!(world.cloud.see_volume(VOLUME).attachment.unwrap().device, "/dev/sdf");
        attached_once(&world);
    });
}

#[test]
fn a_volume_that_is_here_takes_one_call() {
    run(async {
        let world = world();
        world.cloud.edit_volume(VOLUME, |volume| volume.unattached = "available".into());
        world.cloud.volume(VOLUME, A, 10).attached("i-me", "/dev/sdh");
        let claimed = claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await.unwrap();
        assert_eq!(world.said(), ["DescribeVolumes"]);
        assert!(!claimed.attached_now);
    });
}

/// The SDK asks again by itself, and is told that somebody has it: this node.
#[test]
fn in_use_after_a_lost_answer_is_ours_and_attached_once() {
    for (fault, word) in [(Fault::Lost, "lost"), (Fault::DoneBut500, "InternalError")] {
        run(async {
            let world = world();
            world.cloud.fault("AttachVolume", When::Nth(1), fault);
            let claimed = claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await.unwrap();
            let lost = format!("AttachVolume {word}");
            assert_eq!(world.said(), ["DescribeVolumes", &lost, "AttachVolume VolumeInUse", "DescribeVolumes"]);
            assert!(claimed.attached_now, "who gives back must know that this run took it");
            attached_once(&world);
        });
    }
}

/// The same where no call gets an answer that can be read, until the SDK gives up.
#[test]
fn an_attach_that_is_never_answered_is_found_by_looking() {
    for (fault, timeout) in [(Fault::Lost, 60), (Fault::Cut, 60), (Fault::Garbage, 60), (Fault::Slow(secs(20)), 600)] {
        run(async {
            let world = world();
            world.cloud.fault("AttachVolume", When::Every, fault.clone());
            let claimed = claim(&world.node("i-me"), VOLUME, NEVER, secs(timeout)).await;
            let claimed = claimed.unwrap_or_else(|error| panic!("{fault:?}: {error}: {:?}", world.said()));
            assert!(claimed.attached_now, "{fault:?}");
            assert_eq!(world.said().last().unwrap(), "DescribeVolumes");
            attached_once(&world);
        });
    }
}

#[test]
fn in_use_by_another_is_refused_and_names_it() {
    run(async {
        let world = world();
        world.cloud.volume(VOLUME, A, 10).attached("i-other", "/dev/sdf");
        let (code, text) = failed(claim(&world.node("i-me"), VOLUME, Takeover::WhenStopped, secs(60)).await);
        assert_eq!(world.said(), ["DescribeVolumes", "DescribeInstances"]);
        assert_eq!(code, 3);
        assert!(text.starts_with("vol-0a0a0a0a is attached to i-other, which is running. "), "{text}");
        assert_eq!(world.owner(VOLUME).as_deref(), Some("i-other"));
    });
}

/// Another node was quicker, between the look and the attach.
#[test]
fn in_use_since_the_look_is_looked_at_again_and_refused() {
    run(async {
        let world = world();
        world.cloud.describe_lags(secs(2));
        let node = world.node("i-me");
        tokio::time::sleep(secs(10)).await;
        world.cloud.settle(world.now());
        let now = world.now();
        let form =
            Form::ec2("AttachVolume", &[("VolumeId", VOLUME), ("InstanceId", "i-other"), ("Device", "/dev/sdf")]);
        assert_eq!(world.cloud.answer(now, &form).status, 200);
        world.cloud.forget_calls();
        let (code, text) = failed(claim(&node, VOLUME, Takeover::WhenStopped, secs(60)).await);
        assert_eq!(code, 3, "{text}");
        let said = world.said();
        assert_eq!(said[..2], ["DescribeVolumes", "AttachVolume VolumeInUse"]);
        assert_eq!(said[said.len() - 2..], ["DescribeVolumes", "DescribeInstances"]);
        assert!(said.len() <= 10, "looks that lag behind are no reason to ask without a pause: {said:?}");
        assert_eq!(world.owner(VOLUME).as_deref(), Some("i-other"));
    });
}

#[test]
fn a_volume_that_is_being_made_is_waited_for() {
    run(async {
        let world = world();
        world.cloud.edit_volume(VOLUME, |volume| volume.unattached = "creating".into());
        let node = world.node("i-me");
        let later = world.clone();
        let made = async move {
            tokio::time::sleep(secs(40)).await;
            later.cloud.edit_volume(VOLUME, |volume| volume.unattached = "available".into());
        };
        let (claimed, ()) = tokio::join!(claim(&node, VOLUME, NEVER, secs(120)), made);
        claimed.unwrap();
        assert_eq!(world.cloud.count("AttachVolume"), 1, "{:?}", world.said());
        assert!(world.cloud.count("DescribeVolumes") < 12, "{:?}", world.said());
        attached_once(&world);
    });
}

#[test]
fn incorrect_state_is_looked_at_again_and_tried_again() {
    run(async {
        let world = world();
        let error = Fault::error("IncorrectState", "vol-0a0a0a0a is not 'available'.");
        world.cloud.fault("AttachVolume", When::First(3), error);
        claim(&world.node("i-me"), VOLUME, NEVER, secs(120)).await.unwrap();
        let (look, refused) = ("DescribeVolumes", "AttachVolume IncorrectState");
        assert_eq!(world.said(), [look, refused, look, refused, look, refused, look, "AttachVolume"]);
        attached_once(&world);
    });
}

#[test]
fn an_instance_that_is_still_pending_waits_until_it_runs() {
    run(async {
        let world = world();
        world.cloud.set_life("i-me", Life::Pending);
        let node = world.node("i-me");
        let later = world.clone();
        let runs = async move {
            tokio::time::sleep(secs(20)).await;
            later.cloud.set_life("i-me", Life::Running);
        };
        let (claimed, ()) = tokio::join!(claim(&node, VOLUME, NEVER, secs(120)), runs);
        claimed.unwrap();
        let refused = world.cloud.calls_of("AttachVolume").into_iter().filter(|call| call.code == "IncorrectState");
        assert!((1..10).contains(&refused.count()), "{:?}", world.said());
        attached_once(&world);
    });
}

/// What the image holds no describe shows, and the kernel's names say nothing of.
#[test]
fn a_device_name_in_use_leads_to_the_next_name() {
    run(async {
        let world = world();
        world.cloud.instance("i-me", A).held("/dev/sdf").held("/dev/xvdg");
        world.cloud.volume("vol-0b0b0b0b", A, 1).attached("i-me", "/dev/sdh");
        claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await.unwrap();
        let taken = "AttachVolume InvalidParameterValue";
        assert_eq!(world.said(), ["DescribeVolumes", taken, taken, taken, "AttachVolume"]);
        assert_eq!(world.cloud.see_volume(VOLUME).attachment.unwrap().device, "/dev/sdi");
        attached_once(&world);
    });
}

#[test]
fn no_device_name_left_says_so() {
    run(async {
        let world = world();
        let mut instance = world.cloud.instance("i-me", A);
        for letter in 'f'..='p' {
            instance = instance.held(&format!("/dev/sd{letter}"));
        }
        let (code, text) = failed(claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await);
        assert_eq!(world.cloud.count("AttachVolume"), 11);
        assert_eq!(code, 1);
        assert_eq!(text, "vol-0a0a0a0a: every device name from /dev/sdf to /dev/sdp is taken on this instance");
    });
}

/// What is asked once and never again: the code, and the words that must be there.
#[test]
fn what_will_never_be_is_asked_once() {
    let invalid = "Value (/dev/sdf) for parameter device is invalid. /dev/sdf is not a valid EBS device name.";
    let limit = "You may attach up to 27 devices to this instance";
    let zone = "The volume 'vol-0a0a0a0a' is not in the same availability zone as instance 'i-me'";
    for (code, message) in [
        ("InvalidParameterValue", invalid),
        ("InvalidVolume.ZoneMismatch", zone),
        ("AttachmentLimitExceeded", limit),
        ("InvalidVolume.NotFound", "The volume 'vol-0a0a0a0a' does not exist."),
        ("OperationNotPermitted", "The volume is locked."),
        ("SomethingOfTomorrow", "Words of tomorrow."),
    ] {
        run(async {
            let world = world();
            world.cloud.fault("AttachVolume", When::Every, Fault::error(code, message));
            let (exit, text) = failed(claim(&world.node("i-me"), VOLUME, NEVER, secs(600)).await);
            assert_eq!(world.said(), ["DescribeVolumes", &format!("AttachVolume {code}")]);
            assert_eq!((exit, text), (1, format!("AttachVolume: {code}: {message}")));
        });
    }
}

#[test]
fn a_volume_of_another_zone_is_not_asked_for_at_all() {
    run(async {
        let world = world();
        world.cloud.volume("vol-0c0c0c0c", B, 1);
        let (code, text) = failed(claim(&world.node("i-me"), "vol-0c0c0c0c", NEVER, secs(60)).await);
        assert_eq!(world.said(), ["DescribeVolumes"]);
        assert_eq!(code, 1);
        assert!(text.starts_with("vol-0c0c0c0c is in eu-central-1b and this instance in eu-central-1a: "), "{text}");
    });
}

#[test]
fn a_volume_that_does_not_exist_is_named() {
    run(async {
        let world = world();
        let (code, text) = failed(claim(&world.node("i-me"), "vol-0d0d0d0d", NEVER, secs(60)).await);
        assert_eq!(world.said(), ["DescribeVolumes"]);
        assert_eq!((code, text.as_str()), (1, "EC2 has no such volume in eu-central-1: vol-0d0d0d0d"));
    });
}

#[test]
fn a_full_instance_says_how_much_it_takes() {
    run(async {
        let world = world();
        world.cloud.instance("i-me", A).limit(1);
        let (code, text) = failed(claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await);
        let words = "AttachVolume: AttachmentLimitExceeded: You may attach up to 1 devices to this instance";
        assert_eq!((code, text.as_str()), (1, words));
    });
}

#[test]
fn throttling_and_errors_of_the_server_pass() {
    for fault in [
        Fault::throttled(),
        Fault::internal(),
        Fault::unavailable(),
        Fault::Html,
        Fault::Reset,
        Fault::Dead,
        Fault::Cut,
        Fault::Garbage,
        Fault::Lost,
        Fault::DoneBut500,
    ] {
        // More often than the SDK tries by itself.
        for action in ["DescribeVolumes", "AttachVolume", "*"] {
            run(async {
                let world = world();
                world.cloud.fault(action, When::First(8), fault.clone());
                let claimed = claim(&world.node("i-me"), VOLUME, NEVER, secs(1800)).await;
                claimed.unwrap_or_else(|error| panic!("{action} {fault:?}: {error}: {:?}", world.said()));
                assert!(world.cloud.calls().len() <= 20, "{action} {fault:?}: {:?}", world.said());
                attached_once(&world);
            });
        }
    }
}

/// Exit 4, when the time is over and not later, and the cause stands there.
#[test]
fn what_does_not_pass_ends_at_the_deadline_with_its_cause() {
    for (fault, cause) in [
        (Fault::throttled(), "RequestLimitExceeded: Request limit exceeded."),
        (Fault::internal(), "InternalError: An internal error has occurred"),
        (Fault::Html, "503"),
        (Fault::Reset, "connection reset"),
        (Fault::Dead, "no answer"),
        (Fault::Garbage, "DescribeVolumes"),
    ] {
        run(async {
            let world = world();
            world.cloud.fault("*", When::Every, fault.clone());
            let (code, text) = failed(claim(&world.node("i-me"), VOLUME, NEVER, secs(300)).await);
            assert_eq!(code, 4, "{text}");
            assert!(text.starts_with("gave up after 300 s: EC2 gives no answer. The last error: "), "{text}");
            assert!(text.contains(cause), "{text}");
            assert!((secs(295)..secs(301)).contains(&world.now()), "{fault:?}: {:?}", world.now());
            let calls = world.cloud.calls().len();
            assert!((10..100).contains(&calls), "{fault:?}: {calls} calls in 300 s");
            assert_eq!(world.owner(VOLUME), None);
        });
    }
}

#[test]
fn a_missing_right_is_named_and_not_asked_for_again() {
    for action in ["DescribeVolumes", "AttachVolume", "DetachVolume", "DescribeInstances"] {
        run(async {
            let world = world();
            world.cloud.set_life("i-other", Life::Stopped);
            if action != "AttachVolume" {
                world.cloud.volume(VOLUME, A, 10).attached("i-other", "/dev/sdf");
            }
            world.cloud.deny(action);
            let (code, text) = failed(claim(&world.node("i-me"), VOLUME, Takeover::WhenStopped, secs(60)).await);
            assert_eq!(code, 1, "{text}");
            let words = format!("ec2:{action} is not allowed: give the instance's role this action");
            assert!(text.starts_with(&words), "{text}");
            assert_eq!(world.cloud.count(action), 1, "{:?}", world.said());
        });
    }
}

#[test]
fn a_volume_that_is_being_modified_is_waited_for() {
    run(async {
        let world = world();
        world.cloud.modify_takes(secs(90), secs(3600));
        let grow = Form::ec2("ModifyVolume", &[("VolumeId", VOLUME), ("Size", "20")]);
        assert_eq!(world.cloud.answer(world.now(), &grow).status, 200);
        claim(&world.node("i-me"), VOLUME, NEVER, secs(300)).await.unwrap();
        let attaches = world.cloud.calls_of("AttachVolume");
        let refused = attaches.iter().filter(|call| call.code == "OperationNotPermitted").count();
        assert!(refused >= 1 && refused + 1 == attaches.len() && refused < 25, "{:?}", world.said());
        assert!((secs(90)..secs(120)).contains(&world.now()), "{:?}", world.now());
        attached_once(&world);
    });
}

#[test]
fn an_attach_that_hangs_is_left_to_who_waits_for_the_disk() {
    run(async {
        let world = world();
        world.cloud.volume(VOLUME, A, 10).stuck();
        claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await.unwrap();
        // Come again: it is still on its way, and nothing more is asked of it.
        claim(&world.node("i-me"), VOLUME, NEVER, secs(60)).await.unwrap();
        assert_eq!(world.said(), ["DescribeVolumes", "AttachVolume", "DescribeVolumes"]);
        assert_eq!(world.cloud.see_volume(VOLUME).attachment.unwrap().hold, Hold::Attaching);
    });
}

#[test]
fn the_deadline_names_what_was_waited_for() {
    run(async {
        let world = world();
        world.cloud.edit_volume(VOLUME, |volume| volume.unattached = "creating".into());
        let (code, text) = failed(claim(&world.node("i-me"), VOLUME, NEVER, secs(30)).await);
        assert_eq!((code, text.as_str()), (4, "gave up after 30 s: vol-0a0a0a0a is being made"));
        assert!((secs(30)..secs(31)).contains(&world.now()));
    });
}
