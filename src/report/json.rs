//! What `--json` prints, as types: version 1. The schema in docs/ is made from them by a test, and fields are
//! only ever added.
#![expect(clippy::struct_field_names, reason = "the fields' names are the keys that programs read")]

use serde::Serialize;

use super::{Brought, Done, Outcome, Report};
use crate::bytes::Bytes;
use crate::config;
use crate::error::Failure;
use crate::plan::Step;
use crate::probe::Superblock;
use crate::publish::{Change, Content, File};
use crate::release;

/// The number that changes when a program that reads this would have to.
pub const VERSION: u32 = 1;

/// One JSON document, whatever the command.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Document {
    /// `volinit up --json`
    Up(Volumes),
    /// `volinit plan --json`
    Plan(Volumes),
    /// `volinit grow --json`
    Grow(Volumes),
    /// `volinit status --json`
    Status(Volumes),
    /// `volinit release --json`
    Release {
        /// 1
        version: u32,
        /// In the order in which they were released.
        volumes: Vec<Released>,
        /// The network interfaces.
        interfaces: Vec<Released>,
        /// The files that were written.
        files: Vec<FileChange>,
        /// Why the files could not be written.
        error: Option<String>,
    },
    /// `volinit devices --json`
    Devices {
        /// 1
        version: u32,
        /// Every disk that has a size, and every partition.
        devices: Vec<Device>,
    },
    /// `volinit check --json`
    Check {
        /// 1
        version: u32,
        /// All that is wrong; empty when nothing is.
        problems: Vec<Problem>,
    },
    /// `volinit render --json`
    Render {
        /// 1
        version: u32,
        /// The files that `up` would write.
        files: Vec<Rendered>,
    },
}

/// What came of each volume.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Volumes {
    /// 1
    version: u32,
    /// In the order of their names.
    volumes: Vec<Volume>,
    /// The network interfaces, in the order of their names; where it was only looked, those that are there.
    interfaces: Vec<Interface>,
    /// The files that were written, or would be.
    files: Vec<FileChange>,
    /// Why the files could not be written.
    error: Option<String>,
}

/// What came of releasing one volume or network interface.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Released {
    /// Its name in the config.
    name: String,
    /// In one word; `unchanged` where it was not here.
    outcome: Word,
    /// What was done, in this order, for a person.
    done: Vec<String>,
    /// Why it failed, was refused, or is absent.
    error: Option<String>,
}

/// What came of one network interface.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interface {
    /// Its name in the config.
    name: String,
    /// In one word.
    outcome: Word,
    /// Its id, `eni-…`.
    eni: Option<String>,
    /// The kernel's name for it.
    link: Option<String>,
    /// Its primary private IPv4 address.
    address: Option<String>,
    /// Why it failed, was refused, or is absent.
    error: Option<String>,
}

/// What came of one volume.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Volume {
    /// Its name in the config.
    name: String,
    /// In one word.
    outcome: Word,
    /// The kernel's node; null for an NFS export, which has no device.
    device: Option<String>,
    /// The NFS export.
    export: Option<String>,
    /// Whether it is not mounted until something asks for it, and nothing did.
    on_demand: bool,
    /// The path that finds it again after a reboot.
    stable_path: Option<String>,
    /// The EBS volume id that the device reports.
    volume_id: Option<String>,
    /// The device's size in bytes.
    size: Option<u64>,
    /// What was found on the device, for a person.
    found: Option<String>,
    /// The filesystem, as it is afterwards.
    filesystem: Option<Filesystem>,
    /// Where it is, or shall be, mounted.
    mount_point: String,
    /// What was done, or would be, in this order.
    steps: Vec<PlannedStep>,
    /// What would be good to do and could not be done.
    warnings: Vec<String>,
    /// Why it failed, was refused, or is absent.
    error: Option<String>,
    /// How long it took, in seconds.
    seconds: f64,
}

/// How it ended for a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Something was done, or would be.
    Changed,
    /// There was nothing to do.
    Unchanged,
    /// Exit 1.
    Failed,
    /// Exit 2.
    Usage,
    /// Exit 3.
    Refused,
    /// Exit 4.
    Absent,
}

/// A filesystem.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Filesystem {
    /// ext4, xfs or btrfs.
    r#type: String,
    /// With hyphens.
    uuid: String,
    /// Empty where it has none.
    label: String,
    /// In bytes.
    size: u64,
}

/// One step of a plan.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedStep {
    /// attach, enlarge, erase, undo, format, check, grow, mount or permit.
    action: String,
    /// For a person.
    detail: String,
    /// Why.
    reason: String,
}

/// A file that was written, or would be.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileChange {
    /// As the machine sees it, without the root.
    path: String,
    /// created, changed or removed.
    change: String,
}

/// A block device.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Device {
    /// The kernel's node.
    pub device: String,
    /// In bytes.
    pub size: u64,
    /// What it carries, for a person.
    pub content: String,
    /// The EBS volume id that it reports.
    pub volume_id: Option<String>,
    /// The device name that EC2 attached it as, `/dev/sdf`, where its NVMe controller tells.
    pub attached_as: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Where it is mounted.
    pub mounts: Vec<String>,
    /// Whether volinit could use it for a new volume.
    pub usable: bool,
    /// Why, or why not.
    pub why: String,
}

/// Something wrong in a config.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// The file or the flag.
    pub subject: String,
    /// From 1.
    pub line: Option<usize>,
    /// From 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// A file that `up` would write.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rendered {
    /// As the machine sees it, without the root.
    pub path: String,
    /// Its text; for a link, where it leads; null for a file that is to be removed.
    pub content: Option<String>,
}

