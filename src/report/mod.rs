//! Outcome -> a line for a person, JSON for a program. Decides nothing.

pub mod journal;
pub mod json;
pub mod log;
pub mod progress;
#[cfg(test)]
mod schema_test;
mod table;

use std::fmt;
use std::time::Duration;

use ::log::Level;

pub use table::Table;

use crate::config::{Interface, Volume};
use crate::error::Failure;
use crate::interfaces::Up;
use crate::plan::{Plan, Step};
use crate::probe::{DeviceFacts, Superblock};
use crate::publish::Change;
use crate::release;

/// How it ended for one volume.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// What was done, or would be, or why not.
    pub result: Result<Done, Failure>,
    /// How long it took.
    pub took: Duration,
}

/// What was done with a volume, or would be.
#[derive(Debug)]
pub struct Done {
    /// What a person knows it by: the device's node, or the export.
    pub name: String,
    /// The device; `None` for an NFS export, which has none.
    pub device: Option<DeviceFacts>,
    /// The plan as it was carried out, or would be.
    pub plan: Plan,
    /// The filesystem, as it is afterwards; `None` where there is none yet.
    pub filesystem: Option<Superblock>,
    /// Whether it is not mounted until something asks for it, and nothing did.
    pub on_demand: bool,
}

impl Done {
    /// The EBS volume id of its device.
    pub fn volume_id(&self) -> Option<String> {
        self.device.as_ref()?.volume_id.as_ref().map(ToString::to_string)
    }

    /// What had to be done to have the device at all.
    pub fn pending(&self) -> &[String] {
        self.device.as_ref().map_or(&[], |device| &device.pending)
    }
}

/// A network interface, and what came of it.
pub type Brought<'a> = (&'a Interface, Result<Up, Failure>);

/// How a whole run ended.
#[derive(Debug)]
pub struct Report<'a> {
    /// The command's name.
    pub command: &'static str,
    /// Whether it was only looked.
    pub planned: bool,
    /// Each volume's outcome, in the order of their names.
    pub outcomes: Vec<Outcome<'a>>,
    /// The network interfaces; where it was only looked, those that are there.
    pub interfaces: Vec<Brought<'a>>,
    /// The files that were written, or would be, or why that failed.
    pub files: Result<Vec<Change>, Failure>,
}

impl Report<'_> {
    /// Tells the journal what [`fmt::Display`] tells a person: an entry for each volume and interface, with its priority.
    pub fn log(&self) {
        for outcome in &self.outcomes {
            let target = match &outcome.result {
                Err(Failure::Refused(_)) => journal::event::REFUSED,
                Ok(_) | Err(_) => module_path!(),
            };
            let text = text(|to| outcome.done(to));
            journal::of_volume(&outcome.volume.name, || {
                ::log::log!(target: target, level(&outcome.result), "{}", text.trim_end());
            });
        }
        for brought in &self.interfaces {
            ::log::log!(level(&brought.1), "{}", text(|to| interface(to, brought)).trim_end());
        }
        if let Err(failure) = &self.files {
            ::log::error!("publishing: {}: {failure}", failure.word());
        }
    }

    /// One line for systemd's STATUS=.
    pub fn summary(&self) -> String {
        let down: Vec<&str> = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.result.is_err())
            .map(|outcome| outcome.volume.name.as_str())
            .collect();
        match down.as_slice() {
            [] => match self.interfaces.iter().find(|(_, brought)| brought.is_err()) {
                None => format!("volumes up: {}", self.outcomes.len()),
                Some((interface, _)) => format!("network interface not up: {}", interface.name),
            },
            _ if self.outcomes.len() == 1 => {
                let told = self.outcomes.iter().filter_map(|Outcome { volume, result, .. }| {
                    let failure = result.as_ref().err()?;
                    // A status is one line.
                    Some(format!("{}: {}: {failure}", volume.name, failure.word()).replace('\n', " "))
                });
                told.collect()
            }
            down => format!("volumes not up: {} of {}: {}", down.len(), self.outcomes.len(), down.join(", ")),
        }
    }

    /// What is declared beside what is there.
    pub fn status(&self) -> Table {
        let mut table = Table::with_head(&["VOLUME", "STATE", "DEVICE", "FOUND", "MOUNT"]);
        for Outcome { volume, result, .. } in &self.outcomes {
            let (state, device, found) = match result {
                Ok(done) => {
                    let words: Vec<&str> = done.plan.steps.iter().map(|step| step.action.word()).collect();
                    let state = match words.as_slice() {
                        [] if done.on_demand => "on demand".to_owned(),
                        [] => "up".to_owned(),
                        words => format!("to do: {}", words.join(", ")),
                    };
                    (state, done.name.clone(), done.plan.found.clone())
                }
                Err(failure) => (failure.word().to_owned(), "-".to_owned(), failure.to_string()),
            };
            table.row([volume.name.clone(), state, device, found, volume.mount.at.to_string()]);
        }
        table
    }

    /// The worst of all failures, which the exit code tells.
    pub fn failure(&self) -> Option<&Failure> {
        let volumes = self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
        let interfaces = self.interfaces.iter().filter_map(|(_, brought)| brought.as_ref().err());
        volumes.chain(interfaces).chain(self.files.as_ref().err()).max_by_key(|failure| failure.severity())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            if self.planned {
                outcome.planned(f)?;
            } else {
                outcome.done(f)?;
            }
        }
        self.interfaces.iter().try_for_each(|brought| interface(f, brought))?;
        match &self.files {
            Ok(changes) if self.planned => changes.iter().try_for_each(|change| writeln!(f, "then {change}")),
            Ok(changes) => changes.iter().try_for_each(|change| writeln!(f, "{change}")),
            Err(failure) => writeln!(f, "publishing: {}: {failure}", failure.word()),
        }
    }
}

