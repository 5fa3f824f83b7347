//! Nodes of a region of the tests' own: attaching a volume makes a real disk, a loop device, appear on the node with
//! the serial that an EBS volume has, and attaching an interface a link with its MAC address.
//!
//! Each node has a mount namespace, in which its own folders stand in for those of /sys that tell of disks and links:
//! a loop device has no serial, and no machine without NVMe can give it one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::ec2::Cloud;
use crate::ec2::Event;
use crate::ec2::http::Server;
use crate::ec2::imds::{Imds, Options};
use crate::rig::{Ran, Rig, tool};

pub const ZONE: &str = "eu-central-1a";

/// An account in a region, and what its volumes hold.
pub struct Region {
    pub cloud: Cloud,
    #[expect(dead_code, reason = "it serves as long as it lives")]
    server: Server,
    /// Where its API is; moto's in place of our own, for the tests with moto.
    pub endpoint: String,
    disks: TempDir,
    nodes: Arc<Mutex<BTreeMap<String, PathBuf>>>,
}

impl Region {
    pub fn new() -> Region {
        let (cloud, disks) = (Cloud::new(), tempfile::tempdir().unwrap());
        let nodes: Arc<Mutex<BTreeMap<String, PathBuf>>> = Arc::default();
        let (files, of_nodes) = (disks.path().to_owned(), Arc::clone(&nodes));
        cloud.on_event(move |event| {
            let nodes = of_nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let node = |instance: &str| nodes.get(instance);
            match event {
                Event::Attached { volume, instance, .. } if let Some(node) = node(instance) => {
                    plug(node, &files.join(volume), volume);
                }
                Event::Detached { volume, instance, .. } if let Some(node) = node(instance) => unplug(node, volume),
                Event::LinkUp { instance, mac, .. } if let Some(node) = node(instance) => {
                    write(&node.join("net/ens6"), "address", mac);
                }
                Event::LinkDown { instance, .. } if let Some(node) = node(instance) => {
                    fs::remove_dir_all(node.join("net/ens6")).unwrap();
                }
                _ => {}
            }
        });
        let server = Server::start(&cloud, 1.0);
        Region { endpoint: server.url(), server, cloud, disks, nodes }
    }

    /// A volume of 1 GiB, blank; more of it by the cloud's own words.
    pub fn volume(&self, id: &str) -> crate::ec2::setup::NewVolume {
        self.blank(id);
        self.cloud.volume(id, ZONE, 1)
    }

    /// What a blank volume of 1 GiB holds.
    pub fn blank(&self, id: &str) {
        fs::File::create(self.file(id)).unwrap().set_len(1 << 30).unwrap();
    }

    /// The disk of a volume becomes larger, as its kernel sees it.
    pub fn grows(&self, id: &str, bytes: u64) {
        let file = fs::File::options().write(true).open(self.file(id)).unwrap();
        file.set_len(bytes).unwrap();
        let loops =
            tool(["losetup", "--noheadings", "--output", "NAME", "--associated", self.file(id).to_str().unwrap()]);
        tool(["losetup", "--set-capacity", loops.trim()]);
    }

    /// The disk of a volume appears on a node, or goes.
    pub fn plug(&self, instance: &str, volume: &str, there: bool) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        match (nodes.get(instance), there) {
            (Some(node), true) => plug(node, &self.file(volume), volume),
            (Some(node), false) => unplug(node, volume),
            (None, _) => {}
        }
    }

    /// The link of an interface appears on a node.
    pub fn link(&self, instance: &str, mac: &str) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(instance).inspect(|node| write(&node.join("net/ens6"), "address", mac));
    }

    /// What a volume holds.
    pub fn file(&self, id: &str) -> PathBuf {
        self.disks.path().join(id)
    }

    /// A running instance.
    pub fn node(&self, instance: &str) -> Node<'_> {
        self.cloud.instance(instance, ZONE);
        let rig = Rig::new();
        let fake = rig.path("/../fake");
        for folder in ["block", "dev", "devices", "net"] {
            fs::create_dir_all(fake.join(folder)).unwrap();
        }
        let script = "mount --bind \"$1/block\" /sys/block; mount --bind \"$1/dev\" /sys/dev/block
            mount --bind \"$1/net\" /sys/class/net; echo; exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-ec", script, "bash"])
            .arg(&fake)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its line says that all is in place.
        holder.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        self.nodes.lock().unwrap().insert(instance.to_owned(), fake.clone());
        let imds = Imds::start(&self.cloud, instance, Options::default());
        Node { region: self, instance: instance.to_owned(), rig, fake, holder, imds }
    }
}

