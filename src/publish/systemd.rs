//! What systemd is told: that its files have changed. Starts one process, and only on a machine that systemd runs.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::root::Root;

/// The socket by which systemctl reaches an init that is systemd. The folder that `sd_booted(3)` looks for will
/// not do: the drop-in for fleet is in it, so that our own writing would make it.
const MANAGER: &str = "/run/systemd/private";

/// Has systemd read its units again; does nothing for an image, or where systemd does not run.
pub fn daemon_reload(root: &Root) -> Result<()> {
    if !root.is_host() || !root.path(MANAGER).exists() {
        log::debug!("systemd is not told: it does not run on {}", root.path("/").display());
        return Ok(());
    }
    run(&["systemctl", "daemon-reload"])
}

/// Runs a command to its end.
fn run(argv: &[&str]) -> Result<()> {
    let line = argv.join(" ");
    let (program, arguments) = argv.split_first().expect("a command has a name");
    log::debug!("running {line}");
    let output = Command::new(program).args(arguments).output().with_context(|| format!("running {line}"))?;
    if !output.status.success() {
        bail!("running {line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_systemd_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("run/systemd/private")).unwrap();
        daemon_reload(&Root::new(folder.path())).unwrap();
    }

    #[test]
    fn a_failed_command_says_what_and_why() {
        let error = run(&["systemctl", "--no-such-option"]).unwrap_err().to_string();
        assert!(error.starts_with("running systemctl --no-such-option: exit status: 1: "), "{error}");
        assert!(error.contains("unrecognized option"), "{error}");
        let error = run(&["/no/such/program"]).unwrap_err();
        assert_eq!(format!("{error:#}"), "running /no/such/program: No such file or directory (os error 2)");
    }
}
