//! Network interfaces: the rows of the errors once more, and that none is moved from who runs.

use volinit::ec2::Ec2;
use volinit::ec2::api::{Nic, Which};
use volinit::ec2::claim::Missed;
use volinit::ec2::interface;
use volinit::ec2::wait::Patience;

use crate::ec2::{Fault, Form, Life, When};
use crate::node::{A, B, World, failed, run, secs};

const ENI: &str = "eni-0a0a0a0a";

fn world() -> World {
    let world = World::new();
    world.cloud.instance("i-me", A);
    world.cloud.instance("i-other", A);
    world.cloud.interface(ENI, A);
    world
}

async fn hold(node: &Ec2, seconds: u64) -> Result<Nic, Missed> {
    interface::hold(node, &Which::Id(ENI), 1, &mut Patience::new(secs(seconds))).await
}

#[test]
fn a_free_one_takes_two_calls_and_names_the_card() {
    run(async {
        let world = world();
        let nic = hold(&world.node("i-me"), 60).await.unwrap();
        assert_eq!(world.said(), ["DescribeNetworkInterfaces", "AttachNetworkInterface"]);
        let call = &world.cloud.calls()[1];
        assert_eq!((call.param("DeviceIndex"), call.param("NetworkCardIndex")), (Some("1"), Some("0")));
        assert_eq!(nic.mac, world.cloud.see_interface(ENI).mac);
        hold(&world.node("i-me"), 60).await.unwrap();
        assert_eq!(world.cloud.count("AttachNetworkInterface"), 1);
    });
}

#[test]
fn a_device_index_that_is_taken_is_named() {
    run(async {
        let world = world();
        world.cloud.interface("eni-0b0b0b0b", A).attached("i-me", 1);
        let (code, text) = failed(hold(&world.node("i-me"), 60).await);
        assert_eq!(code, 1);
        let words = "Instance 'i-me' already has an interface attached at device index '1'.: choose another";
        assert!(text.contains(words), "{text}");
        assert!(world.cloud.count("AttachNetworkInterface") <= 4, "{:?}", world.said());
    });
}

#[test]
fn too_many_interfaces_is_said_once() {
    run(async {
        let world = world();
        world.cloud.instance("i-me", A).interface_limit(1);
        let (code, text) = failed(hold(&world.node("i-me"), 60).await);
        assert_eq!(code, 1);
        assert!(text.contains("AttachmentLimitExceeded: Interface count 2 exceeds the limit"), "{text}");
        assert_eq!(world.cloud.count("AttachNetworkInterface"), 1);
    });
}

#[test]
fn one_that_a_running_instance_has_stays_there() {
    for life in [Life::Running, Life::Pending] {
        run(async {
            let world = world();
            world.cloud.interface(ENI, A).attached("i-other", 1);
            world.cloud.set_life("i-other", life);
            let (code, text) = failed(hold(&world.node("i-me"), 60).await);
            assert_eq!(code, 3);
            assert!(text.starts_with("eni-0a0a0a0a is attached to i-other, which is running. "), "{text}");
            assert_eq!(world.said(), ["DescribeNetworkInterfaces", "DescribeInstances"]);
        });
    }
}

#[test]
fn one_that_a_stopped_instance_has_is_taken() {
    for life in [Some(Life::Stopped), Some(Life::Terminated), None] {
        run(async {
            let world = world();
            world.cloud.interface(ENI, A).attached("i-other", 1);
            world.cloud.detach_takes(secs(3));
            world.cloud.terminate_takes(secs(60), secs(3600));
            match life {
                Some(life) => world.cloud.set_life("i-other", life),
                None => drop(world.cloud.with(|state| state.instances.remove("i-other"))),
            }
            hold(&world.node("i-me"), 120).await.unwrap();
            assert_eq!(world.owner(ENI).as_deref(), Some("i-me"), "{life:?}");
            assert_eq!(world.cloud.count("DetachNetworkInterface"), 1);
        });
    }
}