impl From<&Report<'_>> for Document {
    fn from(report: &Report<'_>) -> Document {
        let (files, error) = files(&report.files);
        let volumes = report.outcomes.iter().map(Volume::from).collect();
        let interfaces = report.interfaces.iter().map(Interface::from).collect();
        let volumes = Volumes { version: VERSION, volumes, interfaces, files, error };
        match report.command {
            "plan" => Document::Plan(volumes),
            "grow" => Document::Grow(volumes),
            "status" => Document::Status(volumes),
            _ => Document::Up(volumes),
        }
    }
}

impl From<&release::Report<'_>> for Document {
    fn from(report: &release::Report<'_>) -> Document {
        let (files, error) = files(&report.files);
        Document::Release {
            version: VERSION,
            volumes: report.volumes.iter().map(Released::from).collect(),
            interfaces: report.interfaces.iter().map(Released::from).collect(),
            files,
            error,
        }
    }
}

impl From<&release::Outcome<'_>> for Released {
    fn from(outcome: &release::Outcome<'_>) -> Released {
        let (done, error) = (outcome.result.as_ref().ok(), outcome.result.as_ref().err());
        Released {
            name: outcome.name.to_owned(),
            outcome: Word::of(done.is_some_and(Vec::is_empty), error),
            done: done.cloned().unwrap_or_default(),
            error: error.map(ToString::to_string),
        }
    }
}

/// The files, or why they could not be written.
fn files(written: &Result<Vec<Change>, Failure>) -> (Vec<FileChange>, Option<String>) {
    match written {
        Ok(changes) => (changes.iter().map(FileChange::from).collect(), None),
        Err(failure) => (Vec::new(), Some(failure.to_string())),
    }
}

impl Word {
    fn of(nothing_done: bool, error: Option<&Failure>) -> Word {
        match error {
            None if nothing_done => Word::Unchanged,
            None => Word::Changed,
            Some(Failure::Failed(_)) => Word::Failed,
            Some(Failure::Usage(_)) => Word::Usage,
            Some(Failure::Refused(_)) => Word::Refused,
            Some(Failure::Absent(_)) => Word::Absent,
        }
    }
}

impl From<&Brought<'_>> for Interface {
    fn from((interface, brought): &Brought<'_>) -> Interface {
        let (up, error) = (brought.as_ref().ok(), brought.as_ref().err());
        Interface {
            name: interface.name.clone(),
            outcome: Word::of(up.is_some_and(|up| !up.attached), error),
            eni: up.map(|up| up.link.id.clone()),
            link: up.map(|up| up.name.clone()),
            address: up.map(|up| up.link.address.clone()),
            error: error.map(ToString::to_string),
        }
    }
}

impl From<&Change> for FileChange {
    fn from(change: &Change) -> FileChange {
        FileChange { path: change.path.display().to_string(), change: change.what.to_string() }
    }
}

impl From<&Outcome<'_>> for Volume {
    fn from(outcome: &Outcome<'_>) -> Volume {
        let done = outcome.result.as_ref().ok();
        let error = outcome.result.as_ref().err();
        let nothing = done.is_some_and(|done| done.plan.steps.is_empty() && done.pending().is_empty());
        let device = done.and_then(|done| done.device.as_ref());
        let word = Word::of(nothing, error);
        Volume {
            name: outcome.volume.name.clone(),
            outcome: word,
            device: device.map(|device| device.path.display().to_string()),
            export: match &outcome.volume.source {
                config::Source::Nfs { export, .. } => Some(export.clone()),
                config::Source::Device { .. } | config::Source::Image { .. } | config::Source::Ebs(_) => None,
            },
            on_demand: done.is_some_and(|done| done.on_demand),
            stable_path: device.map(|device| device.stable.display().to_string()),
            volume_id: done.and_then(Done::volume_id),
            size: device.map(|device| device.size.0),
            found: done.map(|done| done.plan.found.clone()),
            filesystem: done.and_then(|done| done.filesystem.as_ref()).map(Filesystem::from),
            mount_point: outcome.volume.mount.at.to_string(),
            steps: done.map(steps).unwrap_or_default(),
            warnings: done.map(|done| done.plan.warnings.clone()).unwrap_or_default(),
            error: error.map(ToString::to_string),
            seconds: outcome.took.as_secs_f64(),
        }
    }
}

/// What had to be done to have the device at all comes first.
fn steps(done: &Done) -> Vec<PlannedStep> {
    let pending = done.pending().iter().map(|detail| PlannedStep {
        action: "attach".to_owned(),
        detail: detail.clone(),
        reason: "it is not attached".to_owned(),
    });
    pending.chain(done.plan.steps.iter().map(PlannedStep::from)).collect()
}

impl From<&Superblock> for Filesystem {
    fn from(found: &Superblock) -> Filesystem {
        let Bytes(size) = found.size;
        Filesystem { r#type: found.kind.name().to_owned(), uuid: found.uuid.clone(), label: found.label.clone(), size }
    }
}

impl From<&Step> for PlannedStep {
    fn from(step: &Step) -> PlannedStep {
        PlannedStep {
            action: step.action.word().to_owned(),
            detail: step.action.to_string(),
            reason: step.reason.clone(),
        }
    }
}

impl From<&config::Problem> for Problem {
    fn from(problem: &config::Problem) -> Problem {
        let position = problem.position.as_ref();
        Problem {
            subject: problem.subject.clone(),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            message: problem.message.clone(),
        }
    }
}

impl From<&File> for Rendered {
    fn from(file: &File) -> Rendered {
        let content = match &file.content {
            Content::Text(text) => Some(text.clone()),
            Content::Link(target) => Some(target.display().to_string()),
            Content::Absent => None,
        };
        Rendered { path: file.path.display().to_string(), content }
    }
}