/// A machine: an instance, its root folder, its disks and its metadata service.
pub struct Node<'a> {
    region: &'a Region,
    pub instance: String,
    pub rig: Rig,
    pub fake: PathBuf,
    holder: Child,
    pub imds: Imds,
}

impl Node<'_> {
    /// Runs volinit there.
    pub fn volinit(&self, arguments: &[&str]) -> Ran {
        self.rig.run(&mut self.command(arguments))
    }

    /// The same, to be run with more in its surroundings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let root = self.rig.root();
        let words = [crate::rig::VOLINIT, "--root", root.to_str().unwrap()];
        self.inside(&[&words, arguments].concat())
    }

    /// A command in its namespace, with its surroundings.
    pub fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).args(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("AWS_ENDPOINT_URL", &self.region.endpoint);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.url());
        command.env("HOME", "/nonexistent");
        command
    }

    /// What a command there printed; it has to succeed.
    pub fn shell(&self, script: &str) -> String {
        let ran = self.rig.run(&mut self.inside(&["bash", "-ec", script]));
        assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
        ran.out
    }

    /// A path under its root.
    pub fn at(&self, path: &str) -> String {
        self.rig.path(path).to_str().unwrap().to_owned()
    }

    /// Ends it without warning: nothing is unmounted, and its disks are let go of.
    pub fn dies(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        self.region.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.instance);
        for disk in fs::read_dir(self.fake.join("devices")).into_iter().flatten().flatten() {
            let node = Path::new("/dev").join(disk.file_name());
            // One that was still mounted was let go of by the kernel, when the namespace went.
            let _ = Command::new("losetup").arg("--detach").arg(node).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{text}\n")).unwrap();
}

fn plug(node: &Path, file: &Path, volume: &str) {
    let device = tool(["losetup", "--find", "--show", file.to_str().unwrap()]);
    let name = device.trim().trim_start_matches("/dev/");
    let real = Path::new("/sys/devices/virtual/block").join(name);
    let text = |name: &str| fs::read_to_string(real.join(name)).unwrap().trim().to_owned();
    // The link comes last: what it leads to is whole.
    let folder = node.join("devices").join(name);
    for attribute in ["size", "dev", "queue/physical_block_size", "queue/minimum_io_size", "queue/optimal_io_size"] {
        write(&folder, attribute, &text(attribute));
    }
    fs::create_dir_all(folder.join("holders")).unwrap();
    write(&folder, "device/serial", &volume.replacen('-', "", 1));
    write(&folder, "device/model", "Amazon Elastic Block Store");
    symlink(&folder, node.join("dev").join(text("dev"))).unwrap();
    symlink(&folder, node.join("block").join(name)).unwrap();
}

fn unplug(node: &Path, volume: &str) {
    let serial = volume.replacen('-', "", 1);
    for disk in fs::read_dir(node.join("devices")).unwrap().flatten() {
        if fs::read_to_string(disk.path().join("device/serial")).unwrap().trim() == serial {
            let number = fs::read_to_string(disk.path().join("dev")).unwrap();
            fs::remove_file(node.join("block").join(disk.file_name())).unwrap();
            fs::remove_file(node.join("dev").join(number.trim())).unwrap();
            fs::remove_dir_all(disk.path()).unwrap();
            tool(["losetup", "--detach", Path::new("/dev").join(disk.file_name()).to_str().unwrap()]);
        }
    }
}
