//! A volume on an NFS server: the line of [`crate::boot`] for what has no device here. It waits for the server, mounts
//! the export and sets its owner and mode; nothing is formatted, checked, locked or remembered.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::apply;
use crate::config::{Config, Volume};
use crate::error::Failure;
use crate::plan::{self, Action, Plan};
use crate::probe::nfs::{ANSWER, Server, Sign};
use crate::probe::{self, TargetState};
use crate::report::{Done, progress};
use crate::root::Root;

/// How often a server that is not there is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// One volume, from its server to its mount; `timeout` is for the two together.
///
/// # Errors
/// [`Failure::Absent`] where the server does not answer in time, and [`Failure::Refused`] as of a device.
pub fn bring_up(
    volume: &Volume,
    export: &str,
    timeout: Duration,
    root: &Root,
    config: &Config,
) -> Result<Done, Failure> {
    if !config.asks_for(volume) && !probe::is_mounted(&volume.mount, root) {
        return Ok(on_demand(export));
    }
    let deadline = Instant::now() + timeout;
    let server = Server::of(export, &volume.mount.options);
    let plan = loop {
        match judge(volume, export, &server, root, false) {
            // What is mounted goes on once its server is back.
            Err(Failure::Absent(_)) if Instant::now() < deadline => wait(&server, timeout, deadline)?,
            judged => break judged?,
        }
    };
    if mounts(&plan) {
        wait(&server, timeout, deadline)?;
    }
    Ok(done(export, apply::apply_export(volume, export, plan, root, deadline)?))
}

/// What [`bring_up`] would do. Where it would mount, it is asked whether the server answers.
pub fn look(volume: &Volume, export: &str, root: &Root, config: &Config, hidden: bool) -> Result<Done, Failure> {
    let server = Server::of(export, &volume.mount.options);
    let plan = judge(volume, export, &server, root, hidden)?;
    if mounts(&plan) {
        if !config.asks_for(volume) {
            return Ok(on_demand(export));
        }
        answers(&server)?;
    }
    Ok(done(export, plan))
}

/// Where the export is mounted, and answers, for who unmounts it.
pub fn mounted(volume: &Volume, export: &str, root: &Root) -> Result<Option<PathBuf>, Failure> {
    let mounts = probe::mounts()?;
    let shown = probe::mounted(&mounts, &volume.mount, root);
    let Some(shown) = shown.filter(|shown| shown.is_export(export)) else { return Ok(None) };
    judge(volume, export, &Server::of(export, &volume.mount.options), root, false)?;
    Ok(Some(shown.at.clone()))
}

/// The mount point, and the plan that follows from it. `hidden` is whether the folder that is there now will be below
/// the mount of another volume.
fn judge(volume: &Volume, export: &str, server: &Server, root: &Root, hidden: bool) -> Result<Plan, Failure> {
    let mut target = probe::target(&volume.mount, root)?;
    if hidden {
        target.state = TargetState::Absent;
    }
    let plan = plan::export(volume, export, &target)?;
    if !matches!(target.state, TargetState::Silent(_)) {
        return Ok(plan);
    }
    answers(server)?;
    let at = target.path.display();
    Err(Failure::Absent(anyhow!(
        "hung: {server} answers, but not for what is mounted at {at} within {} s: it may come back; `umount -f -l {at}` \
         gives it up",
        ANSWER.as_secs()
    )))
}

fn mounts(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.action, Action::Mount { .. }))
}

/// Waits until the server answers.
fn wait(server: &Server, timeout: Duration, deadline: Instant) -> Result<(), Failure> {
    // Told only once it is not there: most often it is.
    let mut waiting = None;
    while let Err(failure) = answers(server) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Absent(anyhow!("{failure} (after {} s)", timeout.as_secs())));
        }
        waiting.get_or_insert_with(|| progress::start(|| format!("waiting for {server}: {failure}")));
        thread::sleep(left.min(AGAIN));
    }
    Ok(())
}

/// Tells a server that hangs from one that is dead.
fn answers(server: &Server) -> Result<(), Failure> {
    Err(Failure::Absent(match server.sign() {
        Sign::Answers => return Ok(()),
        Sign::Hung => anyhow!("hung: {server} takes connections and does not answer within {} s", ANSWER.as_secs()),
        Sign::Dead(why) => anyhow!("dead: {server} is not there: {why}: start it, or correct `nfs`"),
    }))
}

fn done(export: &str, plan: Plan) -> Done {
    Done { name: export.to_owned(), device: None, plan, filesystem: None, on_demand: false }
}

fn on_demand(export: &str) -> Done {
    Done { on_demand: true, ..done(export, Plan::new("nfs".to_owned())) }
}
