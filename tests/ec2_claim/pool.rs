//! A pool of slots, each a volume and a network interface: every node gets a whole one, or none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use tokio::task::JoinSet;
use volinit::config::{Eni, Interface, Takeover, VolumeId};
use volinit::ec2::Ec2;
use volinit::ec2::claim::{self, Claimed, Missed, Pool};
use volinit::ec2::wait::Patience;
use volinit::error::Failure;

use crate::ec2::{Event, Fault, Form, Life, When};
use crate::node::{A, B, World, failed, run, secs, volume_id};

fn volume(slot: usize) -> String {
    format!("vol-{slot:08x}")
}

fn eni(slot: usize) -> String {
    format!("eni-{slot:08x}")
}

fn instance(node: usize) -> String {
    format!("i-{node:08x}")
}

pub fn pool(slots: usize, nodes: usize) -> World {
    let world = World::new();
    for slot in 0..slots {
        world.cloud.volume(&volume(slot), A, 10).tag("cluster", "kafka").tag("slot", &slot.to_string());
        world.cloud.interface(&eni(slot), A).tag("cluster", "kafka").tag("slot", &slot.to_string());
    }
    for node in 0..nodes {
        world.cloud.instance(&instance(node), A);
    }
    world.cloud.attach_takes(secs(2));
    world.cloud.detach_takes(secs(3));
    world
}

/// As `up` does: the volume of a slot and its interface.
async fn join(node: &Ec2, last: Option<&VolumeId>, seconds: u64) -> Result<Claimed, Failure> {
    let tags = BTreeMap::from([("cluster".to_owned(), "kafka".to_owned())]);
    let interface =
        Interface { name: "kafka".into(), eni: Eni::Tags(tags.clone()), device_index: 1, timeout: secs(seconds) };
    let pool =
        Pool { tags: &tags, slot_tag: Some("slot"), interface: Some(&interface), last, policy: Takeover::WhenStopped };
    claim::from_pool(node, &pool, &mut Patience::new(secs(seconds))).await.map_err(Missed::into)
}

/// All nodes at once, each with its own delays.
async fn race(world: &World, nodes: Range<usize>, seconds: u64) -> Vec<(String, Result<Claimed, Failure>)> {
    let mut all = JoinSet::new();
    for node in nodes {
        let id = instance(node);
        let node = world.far_node(&id, Duration::from_millis(3)..Duration::from_millis(250));
        all.spawn(async move { (id, join(&node, None, seconds).await) });
    }
    all.join_all().await
}

/// No pair is split, and none has more than one. The nodes that have one.
#[track_caller]
fn whole(world: &World, slots: usize) -> BTreeSet<String> {
    let mut owners = BTreeSet::new();
    for slot in 0..slots {
        let (volume, eni) = (world.owner(&volume(slot)), world.owner(&eni(slot)));
        assert_eq!(volume, eni, "slot {slot} is split");
        if let Some(owner) = volume {
            assert!(owners.insert(owner.clone()), "{owner} has two slots");
        }
    }
    owners
}

#[test]
fn fifty_nodes_get_fifty_slots() {
    run(async {
        let world = pool(50, 50);
        let all = race(&world, 0..50, 600).await;
        assert_eq!(all.iter().filter(|(_, result)| result.is_ok()).count(), 50, "{all:?}");
        assert_eq!(whole(&world, 50).len(), 50);
        let last = world.now();
        tokio::time::sleep(secs(10)).await;
        let attached = world.events().into_iter().filter(|event| matches!(event, Event::Attached { .. })).count();
        assert_eq!(attached, 50, "no volume went from one to another");
        for (id, result) in &all {
            let claimed = result.as_ref().unwrap();
            assert_eq!(world.owner(&claimed.volume.id.to_string()).as_deref(), Some(id.as_str()));
            assert_eq!(world.owner(&claimed.nic.as_ref().unwrap().id).as_deref(), Some(id.as_str()));
        }
        let calls = world.cloud.calls().len();
        println!("50 nodes, 50 slots: {calls} calls, the last after {:.1} s", last.as_secs_f64());
        assert!(calls < 50 * 20, "{calls}");
    });
}

