//! Runs a command to its end, and tells of a failure with all that it said. The one file that does.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow};
use log::debug;

use crate::report::progress;

/// A unit file, a cloud-config and an initrd each have another PATH; the tools are always in one of these.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs `argv` and gives its output, however it ended. `what` is shown to who waits for it.
///
/// # Errors
/// Only when it could not be started.
pub fn run(what: &str, argv: &[&str]) -> Result<Output> {
    let (program, arguments) = argv.split_first().expect("a command has a name");
    debug!("running {}", argv.join(" "));
    let _running = progress::start(|| what.to_owned());
    Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        // A group of its own: Ctrl-C at the terminal must not kill an mkfs or an fsck in the middle.
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}{}", missing(program)))
}

/// Like [`run`], and anything but exit 0 is an error.
pub fn succeed(what: &str, argv: &[&str]) -> Result<Output> {
    let output = run(what, argv)?;
    if output.status.success() { Ok(output) } else { Err(failed(argv, &output)) }
}

/// The error of a command that ended badly: argv, status, and what it wrote.
pub fn failed(argv: &[&str], output: &Output) -> anyhow::Error {
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut said);
    }
    let said = if said.is_empty() { "it said nothing".to_owned() } else { said.replace('\n', "; ") };
    anyhow!("`{}` ended with {}: {said}", argv.join(" "), output.status)
}

/// Where a tool comes from, for the error that says it is not there.
fn missing(program: &str) -> String {
    let package = match program {
        "mkfs.ext4" | "e2fsck" | "resize2fs" => "e2fsprogs",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        _ => return String::new(),
    };
    format!(" (it is in the package {package})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_command_its_status_and_its_words() {
        let error = succeed("", &["sh", "-c", "echo first; echo no >&2; echo way >&2; exit 3"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c echo first; echo no >&2; echo way >&2; exit 3` ended with exit status: 3: no; way"
        );
        let error = succeed("", &["sh", "-c", "kill -9 $$"]).unwrap_err().to_string();
        assert!(error.contains("signal: 9") && error.ends_with("it said nothing"), "{error}");
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        assert_eq!(missing("mkfs.xfs"), " (it is in the package xfsprogs)");
        let error = format!("{:#}", succeed("", &["no-such-tool"]).unwrap_err());
        assert!(error.starts_with("starting no-such-tool: "), "{error}");
    }
}
