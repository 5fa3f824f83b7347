//! The last phase: systemd is told where the volumes are mounted, the schedulers what they are.
//!
//! The renderers ([`mod@unit`], [`template`], a module for each target) write nothing; [`mod@files`] alone writes, and
//! `command` alone starts a process. Nothing here looks at a device: what is to be said was found before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

mod command;
mod consul;
mod ecs;
mod env;
mod envfile;
mod environment;
pub mod escape;
pub mod files;
pub mod fleet;
mod json;
mod kubernetes;
mod mesos;
mod named_volume;
mod nomad;
pub mod order;
mod pairs;
mod script;
pub mod service;
pub mod swarm;
pub mod systemd;
mod target;
pub mod template;
pub mod unit;

/// Those that merge lines of others' files, for the fuzzer.
#[doc(hidden)]
pub mod mergers {
    pub use super::{ecs::merge as ecs, kubernetes::merge as kubernetes, mesos::merge as mesos};
}

pub use files::{Change, Content, File, What};
pub use template::{CloudWords, Words};

use crate::config::{Config, Source, Target, Volume, carried};
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
    /// Whether it is mounted: only then is its metadata told.
    pub stands: bool,
}

impl Published<'_> {
    fn unit(&self) -> MountUnit<'_> {
        let (mount, network) = (&self.volume.mount, self.network);
        MountUnit {
            volume: &self.volume.name,
            what: &self.what,
            at: &mount.at,
            fstype: if self.volume.is_export() { "nfs" } else { self.volume.filesystem.kind.name() },
            options: &mount.options,
            kind: match &self.volume.source {
                Source::Nfs { .. } => Kind::Export { on_demand: self.volume.on_demand() },
                Source::Image { .. } if !network => Kind::Image,
                Source::Device { .. } | Source::Ebs(_) if !network => Kind::Device,
                Source::Image { .. } | Source::Device { .. } | Source::Ebs(_) => Kind::Network,
            },
        }
    }

    /// Its metadata, words expanded.
    ///
    /// # Errors
    /// A word that stands for nothing.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let Volume { name, metadata, .. } = self.volume;
        let mut expanded = BTreeMap::new();
        for (key, template) in metadata {
            let value = template::expand(template, &self.words)
                .with_context(|| format!("expanding the metadata {key:?} of the volume `{name}`"))?;
            expanded.insert(key.clone(), value);
        }
        Ok(expanded)
    }
}

/// What a target is told.
#[derive(Clone, Debug)]
pub struct News<'a> {
    /// The volumes that are mounted.
    pub mounted: Vec<&'a Published<'a>>,
    /// Those that are not, which nobody shall be told of any more. One in neither was told of by another run, and stays.
    pub withdrawn: Vec<&'a Volume>,
    /// The metadata of all that are mounted, words expanded.
    pub pairs: BTreeMap<String, String>,
    /// The keys of the withdrawn ones' metadata that are none of the mounted ones'.
    pub keys: BTreeSet<String>,
}

impl<'a> News<'a> {
    fn of(targets: &[Target], published: &'a [Published<'a>], withdrawn: &[&'a Volume]) -> Result<News<'a>> {
        let mounted = standing(published);
        let pairs = pairs(&mounted)?;
        for (key, value) in &pairs {
            let wrong = targets.iter().find_map(|target| carried::value(target, value).err());
            if let Some(message) = wrong {
                bail!("the metadata {key:?} is {value:?}: {message}");
            }
        }
        let mut keys = BTreeSet::new();
        for volume in withdrawn {
            keys.extend(volume.metadata.keys().filter(|key| !pairs.contains_key(*key)).cloned());
        }
        Ok(News { mounted, withdrawn: withdrawn.to_vec(), pairs, keys })
    }

    /// A file for each volume, its name between these two: with the `text` of one that is mounted, where that has one,
    /// and none of one that is withdrawn.
    fn each(
        &self,
        (before, after): (&str, &str),
        text: fn(&Published<'_>) -> Result<Option<String>>,
    ) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for published in &self.mounted {
            files.push(File::of(format!("{before}{}{after}", published.volume.name), text(published)?));
        }
        for volume in &self.withdrawn {
            files.push(File::of(format!("{before}{}{after}", volume.name), None));
        }
        Ok(files)
    }
}

/// Those that are mounted: an export that waits until something asks for it may not be.
fn standing<'a>(published: &'a [Published<'a>]) -> Vec<&'a Published<'a>> {
    published.iter().filter(|published| published.stands).collect()
}

/// What is written for systemd or for a target, and who has to hear of it when that changes.
struct Part<'a> {
    target: Option<&'a Target>,
    files: Vec<File>,
    hear: Vec<String>,
}

