//! Volumes that another instance has: whose are taken, when, by whom, and how gently.

use std::time::Duration;

use volinit::config::Takeover;

use crate::ec2::{Event, Fault, Life, When};
use crate::node::{A, World, claim, failed, run, secs};

const VOLUME: &str = "vol-0a0a0a0a";
const FORCE: Takeover = Takeover::Force { after: Duration::from_secs(600) };

/// core1 has it, core2 and core3 would have it.
fn world(life: Life) -> World {
    let world = World::new();
    world.cloud.instance("i-core1", A).life(life);
    world.cloud.instance("i-core2", A);
    world.cloud.instance("i-core3", A);
    world.cloud.volume(VOLUME, A, 10).attached("i-core1", "/dev/sdf");
    world.cloud.detach_takes(secs(4));
    world.cloud.terminate_takes(secs(60), secs(5));
    world.cloud.stop_takes(secs(60));
    world
}

/// Each detach that was asked for: from whom, and whether by force.
fn detaches(world: &World) -> Vec<(String, bool)> {
    let calls = world.cloud.calls_of("DetachVolume");
    let force = |call: &crate::ec2::Call| call.param("Force") == Some("true");
    calls.iter().map(|call| (call.param("InstanceId").unwrap().to_owned(), force(call))).collect()
}

/// The volume was detached from a running instance, by whatever hand.
fn left_running(world: &World) -> bool {
    let left = |event: &Event| matches!(event, Event::Detached { instance, .. } if world.cloud.see_instance(instance).is_some_and(|one| one.life == Life::Running));
    world.events().iter().any(left)
}

#[test]
fn from_one_that_is_stopped_or_gone_it_is_taken_unless_never() {
    for life in [Some(Life::Stopped), Some(Life::Terminated), None] {
        for policy in [Takeover::WhenStopped, FORCE] {
            run(async {
                let world = world(life.unwrap_or(Life::Terminated));
                world.cloud.terminate_takes(secs(60), secs(3600));
                if life.is_none() {
                    world.cloud.forget("i-core1");
                }
                let claimed = claim(&world.node("i-core2"), VOLUME, policy, secs(120)).await.unwrap();
                assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core2"), "{life:?} {policy:?}");
                assert_eq!(claimed.taken_from.as_deref(), Some("i-core1"));
                assert!(claimed.attached_now);
                assert_eq!(detaches(&world), [("i-core1".to_owned(), false)], "{life:?} {policy:?}");
                assert!(world.cloud.calls().len() < 14, "{:?}", world.said());
            });
        }
        run(async {
            let world = world(life.unwrap_or(Life::Terminated));
            world.cloud.terminate_takes(secs(60), secs(3600));
            if life.is_none() {
                world.cloud.forget("i-core1");
            }
            let (code, text) = failed(claim(&world.node("i-core2"), VOLUME, Takeover::Never, secs(120)).await);
            assert_eq!(code, 3, "{text}");
            assert!(text.contains("The config says `takeover: never`"), "{text}");
            assert_eq!(world.said(), ["DescribeVolumes", "DescribeInstances"]);
        });
    }
}

/// EC2 lets go of it by itself, even where nothing may be taken over.
#[test]
fn one_that_is_shutting_down_is_waited_for() {
    for policy in [Takeover::Never, Takeover::WhenStopped, FORCE] {
        run(async {
            let world = world(Life::Running);
            world.cloud.terminate("i-core1");
            // `never` sees `terminated` with the volume still on it, where EC2 is slow to let go.
            world.cloud.terminate_takes(secs(60), Duration::ZERO);
            claim(&world.node("i-core2"), VOLUME, policy, secs(300)).await.unwrap();
            assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core2"), "{policy:?}");
            assert!((secs(60)..secs(110)).contains(&world.now()), "{policy:?}: {:?}", world.now());
            assert!(detaches(&world).iter().all(|(_, force)| !force));
        });
    }
}

#[test]
fn one_that_is_shutting_down_for_too_long_is_named() {
    run(async {
        let world = world(Life::Running);
        world.cloud.terminate("i-core1");
        let node = world.node("i-core2");
        let (code, text) = failed(claim(&node, VOLUME, Takeover::WhenStopped, secs(30)).await);
        let words = "gave up after 30 s: i-core1, which has vol-0a0a0a0a, is shutting-down";
        assert_eq!((code, text.as_str()), (4, words));
        assert!(detaches(&world).is_empty());
    });
}

