//! Runs a tool to its end, and tells of a failure with all that it said. The one file that starts the tools of the
//! filesystems.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use log::debug;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::locate::Device;
use crate::report::progress;
use crate::signals;

/// A unit file, a cloud-config and an initrd each have another PATH; the tools are always in one of these.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often at least it is looked whether a tool has ended: a short one is not waited for longer than it takes.
const LOOK: Duration = Duration::from_millis(1);

/// A tool that has ended, and what it wrote; the device goes by its name there.
#[derive(Debug)]
pub struct Ended {
    command: String,
    /// How it ended.
    pub status: ExitStatus,
    said: String,
}

/// Runs `program` with `arguments` and the device after them. What it wrote has reached the disk when this
/// returns.
///
/// # Errors
/// When it could not be started; how it ended is for the caller to judge.
pub fn run(program: &str, arguments: &[&str], device: &Device) -> Result<Ended> {
    run_with(program, arguments, &[], device)
}

/// The same, with these variables in its environment.
pub fn run_with(program: &str, arguments: &[&str], environment: &[(&str, String)], device: &Device) -> Result<Ended> {
    let writable = device.reopen(true)?;
    let ended = run_on(program, arguments, environment, &writable, &device.path, |_| Ok(()))?;
    writable.sync_all().with_context(|| format!("flushing {}", device.path.display()))?;
    Ok(ended)
}

/// Runs `program` on an open file, which goes by `name` in all that is said of it; `meanwhile` is called again and
/// again as long as it runs.
///
/// The tool gets it by a path of this process's descriptor, so that it opens what was looked at and nothing
/// else, whatever a name leads to by now. It need not inherit the descriptor.
pub fn run_on(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
    file: &File,
    name: &Path,
    meanwhile: impl FnMut(Pid) -> Result<()>,
) -> Result<Ended> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let name = name.display().to_string();
    let command = format!("{} {name}", line(program, arguments));
    let _running = progress::start(|| format!("{program} on {name}"));
    let mut tool = Command::new(program);
    tool.args(arguments)
        .arg(&path)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        // A group of its own: Ctrl-C at the terminal must not kill an mkfs or an fsck in the middle.
        .process_group(0);
    let mut ended = wait(signals::deaf(&mut tool), program, command, meanwhile)?;
    ended.said = ended.said.replace(&path, &name);
    Ok(ended)
}

/// Runs `program`, which writes to no disk and so may be killed: at `deadline` it is, and how it ended tells so.
pub fn run_until(program: &str, arguments: &[&str], deadline: Instant) -> Result<Ended> {
    wait(Command::new(program).args(arguments), program, line(program, arguments), |pid| {
        if Instant::now() >= deadline {
            let _ = kill(pid, Signal::SIGKILL);
        }
        Ok(())
    })
}

/// As a person would type it.
fn line(program: &str, arguments: &[&str]) -> String {
    [&[program], arguments].concat().join(" ")
}

/// Starts the tool and waits for its end.
fn wait(
    tool: &mut Command,
    program: &str,
    command: String,
    mut meanwhile: impl FnMut(Pid) -> Result<()>,
) -> Result<Ended> {
    debug!("running {command}");
    // A file, so that no tool ever waits for us to read what it says.
    let mut says: File =
        memfd_create("volinit-output", MFdFlags::MFD_CLOEXEC).context("making a file in memory")?.into();
    let writing = || says.try_clone().context("making a file in memory");
    tool.env("PATH", PATH).env("LC_ALL", "C").stdin(Stdio::null()).stdout(writing()?).stderr(writing()?);
    let mut child = tool.spawn().map_err(|error| {
        let hint = if error.kind() == ErrorKind::NotFound { missing(program) } else { String::new() };
        anyhow!(error).context(format!("starting {program}{hint}"))
    })?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {program}"))? {
            break status;
        }
        meanwhile(pid)?;
        thread::sleep((started.elapsed() / 8).min(LOOK));
    };
    let mut said = Vec::new();
    says.rewind().and_then(|()| says.read_to_end(&mut said)).context("reading what a tool said")?;
    Ok(Ended { command, status, said: String::from_utf8_lossy(&said).into_owned() })
}

impl Ended {
    /// Anything but exit 0 is an error: argv, status, and what it said.
    pub fn succeeded(self) -> Result<()> {
        if self.status.success() { Ok(()) } else { Err(self.error()) }
    }

    /// The error of a tool that ended badly.
    pub fn error(&self) -> anyhow::Error {
        let said = self.words();
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        anyhow!("`{}` ended with {}: {said}", self.command, self.status)
    }

    /// What it said, in one line.
    pub fn words(&self) -> String {
        let lines: Vec<&str> = self.said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("; ")
    }
}

/// Where a tool comes from, for the error that says it is not there.
fn missing(program: &str) -> String {
    let package = match program {
        "mkfs.ext4" | "e2fsck" | "resize2fs" | "debugfs" => "e2fsprogs",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        "mount.nfs" => "nfs-common, or nfs-utils",
        _ => return String::new(),
    };
    format!(" (it is in the package {package})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_file(program: &str, arguments: &[&str]) -> Result<Ended> {
        let file = tempfile::NamedTempFile::new().unwrap();
        run(program, arguments, &Device::open(file.path()).unwrap())
    }

    #[test]
    fn a_failure_tells_the_command_its_status_and_its_words() {
        let ended = on_a_file("sh", &["-c", "echo first; echo no on $0 >&2; exit 3"]).unwrap();
        let name = ended.command.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(ended.words(), format!("first; no on {name}"), "the device goes by its name");
        let error = ended.succeeded().unwrap_err().to_string();
        assert!(error.ends_with(&format!("{name}` ended with exit status: 3: first; no on {name}")), "{error}");

        let error = on_a_file("sh", &["-c", "kill -9 $$"]).unwrap().succeeded().unwrap_err().to_string();
        assert!(error.contains("signal: 9") && error.ends_with("it said nothing"), "{error}");
    }

    #[test]
    fn what_may_be_killed_is_at_its_deadline() {
        let error = run_until("sleep", &["1d"], Instant::now()).unwrap().succeeded().unwrap_err().to_string();
        assert!(error.starts_with("`sleep 1d` ended with signal: 9"), "{error}");
        assert!(run_until("true", &[], Instant::now() + Duration::from_secs(60)).unwrap().status.success());
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        assert_eq!(missing("mkfs.xfs"), " (it is in the package xfsprogs)");
        let error = format!("{:#}", on_a_file("no-such-tool", &[]).unwrap_err());
        assert!(error.starts_with("starting no-such-tool: "), "{error}");
    }
}
