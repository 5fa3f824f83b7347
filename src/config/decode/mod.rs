//! The tree as a [`Config`]: which keys there are, which must be there, and what each may hold. A value that
//! is wrong is reported and stands as its default, so that the rest is checked too; the report decides in the
//! end that there is no config.

mod ebs;
mod interfaces;
mod signals;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::cursor::{At, Map};
use crate::config::problem::Report;
use crate::config::schema::{Config, Filesystem, Format, FsType, Mount, Source, Target, Volume};
use crate::config::tree::{Node, Value};
use crate::config::{check, mkfs, template, value};

/// Keys whose value may be a map of one kind or another, and the keys in it that say which.
pub const KINDS: [(&str, &[&str]); 3] =
    [("source", &SOURCE_KINDS), ("eni", &interfaces::ENI_KINDS), ("signal", &signals::KINDS)];

const SOURCE_KINDS: [&str; 4] = ["device", "image", "ebs", "nfs"];

/// The other keys of a source, and the kinds that they go with.
const SOURCE_EXTRAS: [(&str, &[&str]); 5] = [
    ("timeout", &["device", "ebs", "nfs"]),
    ("size", &["image"]),
    ("attach", &["ebs"]),
    ("takeover", &["ebs"]),
    ("force-after", &["ebs"]),
];

/// systemd's `DefaultDeviceTimeoutSec=` (systemd-system.conf(5)).
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// Where EC2 attaches, it may have to detach first.
const EC2_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The whole config; what it is worth, the report says.
pub fn config(tree: &Node, report: &mut Report) -> Config {
    let mut config = Config::default();
    let top = At::top(tree);
    if tree.value == Value::Null {
        report.add(&top.place(), "nothing is said here: add `volumes:` with an entry for each volume");
        return config;
    }
    let Some(map) = report.map_of(&top, &["volumes", "interfaces", "publish", "signal"]) else {
        return config;
    };
    if let Some(at) = map.get("publish") {
        config.publish = publish(report, at);
    }
    let volumes = report.need(&map, "volumes", "add an entry for each volume");
    if let Some(volumes) = volumes.and_then(|at| report.map(at)) {
        if volumes.entries.is_empty() {
            report.add(&volumes.at.key(), "there is no volume in `volumes`: add an entry for each");
        }
        config.volumes = volumes.entries.iter().filter_map(|(name, at)| volume(report, name, at)).collect();
    }
    if let Some(at) = map.get("interfaces") {
        config.interfaces = interfaces::interfaces(report, at);
    }
    if let Some(at) = map.get("signal") {
        config.signals = signals::signals(report, at);
    }
    check::across(&config, tree, report);
    config.volumes.sort_by(|one, other| one.name.cmp(&other.name));
    config.interfaces.sort_by(|one, other| one.name.cmp(&other.name));
    config
}

fn publish(report: &mut Report, at: &At) -> Vec<Target> {
    let mut targets = Vec::new();
    for item in report.seq(at).unwrap_or_default() {
        let target = match &item.node.value {
            Value::Map(_) => script(report, &item),
            _ => report.parse(&item, value::target),
        };
        let Some(target) = target else { continue };
        if targets.contains(&target) {
            report.add(&item.place(), format!("`{}` is in the list already: remove one", target.name()));
        }
        targets.push(target);
    }
    targets
}

fn script(report: &mut Report, at: &At) -> Option<Target> {
    let map = report.map_of(at, &["script"])?;
    let at = report.need(&map, "script", "name a program, as in { script: [/usr/local/bin/announce] }")?;
    let Value::Seq(_) = at.node.value else {
        return report.parse(at, value::program).map(|program| Target::Script(vec![program]));
    };
    let mut words = report.seq(at)?.into_iter();
    let Some(program) = words.next() else {
        report.add(&at.place(), "the script is empty: name a program, as in [/usr/local/bin/announce]");
        return None;
    };
    let mut command = vec![report.parse(&program, value::program)?];
    for word in words {
        command.push(report.parse(&word, value::argument)?);
    }
    Some(Target::Script(command))
}

fn volume(report: &mut Report, name: &str, at: &At) -> Option<Volume> {
    if let Err(message) = value::name(name, "a volume") {
        report.add(&at.key(), message);
    }
    let map = report.map_of(at, &["source", "filesystem", "mount", "metadata"])?;
    let found = report.need(&map, "source", "say where its bytes are, as in source: { device: /dev/xvdb }");
    let source = found.and_then(|at| source(report, at));
    let filesystem = map.get("filesystem").and_then(|at| {
        if let Some(Source::Nfs { .. }) = source {
            let message = "an nfs export has its filesystem on the server: remove `filesystem`";
            report.add(&at.key(), message);
        }
        filesystem(report, at)
    });
    let found = report.need(&map, "mount", "say where it is mounted, as in mount: /data/NAME");
    // A source that is wrong may be one too.
    let nfs = source.as_ref().is_none_or(|source| matches!(source, Source::Nfs { .. }));
    let mount = found.and_then(|at| mount(report, at, nfs));
    let metadata = map.get("metadata").map(|at| metadata(report, at)).unwrap_or_default();
    let filesystem = filesystem.unwrap_or(DEFAULT_FILESYSTEM);
    Some(Volume { name: name.to_owned(), source: source?, filesystem, mount: mount?, metadata })
}

