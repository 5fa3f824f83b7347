//! SIGKILL at each syscall of a first `up`, and of its mkfs: the next `up` on that machine comes up by itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::cuts::SIZE;
use crate::replay::{KINDS, run, stands, unmount, whole};
use crate::rig::{Disk, Ran, Rig, VOLINIT, tool};
use crate::tally::{Tally, sample};

#[test]
fn ext4_killed() {
    killed("ext4");
}

#[test]
fn xfs_killed() {
    killed("xfs");
}

#[test]
fn btrfs_killed() {
    killed("btrfs");
}

#[test]
fn mkfs_killed() {
    for kind in KINDS {
        only_mkfs_killed(kind);
    }
}

/// A first `up` under strace, which sees volinit's main thread and neither mkfs nor the readers of the proof.
fn traced(rig: &Rig, disk: &Disk, kind: &str, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.arg("-qq").args(options).arg(VOLINIT).arg("--root").arg(rig.root());
    strace.args(["up", "--device", disk.name(), "--mount", "/data/pg", "--fs", kind]);
    strace
}

/// The syscalls of a trace: the name of each, and which of its kind it is.
fn calls(trace: &str) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let names = trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    let names = names.filter(|name| !name.contains(' '));
    names
        .map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            (name.to_owned(), *count)
        })
        .collect()
}

/// strace counts each syscall by its name.
fn inject((name, count): &(String, usize)) -> String {
    format!("inject={name}:signal=SIGKILL:when={count}")
}

fn killed(kind: &str) {
    let trace = {
        let mut rig = Rig::new();
        let (disk, trace) = (rig.disk(SIZE), rig.file("trace", 0));
        let ran = rig.run(&mut traced(&rig, &disk, kind, &["-o", trace.to_str().unwrap()]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        unmount(&rig, &disk);
        fs::read_to_string(trace).unwrap()
    };
    let calls = calls(&trace);
    // From the file in memory, XFS's on a tmpfs of its own, to the mount is the format; around it a few will do.
    let begin = calls.iter().position(|(name, _)| matches!(name.as_str(), "memfd_create" | "fsopen"));
    let end = calls.iter().rposition(|(name, _)| name == "fsopen");
    let (begin, end) = (begin.expect("the file is made"), end.expect("it is mounted"));
    let chosen = [sample(&calls[..begin], 8), sample(&calls[begin..end], 40), sample(&calls[end..], 16)].concat();
    let mut tally = Tally::new(format!(
        "SIGKILL at a syscall, {kind}: {} in a first up, of which {} in the format",
        calls.len(),
        end - begin
    ));
    for call in chosen {
        tally.add(&format!("at {call:?}"), killed_at(kind, &call));
    }
    tally.end();
}

fn killed_at(kind: &str, call: &(String, usize)) -> Result<String, String> {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let status = traced(&rig, &disk, kind, &["-o", "/dev/null", "-e", &inject(call)]).output().unwrap().status;
    let plan = run(&rig, &disk, kind, "plan");
    let up = run(&rig, &disk, kind, "up");
    stands(&rig, &disk, kind, &up)?;
    unmount(&rig, &disk);
    whole(&disk, kind)?;
    let was = ["cut off", "(blank", "nothing to do"].iter().find(|word| plan.out.contains(**word));
    let was = match was.copied() {
        Some("cut off") => "undone",
        Some("(blank") => "formatted",
        Some(_) => "standing",
        None => "kept",
    };
    // How many of the reads are the main thread's is another number in each run.
    Ok(if status.signal() == Some(9) { was.to_owned() } else { "not reached".to_owned() })
}

/// mkfs ends by a signal at one of its syscalls: that is a failure, and nothing has been written to the disk.
fn only_mkfs_killed(kind: &str) {
    let trace = {
        let mut rig = Rig::new();
        let (disk, trace) = (rig.disk(SIZE), rig.file("trace", 0));
        let ran = with_mkfs(&rig, &disk, kind, &format!("-o {}", trace.display()));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        fs::read_to_string(trace).unwrap()
    };
    let calls = calls(&trace);
    let mut tally = Tally::new(format!("SIGKILL at a syscall of mkfs.{kind}, of {}", calls.len()));
    // The first is the execve that strace itself makes.
    for call in sample(&calls[1..], 16) {
        tally.add(&format!("at {call:?}"), mkfs_killed_at(kind, &call));
    }
    tally.end();
}

fn mkfs_killed_at(kind: &str, call: &(String, usize)) -> Result<String, String> {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let before = disk.fingerprint();
    let failed = with_mkfs(&rig, &disk, kind, &format!("-o /dev/null -e {}", inject(call)));
    if failed.code != Some(1) || !failed.out.contains("signal: 9") {
        return Err(format!("{failed:?}"));
    }
    if disk.fingerprint() != before {
        return Err("mkfs was killed, and the disk was written to".to_owned());
    }
    let up = run(&rig, &disk, kind, "up");
    stands(&rig, &disk, kind, &up)?;
    unmount(&rig, &disk);
    whole(&disk, kind)?;
    Ok("failed with exit 1, nothing written, the next up formatted".to_owned())
}

/// An `up` whose mkfs runs under strace: in a mount namespace of its own another folder stands for
/// /usr/local/sbin, where tools are looked for first. What it mounts goes with it.
fn with_mkfs(rig: &Rig, disk: &Disk, kind: &str, options: &str) -> Ran {
    let folder = rig.path("/tools");
    fs::create_dir_all(&folder).unwrap();
    let script = folder.join(format!("mkfs.{kind}"));
    let program = tool(["which", &format!("mkfs.{kind}")]);
    fs::write(&script, format!("#!/bin/sh\nexec strace -qq {options} {} \"$@\"\n", program.trim())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /usr/local/sbin && exec \"$@\""]).arg(&folder);
    command.arg(VOLINIT).arg("--root").arg(rig.root());
    rig.run(command.args(["up", "--device", disk.name(), "--mount", "/data/pg", "--fs", kind]))
}