/// The files as they shall be once `mounted` stand. `withdrawn` volumes are not mounted: their metadata is taken
/// back, their units stay. A volume in neither keeps what an earlier run published. Reads, and writes nothing.
pub fn files(root: &Root, targets: &[Target], mounted: &[Published<'_>], withdrawn: &[&Volume]) -> Result<Vec<File>> {
    let (parts, whole) = parts(root, targets, mounted, withdrawn)?;
    whole?;
    Ok(parts.into_iter().flat_map(|part| part.files).collect())
}

/// Those that can be told, and what is wrong with the first that cannot: the others hear all the same.
fn parts<'a>(
    root: &Root,
    targets: &'a [Target],
    mounted: &[Published<'_>],
    withdrawn: &[&Volume],
) -> Result<(Vec<Part<'a>>, Result<()>)> {
    let mut units = Part { target: None, files: Vec::new(), hear: vec![Lock::SYSTEMD.to_owned()] };
    for published in mounted {
        let unit = published.unit();
        if !is_generated(root, &unit)? {
            units.files.extend(unit_files(root, &unit)?);
        }
    }
    let (mut parts, mut whole) = (vec![units], Ok(()));
    if targets.is_empty() {
        return Ok((parts, whole));
    }
    let news = News::of(targets, mounted, withdrawn)?;
    for target in targets {
        match target::files(target, root, &news) {
            Ok(files) => parts.push(Part { target: Some(target), files, hear: target::hear(target) }),
            Err(error) => whole = whole.and(Err(error)),
        }
    }
    Ok((parts, whole))
}

/// The What= of the unit that an earlier run wrote for the volume: the device by the best name that it had.
pub fn known_what(root: &Root, volume: &Volume) -> Result<Option<String>> {
    let text = files::read(root, &unit::path(&volume.mount.at))?.filter(|text| text.starts_with(MARKER));
    let what = text.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("What=")));
    Ok(what.map(|what| what.trim_end().replace("%%", "%")))
}

/// The volume's mount unit, and what has systemd run volinit for it at boot; see [`order`].
pub fn boot_files(root: &Root, published: &Published<'_>, config: &Config) -> Result<Vec<File>> {
    let (volume, unit) = (published.volume, published.unit());
    let carriers: Vec<&str> =
        volume.carriers(&config.volumes).into_iter().map(|carrier| carrier.name.as_str()).collect();
    let mut files = unit_files(root, &unit)?;
    files.extend(order::files(&unit, &carriers, volume.source.timeout(), &target::services(&config.publish))?);
    Ok(files)
}

/// What has systemd start those who are told after volinit.service, where that is to run.
pub fn all_files(config: &Config) -> Vec<File> {
    if config.interfaces.is_empty() && config.signals.is_empty() {
        return Vec::new();
    }
    order::told("volinit.service", &target::services(&config.publish))
}

/// Whether systemd has this very unit from [`crate::generator`]: then there is nothing to write, and nothing to reload,
/// which takes systemd long while it boots.
fn is_generated(root: &Root, unit: &MountUnit<'_>) -> Result<bool> {
    // Its first folder, systemd.generator(7).
    let generated = files::read(root, &Path::new("/run/systemd/generator").join(unit.name()))?;
    Ok(generated.is_some() && generated == unit.text().ok() && files::read(root, &unit.path())?.is_none())
}

