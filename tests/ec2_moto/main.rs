//! moto, over HTTP and with the client as it ships: the tests' own EC2 says what moto says, and what the claim decides
//! by it comes out with moto as well. A whole run of the binary with moto is in `ebs`. What moto lacks (who holds a
//! volume is no matter to it, it is never slow and never fails) is in `ec2_claim`.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[path = "../ec2/mod.rs"]
mod ec2;
mod moto;
#[path = "../ec2_claim/node.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod node;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::time::Duration;

use tokio::runtime::Builder;
use volinit::config::{Eni, Interface, Takeover, VolumeId};
use volinit::ec2::Ec2;
use volinit::ec2::api::{Api, Volume, Which};
use volinit::ec2::claim::{self, Claimed, Missed, Pool};
use volinit::ec2::wait::Patience;

use moto::{Moto, ZONE, tags};
use node::World;

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn patience() -> Patience {
    Patience::new(Duration::from_secs(60))
}

async fn look(node: &Ec2, id: &str) -> Volume {
    node.api.volumes(&Which::Id(id)).await.unwrap().remove(0)
}

/// The instances that have it.
async fn holders(node: &Ec2, id: &str) -> Vec<String> {
    look(node, id).await.attachments.into_iter().map(|one| one.instance).collect()
}

async fn join(node: &Ec2, tags: &BTreeMap<String, String>, last: Option<&VolumeId>) -> Result<Claimed, Missed> {
    let timeout = Duration::from_secs(5);
    let eni = Eni::Tags(tags.clone());
    let interface = Interface { name: "kafka".into(), eni, device_index: 1, timeout };
    let policy = Takeover::WhenStopped;
    let pool = Pool { tags, slot_tag: Some("slot"), interface: Some(&interface), last, policy };
    claim::from_pool(node, &pool, &mut Patience::new(timeout)).await
}

#[test]
fn a_stopped_instances_volume_is_taken_over_and_a_running_ones_is_not() {
    run(async {
        let moto = Moto::start();
        let (core1, core2) = (moto.node().await, moto.node().await);
        let id = moto.volume(1, &tags(&[])).await;
        let own = VolumeId::parse(&id).unwrap();
        claim::hold(&core1, &own, Takeover::WhenStopped, &mut patience()).await.unwrap();
        let refused = claim::hold(&core2, &own, Takeover::WhenStopped, &mut patience()).await;
        assert!(matches!(refused, Err(Missed::Held(_))), "{refused:?}");
        moto.client.stop_instances().instance_ids(&core1.me.instance).send().await.unwrap();
        let claimed = claim::hold(&core2, &own, Takeover::WhenStopped, &mut patience()).await.unwrap();
        assert_eq!(claimed.taken_from, Some(core1.me.instance));
        assert_eq!(holders(&core2, &id).await, std::slice::from_ref(&core2.me.instance));
    });
}

#[test]
fn slots_of_a_pool_are_taken_whole_and_the_last_node_gets_none() {
    run(async {
        let moto = Moto::start();
        let cluster = tags(&[("cluster", "kafka")]);
        for slot in ["0", "1"] {
            let tags = tags(&[("cluster", "kafka"), ("slot", slot)]);
            moto.volume(1, &tags).await;
            moto.interface(&tags).await;
        }
        let nodes = [moto.node().await, moto.node().await, moto.node().await];
        let first = join(&nodes[0], &cluster, None).await.unwrap();
        let second = join(&nodes[1], &cluster, Some(&first.volume.id)).await.unwrap();
        assert_ne!(first.volume.id, second.volume.id);
        for (claimed, node) in [(&first, &nodes[0]), (&second, &nodes[1])] {
            let nic = claimed.nic.as_ref().unwrap();
            assert_eq!(nic.tags["slot"], claimed.volume.tags["slot"]);
            let nic = node.api.interfaces(&Which::Id(&nic.id)).await.unwrap().remove(0);
            assert_eq!(nic.attachment.unwrap().instance, node.me.instance);
        }
        let Err(Missed::Failed(failure)) = join(&nodes[2], &cluster, None).await else { panic!("there was none left") };
        assert_eq!(failure.exit_code(), 4);
        assert!(failure.to_string().contains("a free volume of the pool (cluster=kafka): of 2 "), "{failure}");
        // Another run of the first finds what it has.
        let first_again = Ec2::new(nodes[0].api.clone(), nodes[0].me.clone());
        let again = join(&first_again, &cluster, None).await.unwrap();
        assert_eq!((again.volume.id, again.attached_now), (first.volume.id, false));
    });
}