fn source(report: &mut Report, at: &At) -> Option<Source> {
    let keys: Vec<_> = SOURCE_KINDS.into_iter().chain(SOURCE_EXTRAS.map(|(key, _)| key)).collect();
    let map = report.map_of(at, &keys)?;
    let (kind, found) = report.one_of(&map, &SOURCE_KINDS, "source", "a volume has one, remove the other")?;
    report.extras(&map, kind, &SOURCE_EXTRAS);
    match kind {
        "device" => {
            let path = report.parse(found, value::device)?;
            Some(Source::Device { path, timeout: timeout(report, &map, TIMEOUT) })
        }
        "image" => {
            let path = report.parse(found, value::image);
            let help = "say how large the image is, as in size: 10G";
            let size = report.need(&map, "size", help).and_then(|at| report.parse_word(at, value::size));
            Some(Source::Image { path: path?, size: size? })
        }
        "ebs" => ebs::ebs(report, found, &map).map(Source::Ebs),
        _ => {
            let export = report.parse(found, value::export)?;
            Some(Source::Nfs { export, timeout: timeout(report, &map, TIMEOUT) })
        }
    }
}

fn timeout(report: &mut Report, map: &Map, default: Duration) -> Duration {
    map.get("timeout").and_then(|at| report.parse_word(at, value::duration)).unwrap_or(default)
}

/// What a volume has that says nothing of its filesystem.
pub const DEFAULT_FILESYSTEM: Filesystem =
    Filesystem { kind: FsType::Ext4, label: None, mkfs_options: Vec::new(), format: Format::IfBlank };

fn filesystem(report: &mut Report, at: &At) -> Option<Filesystem> {
    let map = report.map_of(at, &["type", "label", "mkfs-options", "format"])?;
    let format = map.get("format").and_then(|at| report.parse(at, value::format)).unwrap_or_default();
    let kind = match map.get("type") {
        Some(at) => report.parse(at, value::fs_type)?,
        None => DEFAULT_FILESYSTEM.kind,
    };
    let label = map.get("label").and_then(|at| report.parse(at, |text| value::label(text, kind)));
    let mkfs_options = map.get("mkfs-options").map(|at| mkfs_options(report, at, kind)).unwrap_or_default();
    Some(Filesystem { kind, label, mkfs_options, format })
}

fn mkfs_options(report: &mut Report, at: &At, kind: FsType) -> Vec<String> {
    let (items, options): (Vec<_>, Vec<_>) =
        report.list(at, |text| value::filled(text).map(str::to_owned)).into_iter().unzip();
    // With a wrong element left out, its neighbours would look wrong too.
    if matches!(&at.node.value, Value::Seq(all) if all.len() == options.len()) {
        for (nth, message) in mkfs::refused(kind, &options) {
            report.add(&items[nth].place(), message);
        }
    }
    options
}

fn mount(report: &mut Report, at: &At, nfs: bool) -> Option<Mount> {
    if let Value::Str(_) = at.node.value {
        return report.parse(at, value::mount_point).map(Mount::at);
    }
    let map = report.map_of(at, &["at", "options", "owner", "mode", "nonempty"])?;
    let found = report.need(&map, "at", "say where it is mounted, as in at: /data/NAME");
    let point = found.and_then(|at| report.parse(at, value::mount_point));
    let options =
        map.get("options").map(|at| report.list(at, |text| value::mount_option(text, nfs))).unwrap_or_default();
    Some(Mount {
        options: options.into_iter().map(|(_, option)| option).collect(),
        owner: map.get("owner").and_then(|at| report.parse_word(at, value::owner)),
        mode: map.get("mode").and_then(|at| mode(report, at)),
        nonempty: map.get("nonempty").and_then(|at| report.flag(at)).unwrap_or_default(),
        ..Mount::at(point?)
    })
}

/// A number is refused: 0700 and 700 are one to a person, and not to YAML.
fn mode(report: &mut Report, at: &At) -> Option<u32> {
    if let Value::Int(_) = at.node.value {
        report.add(
            &at.place(),
            "a mode must be in quotes, as in mode: \"0700\": without them YAML may read another number",
        );
        return None;
    }
    report.parse(at, value::mode)
}

fn metadata(report: &mut Report, at: &At) -> BTreeMap<String, String> {
    let Some(map) = report.map(at) else {
        return BTreeMap::new();
    };
    let mut metadata = BTreeMap::new();
    for (key, at) in &map.entries {
        if key.is_empty() {
            report.add(&at.key(), format!("a key of {} is empty: write its name", map.at.what()));
        }
        let rule = |text: &str| template::pieces(value::filled(text)?).map(|_| text.to_owned());
        if let Some(text) = report.parse(at, rule) {
            metadata.insert((*key).to_owned(), text);
        }
    }
    metadata
}