#[test]
fn one_that_a_stopping_instance_has_is_waited_for() {
    run(async {
        let world = world();
        world.cloud.interface(ENI, A).attached("i-other", 1);
        world.cloud.stop_takes(secs(60));
        world.cloud.stop("i-other");
        hold(&world.node("i-me"), 300).await.unwrap();
        assert_eq!(world.owner(ENI).as_deref(), Some("i-me"));
        assert!(world.now() >= secs(60));
    });
}

#[test]
fn one_of_another_zone_or_none_at_all_is_said() {
    run(async {
        let world = world();
        world.cloud.interface(ENI, B);
        let (code, text) = failed(hold(&world.node("i-me"), 60).await);
        assert_eq!(code, 3, "{text}");
        assert!(text.starts_with("eni-0a0a0a0a is in eu-central-1b and this instance in eu-central-1a. "), "{text}");
        assert_eq!(world.said(), ["DescribeNetworkInterfaces"]);
        world.cloud.with(|state| state.interfaces.remove(ENI));
        let (code, text) = failed(hold(&world.node("i-me"), 60).await);
        assert_eq!((code, text.as_str()), (1, "EC2 has no such network interface in eu-central-1: eni-0a0a0a0a"));
    });
}

#[test]
fn lost_answers_throttling_and_errors_of_the_server_pass() {
    let faults =
        [Fault::Lost, Fault::DoneBut500, Fault::Cut, Fault::Garbage, Fault::Html, Fault::Dead, Fault::throttled()];
    for fault in faults {
        for action in ["DescribeNetworkInterfaces", "AttachNetworkInterface", "*"] {
            run(async {
                let world = world();
                world.cloud.fault(action, When::First(8), fault.clone());
                let held = hold(&world.node("i-me"), 1800).await;
                held.unwrap_or_else(|error| panic!("{action} {fault:?}: {error:?}: {:?}", world.said()));
                assert_eq!(world.owner(ENI).as_deref(), Some("i-me"));
                assert_eq!(world.events().len(), 1, "{:?}", world.events());
            });
        }
    }
}

/// EC2 may look at the index before it looks at the interface; this one's own is there by then.
#[test]
fn the_index_that_its_own_lost_attach_took_is_no_error() {
    run(async {
        let world = world();
        world.cloud.describe_lags(secs(2));
        let node = world.node("i-me");
        tokio::time::sleep(secs(10)).await;
        let text = "Instance 'i-me' already has an interface attached at device index '1'.";
        world.cloud.fault("AttachNetworkInterface", When::Nth(1), Fault::Lost);
        world.cloud.fault("AttachNetworkInterface", When::Every, Fault::error("InvalidParameterValue", text));
        hold(&node, 60).await.unwrap();
        assert_eq!(world.owner(ENI).as_deref(), Some("i-me"));
    });
}

#[test]
fn a_missing_right_is_named() {
    for action in ["DescribeNetworkInterfaces", "AttachNetworkInterface"] {
        run(async {
            let world = world();
            world.cloud.deny(action);
            let (code, text) = failed(hold(&world.node("i-me"), 60).await);
            assert_eq!(code, 1);
            assert!(text.starts_with(&format!("ec2:{action} is not allowed: ")), "{text}");
        });
    }
}

#[test]
fn released_it_is_free_for_others() {
    run(async {
        let world = world();
        world.cloud.detach_takes(secs(5));
        let node = world.node("i-me");
        hold(&node, 60).await.unwrap();
        assert!(interface::give_back(&node, ENI, &mut Patience::new(secs(60))).await.unwrap());
        assert_eq!(world.owner(ENI), None);
        assert_eq!(world.cloud.count("DetachNetworkInterface"), 1);
        let attach = [("NetworkInterfaceId", ENI), ("InstanceId", "i-other"), ("DeviceIndex", "1")];
        let answer = world.cloud.answer(world.now(), &Form::ec2("AttachNetworkInterface", &attach));
        assert_eq!(answer.status, 200);
    });
}
