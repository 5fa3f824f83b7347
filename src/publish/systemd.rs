//! What systemd is told: that its files have changed, or those of a service that runs. Starts `systemctl`, and only on
//! a machine that systemd runs.

use std::process::Stdio;

use anyhow::Result;

use super::command::{output, run};
use crate::root::Root;

/// The socket by which systemctl reaches an init that is systemd. The folder that `sd_booted(3)` looks for will
/// not do: the drop-in for fleet is in it, so that our own writing would make it.
const MANAGER: &str = "/run/systemd/private";

/// Has systemd read its units again; does nothing for an image, or where systemd does not run.
pub fn daemon_reload(root: &Root) -> Result<()> {
    if !runs(root) {
        log::debug!("systemd is not told: it does not run on {}", root.path("/").display());
        return Ok(());
    }
    run(&["systemctl", "daemon-reload"], Stdio::null())
}

/// Whether `unit` runs.
pub fn is_active(root: &Root, unit: &str) -> Result<bool> {
    let line = ["systemctl", "is-active", "--quiet", unit];
    Ok(runs(root) && output(&line, Stdio::null())?.status.success())
}

/// Has `unit` read its files again by SIGHUP, if it runs. Not by `systemctl reload`: that job may wait for the start of
/// the volume's mount, which is ordered before it, and that start for us (`job_compare()` in systemd's src/core/job.c).
pub fn hang_up(root: &Root, unit: &str) -> Result<bool> {
    let active = is_active(root, unit)?;
    if active {
        // Its newer name is --kill-whom; this one is known to all.
        run(&["systemctl", "kill", "--kill-who=main", "--signal=HUP", unit], Stdio::null())?;
        log::info!("{unit} was told to read its files again");
    }
    Ok(active)
}

fn runs(root: &Root) -> bool {
    root.is_host() && root.path(MANAGER).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_systemd_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("run/systemd/private")).unwrap();
        let root = Root::new(folder.path());
        daemon_reload(&root).unwrap();
        assert!(!hang_up(&root, "dbus.service").unwrap());
    }
}
