//! Starts a process to its end: `systemctl`, and a program of the user's. Which, and when, others decide.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command, and gives what it wrote and how it ended.
///
/// # Errors
/// When it could not be started.
pub(super) fn output(argv: &[&str], stdin: Stdio) -> Result<Output> {
    let line = argv.join(" ");
    let (program, arguments) = argv.split_first().expect("a command has a name");
    log::debug!("running {line}");
    Command::new(program).args(arguments).stdin(stdin).output().with_context(|| format!("running {line}"))
}

/// The same, where nothing but success will do.
///
/// # Errors
/// With all that it wrote as its errors.
pub(super) fn run(argv: &[&str], stdin: Stdio) -> Result<()> {
    let output = output(argv, stdin)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("running {}: {}: {}", argv.join(" "), output.status, stderr.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_says_what_and_why() {
        let error = run(&["systemctl", "--no-such-option"], Stdio::null()).unwrap_err().to_string();
        assert!(error.starts_with("running systemctl --no-such-option: exit status: 1: "), "{error}");
        assert!(error.contains("unrecognized option"), "{error}");
        let error = run(&["/no/such/program"], Stdio::null()).unwrap_err();
        assert_eq!(format!("{error:#}"), "running /no/such/program: No such file or directory (os error 2)");
    }
}
