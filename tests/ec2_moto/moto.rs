//! moto's server, started for a test on a port that is free and ended by its own pid; and what is put into it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_ec2::types::{InstanceType, Placement, ResourceType, Tag, TagSpecification};
use volinit::ec2::{Api, Ec2, Me, connect};

pub const ZONE: &str = "us-east-1a";

pub struct Moto {
    child: Child,
    pub client: Client,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it was started here");
    }
}

impl Moto {
    pub fn start() -> Moto {
        let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors().map(|one| one.join("moto/bin/moto_server"));
        let server = programs.into_iter().find(|program| program.exists());
        let server = server.expect("this test needs moto: `make deps` installs it in the target folder");
        let mut command = Command::new(&server);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find_map(|line| Some(format!("http://{}", line.split_once("Running on http://")?.1.trim())));
        // It writes a line for each request, and would wait for who reads it.
        thread::spawn(move || lines.for_each(drop));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "test"))
            .http_client(connect::http())
            .endpoint_url(url.expect("moto says where it listens"))
            .retry_config(connect::retries())
            .timeout_config(connect::timeouts());
        Moto { child, client: Client::from_conf(config.build()) }
    }

    /// An instance that runs, as volinit on it sees EC2.
    pub async fn node(&self) -> Ec2 {
        let images = self.client.describe_images().send().await.unwrap();
        let placement = Placement::builder().availability_zone(ZONE).build();
        let call = self.client.run_instances().image_id(images.images()[0].image_id().unwrap());
        let call = call.instance_type(InstanceType::M5Large).min_count(1).max_count(1).placement(placement);
        let instance = call.send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
        let me = Me { instance, zone: ZONE.into(), region: "us-east-1".into() };
        Ec2::new(Api(self.client.clone()), me)
    }

    pub async fn volume(&self, gib: i32, tags: &BTreeMap<String, String>) -> String {
        let call = self.client.create_volume().availability_zone(ZONE).size(gib);
        let call = call.set_tag_specifications(specification(ResourceType::Volume, tags));
        call.send().await.unwrap().volume_id().unwrap().to_owned()
    }

    pub async fn interface(&self, tags: &BTreeMap<String, String>) -> String {
        let subnets = self.client.describe_subnets().send().await.unwrap();
        let subnet = subnets.subnets().iter().find(|subnet| subnet.availability_zone() == Some(ZONE)).unwrap();
        let call = self.client.create_network_interface().subnet_id(subnet.subnet_id().unwrap());
        let call = call.set_tag_specifications(specification(ResourceType::NetworkInterface, tags));
        let made = call.send().await.unwrap();
        made.network_interface().unwrap().network_interface_id().unwrap().to_owned()
    }
}

fn specification(kind: ResourceType, tags: &BTreeMap<String, String>) -> Option<Vec<TagSpecification>> {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect::<Vec<_>>();
    (!tags.is_empty()).then(|| vec![TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()])
}

pub fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