impl release::Report<'_> {
    /// One line for systemd's STATUS=, in place of the one that `up` left.
    pub fn summary(&self) -> String {
        let all = text(|to| self.volumes.iter().chain(&self.interfaces).try_for_each(|outcome| released(to, outcome)));
        all.lines().map(str::trim).collect::<Vec<_>>().join("; ")
    }

    /// Tells the journal, as [`Report::log`] does.
    pub fn log(&self) {
        for outcome in self.volumes.iter().chain(&self.interfaces) {
            let text = text(|to| released(to, outcome));
            journal::of_volume(outcome.name, || ::log::log!(level(&outcome.result), "{}", text.trim_end()));
        }
        if let Err(failure) = &self.files {
            ::log::error!("publishing: {}: {failure}", failure.word());
        }
    }
}

fn released(f: &mut dyn fmt::Write, release::Outcome { name, result }: &release::Outcome<'_>) -> fmt::Result {
    match result {
        Ok(done) if done.is_empty() => writeln!(f, "{name}: nothing to do: it is not here"),
        Ok(done) => writeln!(f, "{name}: {}", done.join(", ")),
        Err(failure) => failed(f, name, failure),
    }
}

fn level<T>(result: &Result<T, Failure>) -> Level {
    if result.is_err() { Level::Error } else { Level::Info }
}

fn text(write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> String {
    let mut text = String::new();
    write(&mut text).expect("a String takes what is written to it");
    text
}

impl fmt::Display for release::Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.volumes.iter().chain(&self.interfaces).try_for_each(|outcome| released(f, outcome))?;
        match &self.files {
            Ok(changes) => changes.iter().try_for_each(|change| writeln!(f, "{change}")),
            Err(failure) => writeln!(f, "publishing: {}: {failure}", failure.word()),
        }
    }
}

impl Outcome<'_> {
    fn done(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        let name = &self.volume.name;
        let at = &self.volume.mount.at;
        let took = Seconds(self.took);
        match &self.result {
            Ok(done) => {
                let device = format!("{} ({})", done.name, done.plan.found);
                let size = done.filesystem.as_ref().map(|found| found.size);
                let steps: Vec<String> = done.plan.steps.iter().map(|step| step.action.done(size)).collect();
                match steps.as_slice() {
                    [] if done.on_demand => {
                        writeln!(f, "{name}: {device} is mounted at {at} when something asks for it")?;
                    }
                    [] => writeln!(f, "{name}: nothing to do: {device} is mounted at {at} ({took})")?,
                    steps => writeln!(f, "{name}: {device}: {} ({took})", steps.join(", "))?,
                }
                warnings(f, &done.plan)
            }
            Err(failure) => failed(f, name, failure),
        }
    }

    fn planned(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.volume.name;
        match &self.result {
            Ok(done) => {
                writeln!(f, "{name}: {} ({})", done.name, done.plan.found)?;
                let mut table = Table::default();
                let pending = done.pending().iter().map(|step| (step.clone(), String::new()));
                let steps = done.plan.steps.iter().map(|Step { action, reason }| (action.to_string(), reason.clone()));
                for (number, (step, reason)) in (1..).zip(pending.chain(steps)) {
                    table.row([format!("  {number}. {step}"), reason]);
                }
                if done.on_demand {
                    writeln!(f, "  mounted at {} when something asks for it", self.volume.mount.at)?;
                } else if table.is_empty() {
                    writeln!(f, "  nothing to do: it is at {}", self.volume.mount.at)?;
                }
                write!(f, "{table}")?;
                warnings(f, &done.plan)
            }
            Err(failure) => failed(f, name, failure),
        }
    }
}

fn interface(f: &mut dyn fmt::Write, (interface, brought): &Brought<'_>) -> fmt::Result {
    let name = &interface.name;
    match brought {
        Ok(Up { name: link, link: nic, attached }) => {
            let how = if *attached { "attached as" } else { "nothing to do: it is" };
            writeln!(f, "{name}: {}: {how} {link}, {}", nic.id, nic.address)
        }
        Err(failure) => failed(f, name, failure),
    }
}

/// A refusal has three things to say, and a line for each.
fn failed(f: &mut dyn fmt::Write, name: &str, failure: &Failure) -> fmt::Result {
    match failure {
        Failure::Refused(refusal) => {
            writeln!(f, "{name}: refused: {} {}.", refusal.subject, refusal.found)?;
            if !refusal.written {
                writeln!(f, "  Nothing was written to it.")?;
            }
            writeln!(f, "  {}", refusal.way_out)
        }
        Failure::Failed(_) | Failure::Usage(_) | Failure::Absent(_) => {
            writeln!(f, "{name}: {}: {failure}", failure.word())
        }
    }
}

fn warnings(f: &mut dyn fmt::Write, plan: &Plan) -> fmt::Result {
    plan.warnings.iter().try_for_each(|warning| writeln!(f, "  warning: {warning}"))
}

/// A duration as a person reads it: `0.21 s`, `3 ms`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis @ 0..100 => write!(f, "{millis} ms"),
            100..10_000 => write!(f, "{:.2} s", self.0.as_secs_f64()),
            _ => write!(f, "{:.0} s", self.0.as_secs_f64()),
        }
    }
}