#[test]
fn one_that_is_stopping_is_waited_for_and_then_taken_from() {
    for policy in [Takeover::WhenStopped, FORCE] {
        run(async {
            let world = world(Life::Running);
            world.cloud.stop("i-core1");
            claim(&world.node("i-core2"), VOLUME, policy, secs(300)).await.unwrap();
            assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core2"));
            assert_eq!(detaches(&world), [("i-core1".to_owned(), false)]);
            assert!(world.now() >= secs(60) && !left_running(&world));
        });
    }
    run(async {
        let world = world(Life::Running);
        world.cloud.stop("i-core1");
        assert_eq!(failed(claim(&world.node("i-core2"), VOLUME, Takeover::Never, secs(300)).await).0, 3);
    });
}

#[test]
fn from_a_running_one_nothing_is_taken_without_force() {
    for policy in [Takeover::Never, Takeover::WhenStopped] {
        for life in [Life::Running, Life::Pending] {
            run(async {
                let world = world(life);
                let (code, text) = failed(claim(&world.node("i-core2"), VOLUME, policy, secs(300)).await);
                assert_eq!(code, 3, "{text}");
                assert!(text.starts_with("vol-0a0a0a0a is attached to i-core1, which is "), "{text}");
                assert_eq!(world.said(), ["DescribeVolumes", "DescribeInstances"]);
            });
        }
    }
}

/// A node that hangs, but whose disk is not mounted: the plain detach is enough.
#[test]
fn force_asks_plainly_first() {
    run(async {
        let world = world(Life::Running);
        claim(&world.node("i-core2"), VOLUME, FORCE, secs(1800)).await.unwrap();
        assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core2"));
        assert_eq!(detaches(&world), [("i-core1".to_owned(), false)]);
    });
}

#[test]
fn force_comes_when_the_plain_detach_stays_busy_and_not_before() {
    run(async {
        let world = world(Life::Running);
        world.cloud.edit_volume(VOLUME, |volume| volume.mounted = true);
        claim(&world.node("i-core2"), VOLUME, FORCE, secs(1800)).await.unwrap();
        assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core2"));
        assert_eq!(detaches(&world), [("i-core1".to_owned(), false), ("i-core1".to_owned(), true)]);
        let calls = world.cloud.calls_of("DetachVolume");
        let between = calls[1].at.abs_diff(calls[0].at);
        assert!((secs(600)..secs(622)).contains(&between), "{between:?}");
    });
}

/// Its first run asked for the detach, and ended before it could force it.
#[test]
fn force_comes_in_a_second_run_too() {
    run(async {
        let world = world(Life::Running);
        world.cloud.edit_volume(VOLUME, |volume| volume.mounted = true);
        let (code, text) = failed(claim(&world.node("i-core2"), VOLUME, FORCE, secs(300)).await);
        assert_eq!(code, 4);
        assert!(text.contains("is being detached from i-core1 (`busy`)"), "{text}");
        claim(&world.node("i-core2"), VOLUME, FORCE, secs(1800)).await.unwrap();
        let (plain, force) = (("i-core1".to_owned(), false), ("i-core1".to_owned(), true));
        assert_eq!(detaches(&world), [plain.clone(), plain, force]);
        let calls = world.cloud.calls_of("DetachVolume");
        assert!(calls[2].at >= calls[1].at + secs(600));
    });
}

#[test]
fn a_busy_volume_is_never_forced_without_force() {
    run(async {
        let world = world(Life::Running);
        world.cloud.edit_volume(VOLUME, |volume| volume.mounted = true);
        let detach = [("VolumeId", VOLUME), ("InstanceId", "i-core1")];
        assert_eq!(world.cloud.answer(world.now(), &crate::ec2::Form::ec2("DetachVolume", &detach)).status, 200);
        world.cloud.forget_calls();
        let node = world.node("i-core2");
        let (code, text) = failed(claim(&node, VOLUME, Takeover::WhenStopped, secs(3600)).await);
        assert_eq!(code, 4);
        assert!(text.ends_with("vol-0a0a0a0a is being detached from i-core1 (`busy`)"), "{text}");
        assert!(detaches(&world).is_empty());
        assert!(world.cloud.calls().len() < 700, "{}", world.cloud.calls().len());
    });
}