/// Writes [`files()`], and tells systemd and the targets once if that changed theirs. Where nothing is to be changed,
/// nothing is written, locked or started.
///
/// # Errors
/// The first thing that failed, when all else is done; who could not be told is told by the next run.
pub fn publish(
    root: &Root,
    targets: &[Target],
    mounted: &[Published<'_>],
    withdrawn: &[&Volume],
) -> Result<Vec<Change>> {
    let outstanding = || -> Result<(Vec<Part<'_>>, Vec<String>, Result<()>)> {
        let (all, whole) = parts(root, targets, mounted, withdrawn)?;
        let (mut due, mut parts) = (Lock::due(root)?, Vec::new());
        for part in all {
            if !files::pending(root, &part.files)?.is_empty() {
                due.extend(part.hear.iter().cloned());
                parts.push(part);
            }
        }
        Ok((parts, due, whole))
    };
    let (parts, due, whole) = outstanding()?;
    if parts.is_empty() && due.is_empty() {
        return whole.map(|()| Vec::new());
    }
    let mut lock = Lock::take(root)?;
    // Asked again: another volinit may have merged its own pairs since, or done all there was to do.
    let (parts, due, mut whole) = outstanding()?;
    lock.remember(&due)?;
    let standing = standing(mounted);
    let mut changes = Vec::new();
    for part in parts {
        let prepared =
            part.target.map_or(Ok(Vec::new()), |target| target::prepare(target, root, &standing, &part.files));
        match prepared.and_then(|prepared| Ok((prepared, files::write(root, &part.files)?))) {
            Ok((prepared, written)) => changes.extend(prepared.into_iter().chain(written)),
            Err(error) => whole = whole.and(Err(error)),
        }
    }
    let settled = lock.settle(root, targets, &due);
    whole.and(settled).map(|()| changes)
}

/// The unit and the link that enables it, if any.
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
    if let Some(link) = unit.link()
        && files::read_link(root, &link)?.is_none_or(|target| target == path)
    {
        files.push(File { path: link, content: Content::Link(path.clone()) });
    }
    for stale in unit.stale_links() {
        if files::read_link(root, &stale)?.is_some_and(|target| target == path) {
            files.push(File { path: stale, content: Content::Absent });
        }
    }
    Ok(files)
}

/// Everybody's metadata, words expanded. A scheduler has one value for a key.
fn pairs(mounted: &[&Published<'_>]) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for published in mounted {
        for (key, value) in published.metadata()? {
            if let Some(other) = pairs.insert(key.clone(), value.clone()).filter(|other| *other != value) {
                bail!(
                    "the metadata {key:?} is {other:?} for one volume and {value:?} for `{}`: use two keys",
                    published.volume.name
                );
            }
        }
    }
    Ok(pairs)
}

/// An object of JSON; its keys are in the order of the alphabet.
fn object(pairs: impl IntoIterator<Item = (String, String)>) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    for (key, value) in pairs {
        object.insert(key, value.into());
    }
    object.into()
}

/// JSON as a file of ours has it.
fn json(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).expect("any Value is JSON") + "\n"
}

/// Held while files are merged, since several `volinit@` may run at once. The file remembers who is yet to hear of
/// what was written, a line each, so that a run that was killed between the two is made good by the next.
struct Lock(Flock<fs::File>);

impl Lock {
    const PATH: &str = "/run/volinit/publish.lock";
    /// The line of systemd itself; the targets have their own ([`target::hear`]).
    const SYSTEMD: &str = "systemd";

    fn due(root: &Root) -> Result<Vec<String>> {
        let text = files::read(root, Self::PATH.as_ref())?.unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn take(root: &Root) -> Result<Lock> {
        let context = || format!("locking {}", root.path(Self::PATH).display());
        let file = files::open_state(root, Self::PATH.as_ref())?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).with_context(context)?;
        Ok(Lock(lock))
    }

    fn remember(&mut self, due: &[String]) -> Result<()> {
        let text = due.join("\n");
        let mut write = || {
            self.0.set_len(0)?;
            self.0.rewind()?;
            self.0.write_all(text.as_bytes())
        };
        write().with_context(|| format!("writing {}", Self::PATH))
    }

    /// Tells all of them, systemd first, since units of theirs may have changed. A target that cannot be told keeps no
    /// other from hearing. Who is in the config no more is told no more.
    fn settle(&mut self, root: &Root, targets: &[Target], due: &[String]) -> Result<()> {
        if due.iter().any(|line| line == Self::SYSTEMD) {
            systemd::daemon_reload(root)?;
        }
        let mut told = Ok(());
        let mut left = Vec::new();
        for target in targets {
            for line in target::hear(target) {
                if line != Self::SYSTEMD
                    && due.contains(&line)
                    && let Err(error) = target::tell(target, root)
                {
                    left.push(line);
                    told = told.and(Err(error));
                }
            }
        }
        self.remember(&left)?;
        told
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
