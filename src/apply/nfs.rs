//! Mounts an NFS export by mount.nfs, proves that it is that export, and sets the owner and mode of its top folder,
//! each within a bound. Nothing here writes to a device.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use log::info;
use sys_mount::{UnmountFlags, unmount};

use super::mount::permit;
use super::options::is_for_fstab;
use super::run::run_until;
use crate::config::Volume;
use crate::error::Failure;
use crate::plan::{Action, Plan};
use crate::probe::{self, nfs};
use crate::report::progress;
use crate::root::Root;

/// Does what the plan says, until `deadline`, and gives it back without what was so already.
///
/// # Errors
/// [`Failure::Absent`] where the server does not answer until then.
pub fn apply(volume: &Volume, export: &str, mut plan: Plan, root: &Root, deadline: Instant) -> Result<Plan, Failure> {
    for step in std::mem::take(&mut plan.steps) {
        info!("{}: {} on {export}: {}", volume.name, step.action, step.reason);
        // An export has no other steps.
        if let Action::Mount { at } = &step.action {
            mount(volume, export, at, root, deadline)?;
        } else if let Action::Permit { at, owner, mode } = &step.action {
            let (folder, owner, mode) = (at.clone(), *owner, *mode);
            let setting = format!("setting the owner and mode of {}", at.display());
            let ended = nfs::within(nfs::ANSWER, move || Ok(permit(&folder, owner, mode))).context(setting.clone())?;
            let ended = ended.ok_or_else(|| {
                Failure::Absent(anyhow!(
                    "{export} stopped to answer while the owner and mode of its top folder were set"
                ))
            })?;
            let changed = ended.map_err(|error| {
                anyhow!(
                    "{setting}: {error}: the server may take this node's root for nobody (root_squash, exports(5)): set \
                     the owner there, or take it out of the config"
                )
            })?;
            if !changed {
                continue;
            }
        }
        plan.steps.push(step);
    }
    Ok(plan)
}

fn mount(volume: &Volume, export: &str, at: &Path, root: &Root, deadline: Instant) -> Result<(), Failure> {
    let mounting = || format!("mounting {export} at {}", at.display());
    fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
    let mut options: Vec<&str> = volume.mount.options.iter().map(String::as_str).collect();
    options.retain(|option| !is_for_fstab(option));
    // Once, and not in the background, since who waits is volinit: of these the last one counts (nfs-utils,
    // utils/mount/parse_opt.c: po_rightmost, po_get).
    options.extend(["fg", "retry=0"]);
    let running = progress::start(mounting);
    let ended = run_until("mount.nfs", &[export, &at.display().to_string(), "-o", &options.join(",")], deadline)?;
    drop(running);
    if !ended.status.success() {
        let error = ended.error().context(mounting());
        return Err(if Instant::now() < deadline { error.into() } else { Failure::Absent(error) });
    }
    Ok(prove(volume, export, at, root)?)
}

/// A server may refer to another one (`NFSv4`), and mount.nfs may be another program than is thought.
fn prove(volume: &Volume, export: &str, at: &Path, root: &Root) -> Result<()> {
    let mounts = probe::mounts()?;
    let shown = probe::mounted(&mounts, &volume.mount, root);
    if shown.is_some_and(|shown| shown.is_export(export)) {
        return Ok(());
    }
    let Some(shown) = shown else {
        bail!("mount.nfs says that it mounted {export}, and nothing is mounted at {}", at.display())
    };
    unmount(at, UnmountFlags::empty())
        .with_context(|| format!("unmounting {}, which is not {export}", at.display()))?;
    bail!("{export} came as {} ({}): it was unmounted again", shown.source.display(), shown.fstype);
}
