//! What the account holds: volumes, instances, network interfaces. Data only; `clock` moves it, `rules` change it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::faults::Script;
use super::limits::Limits;

pub type Tags = BTreeMap<String, String>;

/// A thing with its past, so that a describe can lag behind.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    past: Vec<(Duration, T)>,
}

impl<T: Clone> Kept<T> {
    /// It is there since the beginning: what a test sets up is seen by the first describe.
    pub fn new(first: T) -> Kept<T> {
        Kept { past: vec![(Duration::ZERO, first)] }
    }

    pub fn now(&self) -> &T {
        &self.past.last().expect("never empty").1
    }

    pub fn as_of(&self, when: Duration) -> &T {
        let seen = self.past.iter().rev().find(|(at, _)| *at <= when);
        &seen.unwrap_or(&self.past[0]).1
    }

    pub fn change(&mut self, at: Duration, change: impl FnOnce(&mut T)) {
        let (last, mut next) = self.past.last().expect("never empty").clone();
        change(&mut next);
        self.past.push((at.max(last), next));
        // No test lags behind by more than a few changes.
        if self.past.len() > 32 {
            self.past.drain(..16);
        }
    }
}

/// The state of an attachment, of a volume's or an interface's. `busy` is a volume's alone.
/// AWS also lists `detached`; by then a describe shows the attachment no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Attaching,
    Attached,
    Detaching,
    Busy,
}

impl Hold {
    pub fn word(self) -> &'static str {
        match self {
            Hold::Attaching => "attaching",
            Hold::Attached => "attached",
            Hold::Detaching => "detaching",
            Hold::Busy => "busy",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Attachment {
    pub instance: String,
    /// As the request named it; EC2 gives it back unchanged.
    pub device: String,
    pub hold: Hold,
    /// When `hold` became what it is.
    pub since: Duration,
    pub at: Duration,
    pub delete_on_termination: bool,
    pub forced: bool,
}

#[derive(Clone, Debug)]
pub struct Volume {
    pub id: String,
    pub zone: String,
    pub gib: u64,
    pub snapshot: Option<String>,
    pub tags: Tags,
    pub created: Duration,
    /// `creating`, `available`, `deleting`, `error`; what is attached is `in-use` whatever stands here.
    pub unattached: String,
    pub attachment: Option<Attachment>,
    /// The guest that holds it has it mounted: a plain detach stays `busy`.
    pub mounted: bool,
    /// The attachment never gets out of `attaching`.
    pub stuck: bool,
}

impl Volume {
    pub fn status(&self) -> &str {
        if self.attachment.is_some() { "in-use" } else { &self.unattached }
    }

    pub fn holder(&self) -> Option<&str> {
        self.attachment.as_ref().map(|attachment| attachment.instance.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl Life {
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html>
    pub fn code_and_word(self) -> (u16, &'static str) {
        match self {
            Life::Pending => (0, "pending"),
            Life::Running => (16, "running"),
            Life::ShuttingDown => (32, "shutting-down"),
            Life::Terminated => (48, "terminated"),
            Life::Stopping => (64, "stopping"),
            Life::Stopped => (80, "stopped"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub id: String,
    pub zone: String,
    pub life: Life,
    pub since: Duration,
    pub tags: Tags,
    /// Names that the image holds. `DescribeInstances` shows only the root's.
    pub held: Vec<String>,
    /// How many volumes and interfaces it takes.
    pub limit: usize,
    pub interface_limit: usize,
}

#[derive(Clone, Debug)]
pub struct Link {
    pub id: String,
    pub instance: String,
    pub index: u32,
    pub card: u32,
    pub hold: Hold,
    pub since: Duration,
    pub at: Duration,
    pub delete_on_termination: bool,
}

#[derive(Clone, Debug)]
pub struct Interface {
    pub id: String,
    pub zone: String,
    pub subnet: String,
    pub mac: String,
    pub ip: String,
    pub tags: Tags,
    pub link: Option<Link>,
}

#[derive(Clone, Debug)]
pub struct Modification {
    pub from: u64,
    pub to: u64,
    /// `modifying`, `optimizing`, `completed`, `failed`.
    pub status: &'static str,
    pub since: Duration,
    pub start: Duration,
}

/// How long each slow state takes. The defaults are nought but for what a test sets: most tests are not about time.
#[derive(Clone, Debug, Default)]
pub struct Times {
    pub attach: Duration,
    pub detach: Duration,
    pub terminate: Duration,
    pub stop: Duration,
    /// From `terminated` to the volumes being `detaching`.
    pub release: Duration,
    pub modify: Duration,
    pub optimize: Duration,
    pub describe_lags: Duration,
}

/// What an instance's role gives it.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub instance: String,
    pub key_id: String,
    pub secret: String,
    pub token: String,
}

/// One request and what came of it.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Duration,
    /// The instance whose credentials signed it.
    pub caller: Option<String>,
    pub action: String,
    /// All fields but Action and Version.
    pub params: Vec<(String, String)>,
    pub status: u16,
    /// The error's code, or what was done to the answer: `lost`, `reset`, `cut`, `silent`. Empty where all went well.
    pub code: String,
}

impl Call {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
pub struct State {
    pub volumes: BTreeMap<String, Kept<Volume>>,
    pub instances: BTreeMap<String, Kept<Instance>>,
    pub interfaces: BTreeMap<String, Kept<Interface>>,
    /// By volume, oldest first.
    pub modifications: BTreeMap<String, Vec<Modification>>,
    pub times: Times,
    pub denied: BTreeSet<String>,
    pub limits: Option<Limits>,
    pub faults: Script,
    pub keys: BTreeMap<String, Credentials>,
    /// Tokens that an IMDS gave out.
    pub imds_tokens: Vec<String>,
    pub calls: Vec<Call>,
    /// The latest time heard of.
    pub now: Duration,
    /// Nothing becomes due before: a storm of a thousand nodes asks far more often than anything changes.
    pub quiet_until: Duration,
    pub counter: u64,
    /// The most a page holds, whatever `MaxResults` asks for: AWS promises no full pages.
    pub page: Option<usize>,
    /// `sdf` beside `xvdf` is no error but an attachment that stays `attaching`, as joeduffy/blocker#1 saw it.
    pub twin_names_hang: bool,
}

impl State {
    pub fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.get(id).map(Kept::now)
    }

    /// The volumes and the interfaces that an instance holds, as they are.
    pub fn held_by(&self, instance: &str) -> (Vec<&Volume>, Vec<&Interface>) {
        let volumes = self.volumes.values().map(Kept::now).filter(|volume| volume.holder() == Some(instance));
        let interfaces = self.interfaces.values().map(Kept::now);
        let ours = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.instance == instance);
        (volumes.collect(), interfaces.filter(|interface| ours(&interface.link)).collect())
    }
}
