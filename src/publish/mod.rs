//! The last phase: systemd is told where the volumes are mounted, the scheduler what they are.
//!
//! The renderers ([`mod@unit`], [`fleet`], [`template`]) are pure; [`mod@files`] alone writes, and [`systemd`] alone
//! starts a process. Nothing here looks at a device: what is to be said was found before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

mod environment;
pub mod escape;
pub mod files;
pub mod fleet;
pub mod order;
pub mod service;
pub mod systemd;
pub mod template;
pub mod unit;

pub use files::{Change, Content, File, What};
pub use template::{CloudWords, Words};

use crate::config::{Source, Target, Volume};
use crate::root::Root;
use unit::{Kind, MARKER, MountUnit};

/// A volume that is mounted, or for `render` one as the config has it.
#[derive(Clone, Debug)]
pub struct Published<'a> {
    /// What was said about it.
    pub volume: &'a Volume,
    /// The unit's What=: the device by a name that lasts, or the image's file (not its loop device).
    pub what: String,
    /// What the words of its metadata stand for.
    pub words: Words,
    /// Whether it comes over the network or by a call to the cloud's API.
    pub network: bool,
}

impl Published<'_> {
    fn unit(&self) -> MountUnit<'_> {
        let (mount, network) = (&self.volume.mount, self.network);
        MountUnit {
            volume: &self.volume.name,
            what: &self.what,
            at: &mount.at,
            fstype: self.volume.filesystem.kind,
            options: &mount.options,
            kind: match &self.volume.source {
                Source::Image { .. } if !network => Kind::Image,
                Source::Device { .. } | Source::Ebs(_) if !network => Kind::Device,
                Source::Image { .. } | Source::Device { .. } | Source::Ebs(_) | Source::Nfs { .. } => Kind::Network,
            },
        }
    }
}

/// The files as they shall be once `mounted` stand. `withdrawn` volumes are not mounted: their metadata is taken
/// back, their units stay. A volume in neither keeps what an earlier run published. Reads, and writes nothing.
pub fn files(root: &Root, targets: &[Target], mounted: &[Published<'_>], withdrawn: &[&Volume]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for published in mounted {
        let unit = published.unit();
        if !is_generated(root, &unit)? {
            files.extend(unit_files(root, &unit)?);
        }
    }
    for target in targets {
        match target {
            Target::Fleet => {
                let pairs = pairs(mounted)?;
                let keys = withdrawn.iter().flat_map(|volume| volume.metadata.keys());
                let withdrawn = keys.filter(|key| !pairs.contains_key(*key)).cloned().collect::<BTreeSet<_>>();
                files.extend(fleet::files(root, &pairs, &withdrawn)?);
            }
        }
    }
    Ok(files)
}

/// The What= of the unit that an earlier run wrote for the volume: the device by the best name that it had.
pub fn known_what(root: &Root, volume: &Volume) -> Result<Option<String>> {
    let text = files::read(root, &unit::path(&volume.mount.at))?.filter(|text| text.starts_with(MARKER));
    let what = text.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("What=")));
    Ok(what.map(|what| what.trim_end().replace("%%", "%")))
}

/// The volume's mount unit, and what has systemd run volinit for it at boot; see [`order`]. `all` are the config's volumes.
pub fn boot_files(root: &Root, published: &Published<'_>, all: &[Volume]) -> Result<Vec<File>> {
    let (volume, unit) = (published.volume, published.unit());
    let carriers: Vec<&str> = volume.carriers(all).into_iter().map(|carrier| carrier.name.as_str()).collect();
    let mut files = unit_files(root, &unit)?;
    files.extend(order::files(&unit, &carriers, volume.source.timeout())?);
    Ok(files)
}

/// Whether systemd has this very unit from [`crate::generator`]: then there is nothing to write, and nothing to reload,
/// which takes systemd long while it boots.
fn is_generated(root: &Root, unit: &MountUnit<'_>) -> Result<bool> {
    // Its first folder, systemd.generator(7).
    let generated = files::read(root, &Path::new("/run/systemd/generator").join(unit.name()))?;
    Ok(generated.is_some() && generated == unit.text().ok() && files::read(root, &unit.path())?.is_none())
}

