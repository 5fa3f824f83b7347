//! The same with moto, an EC2 that nobody here wrote: what we and our own EC2 both have misunderstood would show here.
//! It has none of AWS's rules for who may attach what; those are our own EC2's to keep.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::ec2::{Answer, Form};
use crate::node::{Region, ZONE};

/// A moto that runs.
struct Moto {
    server: Child,
    address: String,
}

impl Moto {
    fn start() -> Moto {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors().find_map(|folder| {
            let program = folder.join("moto/bin/moto_server");
            program.exists().then_some(program)
        });
        let program = program.expect("this test needs moto: `make deps` installs it in the target folder");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Moto { server, address: address.to_string() };
        while TcpStream::connect(&moto.address).is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    /// One call, as a person's script would make it.
    fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        let body = Form::ec2(action, parameters).encode();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: ec2.eu-central-1.amazonaws.com\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/ec2/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
        Answer { status: 200, body: answer }
    }

    fn make(&self, action: &str, parameters: &[(&str, &str)], id: &str) -> String {
        let answer = self.call(action, parameters);
        answer.text(id).unwrap_or_else(|| panic!("{action}: {answer:?}")).to_owned()
    }

    fn tag(&self, id: &str, tags: &[(&str, &str)]) {
        for (key, value) in tags {
            self.call("CreateTags", &[("ResourceId.1", id), ("Tag.1.Key", key), ("Tag.1.Value", value)]);
        }
    }

    fn volume(&self, region: &Region, tags: &[(&str, &str)]) -> String {
        let id = self.make("CreateVolume", &[("Size", "1"), ("AvailabilityZone", ZONE)], "volumeId");
        region.blank(&id);
        self.tag(&id, tags);
        id
    }

    fn instance(&self) -> String {
        let parameters =
            [("ImageId", "ami-12345678"), ("MinCount", "1"), ("MaxCount", "1"), ("Placement.AvailabilityZone", ZONE)];
        self.make("RunInstances", &parameters, "instanceId")
    }

    /// The instance that has it, by moto's word.
    fn owner(&self, volume: &str) -> Option<String> {
        self.call("DescribeVolumes", &[("VolumeId.1", volume)]).text("instanceId").map(str::to_owned)
    }

    /// What has been attached since, appears as a disk, and what has been detached goes, until `over`.
    fn hardware<T>(&self, region: &Region, volumes: &[&str], work: impl FnOnce() -> T) -> T {
        let over = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut there: BTreeSet<(String, String)> = BTreeSet::new();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let now = volumes.iter().filter_map(|id| Some((self.owner(id)?, (*id).to_owned())));
                    let now: BTreeSet<_> = now.collect();
                    there.difference(&now).for_each(|(instance, volume)| region.plug(instance, volume, false));
                    now.difference(&there).for_each(|(instance, volume)| region.plug(instance, volume, true));
                    there = now;
                    thread::sleep(Duration::from_millis(100));
                }
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn with_moto_a_volume_by_id_by_tags_and_out_of_a_pool_and_back() {
    let moto = Moto::start();
    let mut region = Region::new();
    region.endpoint = format!("http://{}", moto.address);
    let by_id = moto.volume(&region, &[]);
    let by_tags = moto.volume(&region, &[("Name", "logs"), ("stage", "a*b")]);
    moto.volume(&region, &[("Name", "logs"), ("stage", "a-b")]);
    let pooled = moto.volume(&region, &[("cluster", "kafka"), ("slot", "7")]);
    let subnet =
        moto.make("DescribeSubnets", &[("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", ZONE)], "subnetId");
    let nic = moto.make("CreateNetworkInterface", &[("SubnetId", &subnet)], "networkInterfaceId");
    moto.tag(&nic, &[("cluster", "kafka"), ("slot", "7")]);
    let described = moto.call("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &nic)]);
    let (mac, address) = (described.text("macAddress").unwrap(), described.text("privateIpAddress").unwrap());

    let instance = moto.instance();
    let node = region.node(&instance);
    region.link(&instance, mac);
    node.rig.config(&format!(
        "volumes:
  id:
    source: {{ ebs: {by_id}, attach: true, timeout: 30s }}
    mount: /data/id
  tags:
    source: {{ ebs: {{ tags: {{ Name: logs, stage: a*b }} }}, attach: true, timeout: 30s }}
    mount: /data/tags
  kafka:
    source: {{ ebs: {{ pool: {{ tags: {{ cluster: kafka }} }}, slot-tag: slot }}, timeout: 30s }}
    mount: /data/kafka
    metadata: {{ broker: \"{{slot}}\", address: \"{{address}}\" }}
interfaces:
  eth1: {{ eni: {{ slot-of: kafka }} }}
publish: [fleet]
"
    ));
    moto.hardware(&region, &[&by_id, &by_tags, &pooled], || {
        let ran = node.volinit(&["-v", "up"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for volume in [&by_id, &by_tags, &pooled] {
            assert_eq!(moto.owner(volume).as_deref(), Some(instance.as_str()), "{volume}");
        }
        let described = moto.call("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &nic)]);
        assert_eq!(described.text("instanceId"), Some(instance.as_str()), "{described:?}");
        let fleet = node.rig.read("/etc/fleet/fleet.conf");
        assert!(fleet.contains("broker=7") && fleet.contains(&format!("address={address}")), "{fleet}");

        let ran = node.volinit(&["release"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for volume in [&by_id, &by_tags, &pooled] {
            assert_eq!(moto.owner(volume), None, "{volume}");
        }
        let described = moto.call("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &nic)]);
        assert_eq!(described.text("instanceId"), None, "{described:?}");
    });
}
