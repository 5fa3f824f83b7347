//! The way back, for a planned move: metadata taken back, unmounted, detached, until EC2 says that others can have it.
//! What is not here is released already.

use std::fs;
use std::path::Path;

use anyhow::anyhow;
use log::info;
use nix::libc::EBUSY;
use nix::mount::{MntFlags, umount2};

use crate::apply;
use crate::config::{Config, Eni, Interface, Source, Volume};
use crate::error::{Failure, Refusal};
use crate::locate::{self, Device};
use crate::nfs;
use crate::probe;
use crate::publish;
use crate::root::Root;
use crate::signals;

/// What came of one volume or network interface.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// Its name in the config.
    pub name: &'a str,
    /// What was done with it, in this order; nothing, where it was not here.
    pub result: Result<Vec<String>, Failure>,
}

/// How a release ended.
#[derive(Debug)]
pub struct Report<'a> {
    /// The volumes, in the order in which they were released.
    pub volumes: Vec<Outcome<'a>>,
    /// The network interfaces.
    pub interfaces: Vec<Outcome<'a>>,
    /// The files that were written, or why that failed.
    pub files: Result<Vec<publish::Change>, Failure>,
}

impl Report<'_> {
    /// The worst of all failures, which the exit code tells.
    pub fn failure(&self) -> Option<&Failure> {
        let all = self.volumes.iter().chain(&self.interfaces).filter_map(|outcome| outcome.result.as_ref().err());
        all.chain(self.files.as_ref().err()).max_by_key(|failure| failure.severity())
    }
}

/// Releases the volumes, those that lie on others first, and the interfaces of their slots. With all of the config's
/// volumes the other interfaces go too.
pub fn release<'a>(root: &Root, config: &'a Config, volumes: &[&'a Volume]) -> Report<'a> {
    // First: nobody shall be sent to a volume that is about to go.
    let files = publish::publish(root, &config.publish, &[], volumes).map_err(Failure::Failed);
    let mut report = Report { volumes: Vec::new(), interfaces: Vec::new(), files };
    if report.files.is_err() {
        return report;
    }
    let mut order = volumes.to_vec();
    order.sort_by_key(|volume| std::cmp::Reverse(volume.carriers(&config.volumes).len()));
    for volume in order {
        let result = one(volume, root);
        let whole = result.is_ok();
        report.volumes.push(Outcome { name: &volume.name, result });
        // A pair stays whole: whoever gets the volume next wants the interface too.
        let own = config.interfaces.iter().filter(|interface| whole && interface.is_slot_of(&volume.name));
        report.interfaces.extend(own.map(|interface| give_back(interface, root)));
    }
    if volumes.len() == config.volumes.len() && report.failure().is_none() {
        let alone = config.interfaces.iter().filter(|interface| !matches!(interface.eni, Eni::SlotOf(_)));
        report.interfaces.extend(alone.map(|interface| give_back(interface, root)));
    }
    report
}

fn give_back<'a>(interface: &'a Interface, root: &Root) -> Outcome<'a> {
    Outcome { name: &interface.name, result: crate::interfaces::release(interface, root) }
}

fn one(volume: &Volume, root: &Root) -> Result<Vec<String>, Failure> {
    signals::listen();
    let mut done = Vec::new();
    if let Source::Nfs { export, .. } = &volume.source {
        let Some(real) = nfs::mounted(volume, export, root)? else { return Ok(done) };
        let _held = signals::hold(|| format!("unmounting {}", volume.mount.at));
        unmount_from(volume, &real)?;
        done.push(format!("unmounted from {}", volume.mount.at));
        return Ok(done);
    }
    let device = locate::attached(volume, root)?;
    if let Some(device) = &device {
        let _held = signals::hold(|| format!("unmounting {}", volume.mount.at));
        if unmount(volume, device, root)? {
            done.push(format!("unmounted from {}", volume.mount.at));
        }
    }
    if let Source::Ebs(ebs) = &volume.source
        && ebs.attach
    {
        done.extend(locate::detach(volume, ebs, root)?);
    }
    Ok(done)
}

/// Unmounts the volume from its mount point; `false` where nothing is mounted there.
fn unmount(volume: &Volume, device: &Device, root: &Root) -> Result<bool, Failure> {
    let at = root.path(volume.mount.at.as_path());
    let real = at.canonicalize().unwrap_or_else(|_| at.clone());
    let about = probe::about(device)?;
    let here = about.mounts.iter().any(|mounted| mounted.at == real);
    if let Some(elsewhere) = about.mounts.iter().find(|mounted| mounted.at != real) {
        return Err(Failure::Refused(Refusal {
            subject: device.path.display().to_string(),
            found: format!("is mounted at {} too", elsewhere.at.display()),
            way_out: format!(
                "Stop what uses it there, and unmount it there if it still is: `umount {}`.",
                elsewhere.at.display()
            ),
            written: false,
        }));
    }
    if here {
        unmount_from(volume, &real)?;
    }
    Ok(here)
}

/// Unmounts what is mounted at `at`.
fn unmount_from(volume: &Volume, at: &Path) -> Result<(), Failure> {
    info!("{}: unmounting {}", volume.name, at.display());
    // The last of a service that was just stopped may still be on its way out.
    apply::patiently(|| Ok(umount2(at, MntFlags::UMOUNT_NOFOLLOW)?)).map_err(|error| {
        Failure::Failed(match error.raw_os_error() {
            Some(EBUSY) => anyhow!(
                "{} is in use by {}: stop what uses it (its unit should have RequiresMountsFor={}), and release it then",
                at.display(),
                users(at),
                volume.mount.at
            ),
            _ => anyhow!(error).context(format!("unmounting {}", at.display())),
        })
    })
}

/// The processes that have something open below `folder`, and what is mounted there: for a person.
fn users(folder: &Path) -> String {
    let mut users = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let links = ["cwd", "root", "exe"].map(|name| path.join(name));
        let fds = fs::read_dir(path.join("fd")).into_iter().flatten().flatten().map(|fd| fd.path());
        let opened = |link: std::path::PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(folder));
        if links.into_iter().chain(fds).any(opened) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            users.push(format!("{} ({})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    let below = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = below.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    users.extend(
        below.filter(|at| *at != folder && at.starts_with(folder)).map(|at| format!("the mount {}", at.display())),
    );
    if users.is_empty() { "something that /proc does not tell".into() } else { users.join(", ") }
}