/// Writes [`files()`], and tells systemd once if that changed anything. Where nothing is to be changed, nothing is
/// written, locked or started.
pub fn publish(
    root: &Root,
    targets: &[Target],
    mounted: &[Published<'_>],
    withdrawn: &[&Volume],
) -> Result<Vec<Change>> {
    let outstanding = || -> Result<Option<Vec<File>>> {
        let files = files(root, targets, mounted, withdrawn)?;
        let settled = files::pending(root, &files)?.is_empty() && !Lock::reload_is_due(root)?;
        Ok((!settled).then_some(files))
    };
    if outstanding()?.is_none() {
        return Ok(Vec::new());
    }
    let mut lock = Lock::take(root)?;
    // Asked again: another volinit may have merged its own pairs since, or done all there was to do.
    let Some(files) = outstanding()? else {
        return Ok(Vec::new());
    };
    lock.reload_due(true)?;
    let changes = files::write(root, &files)?;
    systemd::daemon_reload(root)?;
    lock.reload_due(false)?;
    Ok(changes)
}

/// The unit and the link that enables it.
fn unit_files(root: &Root, unit: &MountUnit<'_>) -> Result<Vec<File>> {
    let path = unit.path();
    if files::read(root, &path)?.is_some_and(|text| !text.starts_with(MARKER)) {
        bail!(
            "{file} is not volinit's (its first line does not begin with \"{MARKER}\"), so it is left as it is. See \
             `systemctl cat {name}`, and remove it: what it says can stay in {file}.d/local.conf",
            file = root.path(&path).display(),
            name = unit.name(),
        );
    }
    let text = unit.text().with_context(|| format!("rendering {}", root.path(&path).display()))?;
    let mut files = vec![File { path: path.clone(), content: Content::Text(text) }];
    // systemd goes by the link's name. One that leads elsewhere is an administrator's: /dev/null switches it off.
    if files::read_link(root, &unit.link())?.is_none_or(|target| target == path) {
        files.push(File { path: unit.link(), content: Content::Link(path.clone()) });
    }
    if files::read_link(root, &unit.stale_link())?.is_some_and(|target| target == path) {
        files.push(File { path: unit.stale_link(), content: Content::Absent });
    }
    Ok(files)
}

/// Everybody's metadata, words expanded. A scheduler has one value for a key.
fn pairs(mounted: &[Published<'_>]) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for Published { volume, words, .. } in mounted {
        for (key, template) in &volume.metadata {
            let value = template::expand(template, words)
                .with_context(|| format!("expanding the metadata {key:?} of the volume `{}`", volume.name))?;
            if let Some(other) = pairs.insert(key.clone(), value.clone()).filter(|other| *other != value) {
                bail!(
                    "the metadata {key:?} is {other:?} for one volume and {value:?} for `{}`: use two keys",
                    volume.name
                );
            }
        }
    }
    Ok(pairs)
}

/// Held while files are merged, since several `volinit@` may run at once. The file remembers a reload that is due,
/// so that a run that was killed between the two is made good by the next.
struct Lock(Flock<fs::File>);

impl Lock {
    const PATH: &str = "/run/volinit/publish.lock";
    const DUE: &str = "systemd is to be reloaded\n";

    fn reload_is_due(root: &Root) -> Result<bool> {
        Ok(files::read(root, Self::PATH.as_ref())?.is_some_and(|text| text == Self::DUE))
    }

    fn take(root: &Root) -> Result<Lock> {
        let context = || format!("locking {}", root.path(Self::PATH).display());
        let file = files::open_state(root, Self::PATH.as_ref())?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).with_context(context)?;
        Ok(Lock(lock))
    }

    fn reload_due(&mut self, due: bool) -> Result<()> {
        let mut write = || {
            self.0.set_len(0)?;
            self.0.rewind()?;
            self.0.write_all(if due { Self::DUE.as_bytes() } else { b"" })
        };
        write().with_context(|| format!("writing {}", Self::PATH))
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
