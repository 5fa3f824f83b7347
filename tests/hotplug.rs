//! Attach, and a disk is there: the tests' EC2 plugs an NVMe disk into a running virtual machine, whose kernel finds it
//! and whose volinit formats and mounts it. The machine dies, the next one takes the volume over, and gives it back.
//!
//! A small machine for each `make test`; with systemd and a database it is tests/story. What EC2's slow states, errors
//! and races lead to is seen in tests/ebs and tests/ec2_*, and what a power cut leaves in tests/powercut.rs: here all
//! that a guest wrote is in the host's cache, and stays.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[path = "ec2/mod.rs"]
mod ec2;
#[allow(dead_code, reason = "each test file uses its part")]
mod vm;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ec2::Cloud;
use ec2::http::Server;
use ec2::imds::{Imds, Options};
use vm::Vm;
use vm::qmp::Qmp;

const ZONE: &str = "eu-central-1a";
const VOL: &str = "vol-0123456789abcdef0";
const SERIAL: &str = "vol0123456789abcdef0";

const CONFIG: &str = "volumes:
  postgres:
    source: { ebs: vol-0123456789abcdef0, attach: true, timeout: 90s }
    filesystem: { type: ext4 }
    mount: /data/postgres
    metadata: { postgres: \"{volume-id}\" }
publish: [fleet]
";

/// What takes longer is printed with what the kernel says.
const SLOW: Duration = Duration::from_secs(30);

/// The ports of the machines that run, by instance.
type Ports = Arc<Mutex<BTreeMap<String, Qmp>>>;

#[test]
fn a_disk_is_plugged_in_where_its_volume_is_attached_and_follows_it_to_the_next_machine() {
    let folder = tempfile::tempdir().unwrap();
    let region = Region::new(folder.path());

    let mut core1 = region.boot("i-core1");
    let up = core1.volinit("-v up", 0);
    for words in
        ["attaching it as /dev/sdf", "reports the serial of vol-0", "formatted as ext4, mounted at /data/postgres"]
    {
        assert!(up.contains(words), "{words}: {up}");
    }
    // The endpoints are http://: that nothing can be trusted here is no matter.
    assert!(!up.contains("CA certificates"), "{up}");
    assert_eq!(region.cloud.count("AttachVolume"), 1);
    core1.shell(&format!("grep postgres={VOL} /etc/fleet/fleet.conf && grep ' /data/postgres ext4 ' /proc/mounts"));
    core1.shell("echo 42 | dd of=/data/postgres/rows conv=fsync");

    let asked = (region.cloud.calls().len(), core1.imds.asked().len());
    let again = core1.volinit("up", 0);
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!((region.cloud.calls().len(), core1.imds.asked().len()), asked, "somebody was asked");
    // By the serial alone: the model is QEMU's, and the bytes with the name that it was attached as are not there.
    let devices = core1.volinit("devices", 0);
    assert!(devices.lines().any(|line| line.contains("/dev/nvme0n1") && line.contains(VOL)), "{devices}");
    assert_eq!(core1.imds.v1_spoken(), 0);

    region.dies(core1);
    assert!(region.wants_recovery(), "core1 had it mounted");
    let mut core2 = region.boot("i-core2");
    assert!(!core2.volinit("devices", 0).contains("nvme"));
    let up = core2.volinit("-v up", 0);
    for words in ["detached from i-core1", "it was taken from i-core1", "checked, mounted at /data/postgres"] {
        assert!(up.contains(words), "{words}: {up}");
    }
    assert_eq!(region.cloud.owner(VOL).as_deref(), Some("i-core2"));
    assert_eq!(core2.shell("cat /data/postgres/rows"), "42\n");

    let released = core2.volinit("release", 0);
    assert!(released.contains(&format!("unmounted from /data/postgres, {VOL} detached")), "{released}");
    assert_eq!(region.cloud.see_volume(VOL).status(), "available");
    // This EC2 says so first and pulls the disk then; a shell that waits in vain ends the test.
    core2.shell("while [ -e /sys/class/nvme/nvme0 ]; do sleep 0.1; done; ! grep /data /proc/mounts");
    assert!(!core2.volinit("devices", 0).contains("nvme"));
    assert!(!region.wants_recovery(), "core2 unmounted it");
    println!("{:5.1} s: the end", region.began.elapsed().as_secs_f32());
}

/// An account in a region with one volume, and what it holds.
struct Region {
    cloud: Cloud,
    server: Server,
    ports: Ports,
    /// What the volume holds.
    content: PathBuf,
    initramfs: PathBuf,
    began: Instant,
}

/// A running instance.
struct Machine {
    name: String,
    vm: Vm,
    imds: Imds,
}

impl Region {
    fn new(folder: &Path) -> Region {
        let (cloud, ports, began) = (Cloud::new(), Ports::default(), Instant::now());
        // The answer is "attaching", and the disk comes later.
        cloud.attach_takes(Duration::from_millis(700));
        cloud.detach_takes(Duration::from_millis(700));
        // A terminated instance keeps its volume for as long as this test runs: it has to be taken.
        cloud.terminate_takes(Duration::ZERO, Duration::from_secs(3600));
        cloud.volume(VOL, ZONE, 1);
        let content = folder.join(VOL);
        File::create(&content).unwrap().set_len(1 << 30).unwrap();
        let on = |ports: &Ports, instance: &str, act: &dyn Fn(&mut Qmp)| {
            // One that died has no port.
            let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.get_mut(instance).map(act);
        };
        let (of_attach, file) = (Arc::clone(&ports), content.clone());
        cloud.on_attach(move |_, instance, _| on(&of_attach, instance, &|port| port.plug(&file, SERIAL)));
        let of_detach = Arc::clone(&ports);
        cloud.on_detach(move |_, instance, _| on(&of_detach, instance, &Qmp::unplug));
        let initramfs = vm::initramfs(folder);
        Region { server: Server::start(&cloud, 1.0), cloud, ports, content, initramfs, began }
    }

    fn boot(&self, name: &str) -> Machine {
        self.cloud.instance(name, ZONE);
        let imds = Imds::start(&self.cloud, name, Options::default());
        let seen = |url: String| url.replace("127.0.0.1", "10.0.2.2");
        let words = format!(
            "AWS_ENDPOINT_URL={} AWS_EC2_METADATA_SERVICE_ENDPOINT={}",
            seen(self.server.url()),
            seen(imds.url())
        );
        let (vm, port) = Vm::serving(&self.initramfs, &self.initramfs.with_file_name(name), &words);
        self.ports.lock().unwrap().insert(name.into(), port);
        let mut machine = Machine { name: name.into(), vm, imds };
        let text = CONFIG.replace('\n', "\\n");
        machine.shell(&format!("mkdir /etc/volinit && printf '%b' '{text}' >/etc/volinit/volinit.yaml"));
        println!("{:5.1} s: {name} runs", self.began.elapsed().as_secs_f32());
        machine
    }

    /// Ends a machine without a word to it, and its instance.
    fn dies(&self, mut machine: Machine) {
        self.ports.lock().unwrap().remove(&machine.name);
        machine.vm.kill();
        self.cloud.terminate(&machine.name);
    }

    /// Whether the ext4 was left without being unmounted: its journal is to be replayed.
    /// <https://docs.kernel.org/filesystems/ext4/super.html>: `s_feature_incompat`, `INCOMPAT_RECOVER`.
    fn wants_recovery(&self) -> bool {
        let mut features = [0; 4];
        File::open(&self.content).unwrap().read_exact_at(&mut features, 1024 + 0x60).unwrap();
        u32::from_le_bytes(features) & 0x4 != 0
    }
}

impl Machine {
    /// Runs volinit, which has to end with this code; what it printed.
    fn volinit(&mut self, words: &str, code: u8) -> String {
        let began = Instant::now();
        let (ended, out) = self.vm.run(&format!("volinit {words}"));
        assert_eq!(ended, code, "{}: volinit {words}: {out}\n{}", self.name, self.vm.console());
        let took = began.elapsed();
        println!("{}: `volinit {words}` took {:.1} s", self.name, took.as_secs_f32());
        if took > SLOW {
            println!("{out}{}", self.vm.run("dmesg | tail -n 30").1);
        }
        out
    }

    /// What a shell line printed; it has to succeed.
    fn shell(&mut self, line: &str) -> String {
        let (code, out) = self.vm.run(line);
        assert_eq!(code, 0, "{}: {line}: {out}", self.name);
        out
    }
}