/// It was free when it was first looked at: who has it now has just come up, and is alive.
#[test]
fn force_takes_nothing_from_who_was_quicker() {
    run(async {
        let world = world(Life::Running);
        world.cloud.volume(VOLUME, A, 10);
        // Far enough away that both look before either has it.
        let nodes =
            ["i-core2", "i-core3"].map(|id| world.far_node(id, Duration::from_millis(100)..Duration::from_millis(110)));
        let claims = nodes.each_ref().map(|node| claim(node, VOLUME, FORCE, secs(3600)));
        let [first, second] = claims;
        let (first, second) = tokio::join!(first, second);
        assert_eq!([&first, &second].iter().filter(|one| one.is_ok()).count(), 1, "{first:?} {second:?}");
        let (code, text) = failed(if first.is_ok() { second } else { first });
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("It came there while this node waited for it: that node is alive."), "{text}");
        assert!(detaches(&world).is_empty() && !left_running(&world));
    });
}

#[test]
fn two_takers_of_a_dead_nodes_volume_are_one_owner_and_one_refusal() {
    for policy in [Takeover::WhenStopped, FORCE] {
        for lag in [0, 3] {
            run(async {
                let world = world(Life::Stopped);
                world.cloud.describe_lags(secs(lag));
                let delay = Duration::from_millis(5)..Duration::from_millis(400);
                let nodes = ["i-core2", "i-core3"].map(|id| world.far_node(id, delay.clone()));
                let [first, second] = nodes.each_ref().map(|node| claim(node, VOLUME, policy, secs(600)));
                let (first, second) = tokio::join!(first, second);
                let (winner, loser) = match (first, second) {
                    (Ok(_), Err(error)) => ("i-core2", error),
                    (Err(error), Ok(_)) => ("i-core3", error),
                    both => panic!("{policy:?}: {both:?}: {:?}", world.said()),
                };
                assert_eq!(world.owner(VOLUME).as_deref(), Some(winner));
                assert_eq!(loser.exit_code(), 3, "{loser}");
                assert!(detaches(&world).iter().all(|(from, force)| from == "i-core1" && !force));
                assert!(!left_running(&world));
            });
        }
    }
}

#[test]
fn a_takeover_whose_answers_are_lost_is_done_once() {
    for fault in [Fault::Lost, Fault::DoneBut500, Fault::Garbage, Fault::throttled(), Fault::Dead] {
        run(async {
            let world = world(Life::Stopped);
            for action in ["DescribeVolumes", "DescribeInstances", "DetachVolume", "AttachVolume"] {
                world.cloud.fault(action, When::First(7), fault.clone());
            }
            claim(&world.node("i-core2"), VOLUME, Takeover::WhenStopped, secs(3600)).await.unwrap();
            assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core2"));
            assert!(detaches(&world).iter().all(|(from, force)| from == "i-core1" && !force));
            let events = world.events();
            assert!(matches!(&events[..], [Event::Detached { .. }, Event::Attached { .. }]), "{fault:?}: {events:?}");
        });
    }
}

/// The one that had stopped runs again, while the detach hung on its way.
#[test]
fn a_detach_is_not_asked_for_again_without_another_look() {
    for fault in [Fault::Dead, Fault::throttled(), Fault::internal(), Fault::Reset] {
        run(async {
            let world = world(Life::Stopped);
            world.cloud.fault("DetachVolume", When::First(1), fault.clone());
            let starts = world.clone();
            let starts = async move {
                while starts.cloud.count("DetachVolume") == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                starts.cloud.set_life("i-core1", Life::Running);
            };
            let node = world.node("i-core2");
            let (claimed, ()) = tokio::join!(claim(&node, VOLUME, Takeover::WhenStopped, secs(600)), starts);
            assert_eq!(failed(claimed).0, 3, "{fault:?}");
            assert_eq!(world.owner(VOLUME).as_deref(), Some("i-core1"), "{fault:?}: {:?}", world.said());
            assert_eq!(world.cloud.count("DetachVolume"), 1);
        });
    }
}
