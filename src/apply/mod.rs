//! [`Plan`] -> effects: one a file, in the order of the plan, under the disk's lock.

mod check;
mod format;
mod grow;
mod lock;
mod mount;
mod run;

use std::io;

use log::{info, warn};

pub use lock::{Lock, lock};

use crate::config::Volume;
use crate::error::Failure;
use crate::locate::Device;
use crate::plan::{Action, Plan};
use crate::signals;

/// Does what the plan says.
///
/// `_lock` is the proof that the disk is ours, and the plan must have been made since it was taken. Gives what
/// went wrong in a way that leaves the volume usable: one that is too small is better at boot than none.
pub fn apply(volume: &Volume, device: &Device, plan: &Plan, _lock: &Lock) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for step in &plan.steps {
        info!("{}: {} on {}: {}", volume.name, step.action, device.path.display(), step.reason);
        // A format first makes a file in memory, which may be cut off at any time: it holds its own writing. To erase
        // may take hours, and leaves nothing whole in the middle: who changes their mind shall not have to wait.
        let finished = !matches!(step.action, Action::Format { .. } | Action::Erase { .. });
        let _held = finished.then(|| signals::hold(|| format!("{} on {}", step.action, device.path.display())));
        match &step.action {
            Action::EnlargeImage { image, to } => grow::image(device, image, *to)?,
            Action::Erase { what } => {
                warn!("{}: erasing {}: {what}", volume.name, device.path.display());
                format::erase(device)?;
            }
            Action::Undo(ours) => format::undo(device, ours)?,
            Action::Format { .. } => format::format(device, &volume.filesystem)?,
            Action::Check { force } => check::check(device, *force)?,
            Action::GrowUnmounted => match grow::unmounted(device) {
                // Not there to be run, it has changed nothing.
                Err(error) if is_missing(&error) => {
                    warn!("{}: {error:#}", volume.name);
                    warnings.push(format!("it keeps its size: {error:#}"));
                }
                other => other?,
            },
            Action::Mount { kind, at } => mount::mount(device, *kind, at, &volume.mount.options)?,
            Action::Grow { kind, at } => {
                if let Err(error) = grow::mounted(device, *kind, at) {
                    warn!("{}: {error:#}", volume.name);
                    warnings.push(format!("it keeps its size: {error:#}"));
                }
            }
            Action::Permit { at, owner, mode } => mount::permit(at, *owner, *mode)?,
        }
    }
    Ok(warnings)
}

/// Whether a tool could not be started because there is none.
fn is_missing(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound))
}