/// What both say to the same questions, in the words of our own types; an attachment's id is each one's own.
async fn asked(api: &Api, volumes: &[String], instances: &[String], nic: &str) -> String {
    fn line(text: &mut String, what: &str, answer: &dyn Debug) {
        writeln!(text, "{what}: {answer:?}").unwrap();
    }
    let mut text = String::new();
    for id in volumes.iter().map(String::as_str).chain(["vol-00000000000000000"]) {
        line(&mut text, id, &api.volumes(&Which::Id(id)).await);
    }
    for pairs in [
        &[("role", "pg")][..],
        &[("role", "pg"), ("env", "a*b")],
        &[("role", "p?")],
        &[("role", "nobody")],
        &[("none", "pg")],
        &[("env", "a\\b")],
        &[("name", "<&\">'\u{e4}")],
    ] {
        let mut found = api.volumes(&Which::Tags(&tags(pairs))).await;
        if let Ok(found) = &mut found {
            found.sort_by_key(|volume| volume.id.to_string());
        }
        line(&mut text, &format!("volumes {pairs:?}"), &found);
        let mut found = api.interfaces(&Which::Tags(&tags(pairs))).await;
        for attachment in found.iter_mut().flatten().filter_map(|nic| nic.attachment.as_mut()) {
            attachment.id.clear();
        }
        line(&mut text, &format!("interfaces {pairs:?}"), &found);
    }
    line(&mut text, nic, &api.interfaces(&Which::Id(nic)).await.map(|found| found.len()));
    line(&mut text, "no nic", &api.interfaces(&Which::Id("eni-00000000000000000")).await);
    let gone = vec!["i-00000000000000000".to_owned()];
    line(&mut text, "states", &api.instance_states([instances, &gone].concat()).await);
    line(&mut text, "gone", &api.instance_states(gone).await);
    line(&mut text, "modification", &api.modification(&VolumeId::parse(&volumes[0]).unwrap()).await);
    text
}

#[test]
fn moto_and_the_tests_own_ec2_give_the_same_answers() {
    run(async {
        let moto = Moto::start();
        let nodes = [moto.node().await, moto.node().await];
        let instances = nodes.each_ref().map(|node| node.me.instance.clone());
        let all = [
            tags(&[("role", "pg"), ("env", "a*b")]),
            tags(&[("role", "pg"), ("env", "axb")]),
            tags(&[("env", "a\\b"), ("name", "<&\">'\u{e4}")]),
        ];
        let world = World::new();
        for instance in &instances {
            world.cloud.instance(instance, ZONE);
        }
        let mut volumes = Vec::new();
        for tags in &all {
            let id = moto.volume(3, tags).await;
            let made = world.cloud.volume(&id, ZONE, 3);
            tags.iter().fold(made, |made, (key, value)| made.tag(key, value));
            volumes.push(id);
        }
        let nic = moto.interface(&all[0]).await;
        let seen = nodes[0].api.interfaces(&Which::Id(&nic)).await.unwrap().remove(0);
        let made = world.cloud.interface(&nic, ZONE).mac(&seen.mac).ip(&seen.address);
        all[0].iter().fold(made, |made, (key, value)| made.tag(key, value));
        let apis = [nodes[0].api.clone(), world.node(&instances[0]).api];
        let same = async |when: &str| {
            let [moto, own] = [&apis[0], &apis[1]].map(async |api| asked(api, &volumes, &instances, &nic).await);
            let (moto, own) = (moto.await, own.await);
            for (moto, own) in moto.lines().zip(own.lines()) {
                assert_eq!(moto, own, "{when}: moto's is the left one");
            }
            assert_eq!(moto, own, "{when}");
        };
        same("nothing is attached").await;
        let id = VolumeId::parse(&volumes[0]).unwrap();
        for api in &apis {
            api.attach(&id, &instances[0], "/dev/sdf").await.unwrap();
            api.attach_interface(&nic, &instances[0], 1).await.unwrap();
        }
        same("all is attached").await;
        // Who asks for what is not so gets the same error, as far as it means anything to us.
        let errors = async |api: &Api| {
            let missing = VolumeId::parse("vol-00000000000000000").unwrap();
            let free = VolumeId::parse(&volumes[1]).unwrap();
            [
                api.attach(&missing, &instances[0], "/dev/sdg").await.map_err(|error| error.means),
                api.detach(&missing, &instances[0], false).await.map_err(|error| error.means),
                api.attach(&free, "i-00000000000000000", "/dev/sdg").await.map_err(|error| error.means),
                api.detach(&free, &instances[0], false).await.map_err(|error| error.means),
                api.detach_interface("eni-attach-00000000").await.map_err(|error| error.means),
                api.attach_interface("eni-00000000000000000", &instances[0], 1).await.map_err(|error| error.means),
            ]
        };
        assert_eq!(errors(&apis[0]).await, errors(&apis[1]).await);
        for api in &apis {
            api.detach(&id, &instances[0], false).await.unwrap();
        }
        same("the volume is detached").await;
        moto.client.stop_instances().instance_ids(&instances[1]).send().await.unwrap();
        world.cloud.set_life(&instances[1], ec2::Life::Stopped);
        same("one is stopped").await;
    });
}