#[test]
fn fifty_nodes_get_fifty_slots_while_much_goes_wrong() {
    for seed in 0..3 {
        run(async {
            let world = pool(50, 50);
            world.cloud.describe_lags(Duration::from_millis(700 * seed));
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..120 {
                let faults =
                    [Fault::Lost, Fault::DoneBut500, Fault::throttled(), Fault::Reset, Fault::Garbage, Fault::Cut];
                let fault = random.choice(faults).unwrap();
                world.cloud.fault("*", When::Nth(random.u32(1..600)), fault);
            }
            let all = race(&world, 0..50, 1800).await;
            assert_eq!(all.iter().filter(|(_, result)| result.is_ok()).count(), 50, "seed {seed}: {all:?}");
            assert_eq!(whole(&world, 50).len(), 50);
        });
    }
}

#[test]
fn the_fifty_first_says_that_nothing_is_free() {
    run(async {
        let world = pool(50, 51);
        let all = race(&world, 0..51, 120).await;
        let missed: Vec<&Failure> = all.iter().filter_map(|(_, result)| result.as_ref().err()).collect();
        assert_eq!(missed.len(), 1, "{missed:?}");
        assert_eq!(missed[0].exit_code(), 4);
        let words = "gave up after 120 s: a free volume of the pool (cluster=kafka): of 50 with these tags 50 are in \
                     eu-central-1a, and each is another node's";
        assert_eq!(missed[0].to_string(), words);
        assert_eq!(whole(&world, 50).len(), 50);
    });
}

#[test]
fn volumes_of_another_zone_are_left() {
    run(async {
        let world = pool(1, 1);
        world.cloud.edit_volume(&volume(0), |volume| volume.zone = B.into());
        let (code, text) = failed(join(&world.node(&instance(0)), None, 60).await);
        assert_eq!(code, 4);
        assert!(text.contains("of 1 with these tags 0 are in eu-central-1a"), "{text}");
        assert_eq!(world.cloud.count("AttachVolume"), 0);
    });
}

#[test]
fn a_pool_without_volumes_is_a_mistake() {
    run(async {
        let (code, text) = failed(join(&pool(0, 1).node(&instance(0)), None, 60).await);
        assert_eq!((code, text.as_str()), (1, "no volume has the tags of the pool (cluster=kafka)"));
    });
}

#[test]
fn a_node_that_comes_again_gets_its_own() {
    run(async {
        let world = pool(20, 20);
        let node = world.node(&instance(7));
        let own = volume_id(&volume(13));
        // The one that it had, of twenty free ones.
        let claimed = join(&node, Some(&own), 60).await.unwrap();
        assert_eq!(claimed.volume.id, own);
        // And what is attached, of nineteen others, though it remembers another.
        world.cloud.forget_calls();
        let claimed = join(&world.node(&instance(7)), Some(&volume_id(&volume(2))), 60).await.unwrap();
        assert_eq!(claimed.volume.id, own);
        assert!(!claimed.attached_now);
        let said = world.said();
        assert!(said.iter().all(|call| call.starts_with("Describe")) && said.len() <= 4, "{said:?}");
        assert_eq!(whole(&world, 20).len(), 1);
    });
}

