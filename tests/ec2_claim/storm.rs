//! A thousand nodes boot at once, in an account with the buckets of requests that AWS publishes: all come up, and what
//! that takes is printed, beside a plain client that asks again each second (`--nocapture`).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use volinit::config::Takeover;

use crate::ec2::{Form, Limits};
use crate::node::{A, World, claim, run, secs};

const NODES: usize = 1000;

fn volume(node: usize) -> String {
    format!("vol-{node:08x}")
}

fn instance(node: usize) -> String {
    format!("i-{node:08x}")
}

fn storm() -> World {
    let world = World::new();
    for node in 0..NODES {
        world.cloud.volume(&volume(node), A, 10);
        world.cloud.instance(&instance(node), A);
    }
    world.cloud.attach_takes(secs(3));
    world.cloud.throttle(Limits::published());
    world
}

/// A boot is not in the same instant everywhere.
async fn boots(node: usize) {
    sleep(Duration::from_millis(u64::try_from(node).unwrap() * 5)).await;
}

/// What each action was called, by node, and how often in vain.
fn table(what: &str, world: &World, last: Duration, mut ups: Vec<Duration>) {
    let mut rows: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for call in world.cloud.calls() {
        let row = rows.entry(call.action.clone()).or_default();
        row.0 += 1;
        row.1 += usize::from(call.code == "RequestLimitExceeded");
    }
    ups.sort();
    let median = ups[ups.len() / 2].as_secs_f64();
    println!("{what}: {NODES} nodes, half of them up after {median:.0} s, the last after {:.0} s", last.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "thousands")]
    for (action, (calls, throttled)) in rows {
        let each = calls as f64 / NODES as f64;
        println!("    {action:<18} {calls:>7} calls, {each:>6.1} a node, {throttled:>6} of them throttled");
    }
}

async fn ours() -> (World, Duration) {
    let world = storm();
    let mut all = JoinSet::new();
    for node in 0..NODES {
        let world = world.clone();
        all.spawn(async move {
            boots(node).await;
            let ec2 = world.far_node(&instance(node), Duration::from_millis(5)..Duration::from_millis(40));
            claim(&ec2, &volume(node), Takeover::WhenStopped, secs(3600)).await.map(|_| world.now())
        });
    }
    let ups: Vec<Duration> = all.join_all().await.into_iter().map(Result::unwrap).collect();
    let last = world.now();
    for node in 0..NODES {
        assert_eq!(world.owner(&volume(node)), Some(instance(node)));
    }
    table("volinit", &world, last, ups);
    (world, last)
}

/// Looks each second until it is there, and asks for it each second where it is not: no jitter, no backing off. Without
/// the SDK, which would take minutes for a hundred thousand calls and adds nothing to these.
async fn plain(world: &World, volume: &str, instance: &str) {
    let look = Form::ec2("DescribeVolumes", &[("Filter.1.Name", "volume-id"), ("Filter.1.Value.1", volume)]);
    let fields = [("VolumeId", volume), ("InstanceId", instance), ("Device", "/dev/sdf")];
    let attach = Form::ec2("AttachVolume", &fields);
    let ask = async |form: &Form| {
        sleep(Duration::from_millis(20)).await;
        let reply = world.cloud.reply(world.now(), Some(instance), form);
        sleep(Duration::from_millis(20)).await;
        reply.answer
    };
    loop {
        let answer = ask(&look).await;
        // Of the volume and, where it has one, of its attachment.
        match answer.texts("status")[..] {
            ["available"] => drop(ask(&attach).await),
            ["in-use", "attached"] => return,
            _ => {}
        }
        sleep(secs(1)).await;
    }
}

async fn fixed_interval() -> (World, Duration) {
    let world = storm();
    let mut all = JoinSet::new();
    for node in 0..NODES {
        let world = world.clone();
        all.spawn(async move {
            boots(node).await;
            plain(&world, &volume(node), &instance(node)).await;
            world.now()
        });
    }
    let ups = all.join_all().await;
    let last = world.now();
    table("every second", &world, last, ups);
    (world, last)
}

#[test]
fn a_thousand_nodes_come_up_with_few_calls() {
    let (ours, last) = run(ours());
    let (plain, _) = run(fixed_interval());
    // A thousand attaches at five a second, after fifty at once, are 190 s whatever one does.
    assert!((secs(185)..secs(420)).contains(&last), "{last:?}");
    let (ours, plain) = (ours.cloud.calls().len(), plain.cloud.calls().len());
    assert!(ours * 3 < plain, "{ours} calls, and {plain} with fixed intervals");
    assert!(ours < NODES * 20, "{ours}");
}
