//! [`Plan`] -> effects: one a file, in the order of the plan, under the disk's lock.

mod busy;
mod check;
mod format;
mod grow;
mod lock;
mod mount;
mod nfs;
mod options;
mod run;

use std::path::Path;

use anyhow::Context as _;
use log::{info, warn};

pub use busy::patiently;
pub use lock::{Lock, lock};
pub use nfs::apply as apply_export;

use crate::config::Volume;
use crate::error::Failure;
use crate::locate::Device;
use crate::plan::{Action, Plan};
use crate::report::journal::event;
use crate::signals;

/// Does what the plan says.
///
/// `_lock` is the proof that the disk is ours, and the plan must have been made since it was taken. Gives the plan as
/// it was carried out: a filesystem that could not grow is a warning in place of a step, since one that is too small
/// is better at boot than none.
pub fn apply(volume: &Volume, device: &Device, mut plan: Plan, _lock: &Lock) -> Result<Plan, Failure> {
    let mut mounted: Option<mount::Mounted> = None;
    if plan.writes_to_device() {
        signals::listen();
    }
    for step in std::mem::take(&mut plan.steps) {
        info!("{}: {} on {}: {}", volume.name, step.action, device.path.display(), step.reason);
        // A format first makes a file in memory, which may be cut off at any time: it holds its own writing. To erase
        // may take hours, and leaves nothing whole in the middle: who changes their mind shall not have to wait.
        let finished = !matches!(step.action, Action::Format { .. } | Action::Erase { .. });
        let _held = finished.then(|| signals::hold(|| format!("{} on {}", step.action, device.path.display())));
        let folder = |at: &Path| mounted.as_ref().map_or_else(|| at.to_owned(), mount::Mounted::folder);
        let mut kept_small = None;
        match &step.action {
            Action::EnlargeImage { image, to } => grow::image(device, image, *to)?,
            Action::Erase { what } => {
                warn!("{}: erasing {}: {what}", volume.name, device.path.display());
                format::erase(device)?;
            }
            Action::Undo(ours) => format::undo(device, ours)?,
            Action::Format { .. } => format::format(device, &volume.filesystem)?,
            Action::Check { force } => check::check(device, *force)?,
            Action::GrowUnmounted => kept_small = grow::unmounted(device)?,
            Action::Mount { at } => {
                mounted = Some(mount::mount(device, volume.filesystem.kind, at, &volume.mount.options)?);
            }
            Action::Grow { kind, at } => kept_small = grow::mounted(device, *kind, &folder(at)).err(),
            Action::Permit { at, owner, mode } => {
                let setting = || format!("setting the owner and mode of {}", at.display());
                if !mount::permit(&folder(at), *owner, *mode).with_context(setting)? {
                    continue;
                }
            }
        }
        let event = match &step.action {
            Action::Format { .. } => Some(event::FORMATTED),
            Action::GrowUnmounted | Action::Grow { .. } if kept_small.is_none() => Some(event::GROWN),
            Action::GrowUnmounted
            | Action::Grow { .. }
            | Action::EnlargeImage { .. }
            | Action::Erase { .. }
            | Action::Undo(_)
            | Action::Check { .. }
            | Action::Mount { .. }
            | Action::Permit { .. } => None,
        };
        if let Some(event) = event {
            info!(target: event, "{}: {}: {}", volume.name, device.path.display(), step.action.done(None));
        }
        match kept_small {
            None => plan.steps.push(step),
            Some(error) => {
                warn!("{}: {error:#}", volume.name);
                plan.warnings.push(format!("it keeps its size: {error:#}"));
            }
        }
    }
    if let Some(mounted) = mounted {
        mounted.show()?;
    }
    Ok(plan)
}
