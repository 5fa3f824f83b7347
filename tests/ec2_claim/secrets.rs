//! What is secret is in no log, at any level. The SDK tells what it does by `tracing`, to which nobody here listens; a
//! feature that leads it to `log` would be heard by this test.
//!
//! The log is the process's, so this one test sees what all the others say too; that makes it no weaker.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};
use volinit::config::Takeover;

use crate::ec2::{Fault, When};
use crate::node::{A, World, claim, failed, run, secs};

struct All(Mutex<Vec<String>>);

static ALL: All = All(Mutex::new(Vec::new()));

impl Log for All {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // A storm of other tests would fill the memory with what it says; its first part is the same as this one's.
        let mut lines = self.0.lock().unwrap();
        if lines.len() < 200_000 {
            lines.push(format!("{} {} {}", record.level(), record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn no_secret_is_in_any_log() {
    log::set_logger(&ALL).unwrap();
    log::set_max_level(LevelFilter::Trace);
    run(async {
        let world = World::new();
        world.cloud.instance("i-secretive", A);
        world.cloud.volume("vol-0e0e0e0e", A, 1);
        let node = world.node("i-secretive");
        let secrets = world.cloud.secrets();
        assert_eq!(secrets.len(), 2, "{secrets:?}");
        let mut said = vec![format!("{node:?}")];
        for fault in [Fault::Lost, Fault::throttled(), Fault::Garbage, Fault::Dead, Fault::Html] {
            world.cloud.fault("*", When::First(7), fault);
        }
        claim(&node, "vol-0e0e0e0e", Takeover::WhenStopped, secs(3600)).await.unwrap();
        for fault in [Fault::throttled(), Fault::Garbage, Fault::Dead, Fault::Reset] {
            world.cloud.heal();
            world.cloud.fault("*", When::Every, fault);
            said.push(failed(claim(&node, "vol-0e0e0e0e", Takeover::WhenStopped, secs(300)).await).1);
        }
        world.cloud.heal();
        world.cloud.deny("DescribeVolumes");
        said.push(failed(claim(&node, "vol-0e0e0e0e", Takeover::WhenStopped, secs(300)).await).1);
        let lines = ALL.0.lock().unwrap().clone();
        assert!(lines.iter().any(|line| line.contains("volinit::ec2") && line.contains("vol-0e0e0e0e")), "it is heard");
        for line in lines.iter().chain(&said) {
            for secret in &secrets {
                assert!(!line.contains(secret.as_str()), "{line}");
            }
        }
        println!("{} lines of log, none with a secret", lines.len());
    });
}