#[test]
fn a_node_that_died_between_the_two_finishes_the_pair() {
    run(async {
        let world = pool(20, 2);
        let id = instance(0);
        // Killed as soon as the volume is on its way.
        let node = world.node(&id);
        let killed = world.clone();
        let kill = async {
            while killed.cloud.count("AttachVolume") == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        world.cloud.fault("AttachNetworkInterface", When::Every, Fault::Dead);
        tokio::select! {
            _ = join(&node, None, 600) => panic!("it was to be killed"),
            () = kill => {}
        }
        world.cloud.heal();
        let own = (0..20).map(volume).find(|one| world.owner(one).is_some()).unwrap();
        let claimed = join(&world.node(&id), None, 600).await.unwrap();
        assert_eq!(claimed.volume.id.to_string(), own);
        assert_eq!(whole(&world, 20), [id].into());
    });
}

#[test]
fn a_slot_whose_interface_an_outsider_has_is_left_whole() {
    run(async {
        let world = pool(2, 1);
        world.cloud.instance("i-outsider", A);
        let node = world.node(&instance(0));
        let wanted = volume_id(&volume(1));
        world.cloud.interface(&eni(1), A).tag("cluster", "kafka").tag("slot", "1").attached("i-outsider", 1);
        let claimed = join(&node, Some(&wanted), 600).await.unwrap();
        assert_eq!(claimed.volume.id.to_string(), volume(0));
        assert_eq!(world.owner(&volume(1)), None, "{:?}", world.said());
        let tried = world.cloud.calls_of("AttachVolume");
        assert!(tried.iter().all(|call| call.param("VolumeId") == Some(&volume(0))), "nothing of it was touched");
    });
}

/// The outsider comes between the look at the interface and the attach: what was taken is given back.
#[test]
fn what_was_taken_is_given_back_where_the_interface_is_lost() {
    for (lag, lost) in [(0, false), (3, false), (0, true)] {
        run(async {
            let world = pool(2, 1);
            world.cloud.describe_lags(secs(lag));
            world.cloud.instance("i-outsider", A);
            let node = world.node(&instance(0));
            tokio::time::sleep(secs(10)).await;
            let wanted = volume_id(&volume(1));
            if lost {
                // It came here by an attach whose answer never came.
                world.cloud.fault("AttachVolume", When::Nth(1), Fault::Lost);
            }
            let thief = world.clone();
            let steal = async move {
                while thief.cloud.count("AttachVolume") == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let (eni, index) = (eni(1), "1");
                let steal =
                    [("NetworkInterfaceId", eni.as_str()), ("InstanceId", "i-outsider"), ("DeviceIndex", index)];
                assert_eq!(thief.cloud.answer(thief.now(), &Form::ec2("AttachNetworkInterface", &steal)).status, 200);
            };
            // The interface's attach comes late enough for that.
            world.cloud.fault("AttachVolume", When::Every, Fault::Slow(secs(1)));
            let last = Some(&wanted);
            let (claimed, ()) = tokio::join!(join(&node, last, 600), steal);
            let claimed = claimed.unwrap();
            assert_eq!(claimed.volume.id.to_string(), volume(0), "lag {lag}, lost {lost}: {:?}", world.said());
            assert_eq!(world.owner(&volume(1)), None, "lag {lag}, lost {lost}: {:?}", world.said());
            assert_eq!(world.owner(&eni(0)), Some(instance(0)));
        });
    }
}

/// A service may use it: it is not taken away, and no second one is put beside it.
#[test]
fn an_own_volume_whose_interface_an_outsider_has_is_a_refusal() {
    run(async {
        let world = pool(3, 1);
        world.cloud.instance("i-outsider", A);
        let node = world.node(&instance(0));
        let own = join(&node, None, 60).await.unwrap();
        let slot = own.volume.tags["slot"].clone();
        let link = format!("eni-{:08x}", slot.parse::<usize>().unwrap());
        world.cloud.interface(&link, A).tag("cluster", "kafka").tag("slot", &slot).attached("i-outsider", 1);
        world.cloud.forget_calls();
        let (code, text) = failed(join(&world.node(&instance(0)), None, 60).await);
        assert_eq!(code, 3);
        assert!(text.starts_with(&format!("{link} is attached to i-outsider, which is running")), "{text}");
        assert!(world.said().iter().all(|call| call.starts_with("Describe")), "{:?}", world.said());
    });
}

/// The time is over while the interface is waited for: the volume is nobody's again.
#[test]
fn at_the_deadline_half_a_pair_is_given_back() {
    run(async {
        let world = pool(1, 1);
        world.cloud.fault("AttachNetworkInterface", When::Every, Fault::internal());
        let (code, text) = failed(join(&world.node(&instance(0)), None, 90).await);
        assert_eq!(code, 4);
        assert!(text.contains("eni-00000000 could not be attached") && text.contains("InternalError"), "{text}");
        assert_eq!(world.owner(&volume(0)), None, "{:?}", world.said());
    });
}

#[test]
fn a_stopped_nodes_slot_is_taken_over_whole() {
    run(async {
        let world = pool(2, 3);
        for (id, result) in race(&world, 0..2, 60).await {
            result.unwrap_or_else(|error| panic!("{id}: {error}"));
        }
        world.cloud.set_life(&instance(1), Life::Stopped);
        let claimed = join(&world.node(&instance(2)), None, 300).await.unwrap();
        assert_eq!(claimed.taken_from, Some(instance(1)));
        assert_eq!(whole(&world, 2), [instance(0), instance(2)].into());
    });
}
