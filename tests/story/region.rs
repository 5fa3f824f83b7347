//! An account of the tests' own EC2 in a region with one volume: where the volume is attached, its disk is plugged into
//! the machine that asked for it, and pulled out of it where it is detached.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::ec2::Cloud;
use crate::ec2::http::Server;
use crate::vm::debian::{Image, Ports};

pub const ZONE: &str = "eu-central-1a";
pub const VOL: &str = "vol-0123456789abcdef0";
const SERIAL: &str = "vol0123456789abcdef0";
const GIB: u64 = 1;

pub struct Region {
    pub cloud: Cloud,
    server: Server,
    running: Arc<Running>,
    /// What the volume holds.
    content: PathBuf,
}

/// The ports of the machines that run, by instance, and which of them has the disk.
#[derive(Default)]
struct Running {
    slots: Mutex<BTreeMap<String, Slot>>,
    came: Condvar,
}

struct Slot {
    ports: Arc<Mutex<Ports>>,
    /// The port that the disk is in.
    port: Option<String>,
}

impl Region {
    pub fn new(image: &Image) -> Region {
        let (cloud, running) = (Cloud::new(), Arc::<Running>::default());
        // The answer is "attaching", and the disk comes later.
        cloud.attach_takes(Duration::from_millis(700));
        cloud.detach_takes(Duration::from_millis(700));
        // A terminated instance keeps its volume for as long as this test runs: it has to be taken.
        cloud.terminate_takes(Duration::ZERO, Duration::from_secs(3600));
        cloud.volume(VOL, ZONE, GIB).tag("Name", "postgres");
        let content = image.file(VOL, GIB << 30);
        let (of_attach, file) = (Arc::clone(&running), content.clone());
        cloud.on_attach(move |_, instance, _| {
            of_attach.with(instance, |slot| slot.port = Some(slot.lock(|ports| ports.plug(&file, SERIAL))));
        });
        let of_detach = Arc::clone(&running);
        cloud.on_detach(move |_, instance, _| {
            if of_detach.runs(instance) {
                of_detach.with(instance, |slot| {
                    let port = slot.port.take().expect("its disk is plugged in");
                    slot.lock(|ports| ports.unplug(&port));
                });
            }
        });
        Region { server: Server::start(&cloud, 1.0), cloud, running, content }
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The machine of an instance runs, and disks can be plugged into it.
    pub fn runs(&self, instance: &str, ports: Arc<Mutex<Ports>>) {
        self.running.lock(|slots| slots.insert(instance.into(), Slot { ports, port: None }));
        self.running.came.notify_all();
    }

    /// Its machine is about to end: no disk is pulled out of it any more.
    pub fn leaves(&self, instance: &str) {
        self.running.lock(|slots| slots.remove(instance));
    }

    /// The instance is gone, and its machine with it.
    pub fn terminated(&self, instance: &str) {
        self.leaves(instance);
        self.cloud.terminate(instance);
    }

    /// What EC2 says of the volume, as a person asks for it.
    pub fn volume(&self) -> String {
        let volume = self.cloud.see_volume(VOL);
        let of = self.cloud.owner(VOL).map_or_else(String::new, |instance| format!(", attached to {instance}"));
        format!("{VOL}: {}{of}", volume.status())
    }

    /// Whether the ext4 was left without being unmounted: its journal is to be replayed.
    /// <https://docs.kernel.org/filesystems/ext4/super.html>: `s_feature_incompat`, `INCOMPAT_RECOVER`.
    pub fn wants_recovery(&self) -> bool {
        let mut features = [0; 4];
        File::open(&self.content).unwrap().read_exact_at(&mut features, 1024 + 0x60).unwrap();
        u32::from_le_bytes(features) & 0x4 != 0
    }
}

impl Running {
    fn lock<T>(&self, use_it: impl FnOnce(&mut BTreeMap<String, Slot>) -> T) -> T {
        use_it(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn runs(&self, instance: &str) -> bool {
        self.lock(|slots| slots.contains_key(instance))
    }

    /// A machine may ask for its disk before this test has heard that it runs.
    fn with(&self, instance: &str, act: impl FnOnce(&mut Slot)) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let there = |slots: &mut BTreeMap<String, Slot>| !slots.contains_key(instance);
        let mut slots = self.came.wait_while(slots, there).unwrap_or_else(PoisonError::into_inner);
        act(slots.get_mut(instance).expect("waited for"));
    }
}

impl Slot {
    fn lock<T>(&self, act: impl FnOnce(&mut Ports) -> T) -> T {
        act(&mut self.ports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
