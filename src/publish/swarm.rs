//! What Docker Swarm is told: the metadata as labels of the engine, merged into what others say in dockerd's
//! daemon.json, which dockerd reads again when it is reloaded. Each volume is a named volume of Docker's too, see
//! `named_volume.rs`, and that before the label is there that draws a service to the node.
//!
//! Facts: moby's daemon/reload.go. A `labels` that is gone leaves a running dockerd with the old ones, an empty list does
//! not. What a label's key and value may be, for a constraint to name it, is in config/carried.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::files::{self, Change, Content, File};
use super::json::{members, values};
use super::{News, Published, command, environment, named_volume};
use crate::root::Root;

/// dockerd's config, unless its command line names another.
const CONF: &str = "/etc/docker/daemon.json";

/// What reads it when it starts.
pub const SERVICES: [&str; 1] = ["docker.service"];

/// Why labels cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A file that dockerd itself refuses.
    #[error("it is not JSON ({0}), and dockerd would not start with it: correct it")]
    NotJson(String),
    /// JSON of another kind.
    #[error("it is JSON, but no object in braces, and dockerd would not start with it: correct it")]
    NotObject,
    /// What dockerd does not take for labels, or not as they look.
    #[error("its `labels` must be there once, as a list of strings such as [\"region=us-west\"]: correct it")]
    Labels,
}

/// daemon.json as it is.
pub(super) struct Conf {
    text: Option<String>,
    options: Value,
}

impl Conf {
    fn read(root: &Root) -> Result<Conf> {
        let text = files::read(root, Path::new(CONF))?;
        let options = parse(text.as_deref().unwrap_or_default()).with_context(|| merging(root))?;
        Ok(Conf { text, options })
    }

    /// An option that is a text.
    pub(super) fn option(&self, key: &str) -> Option<&str> {
        self.options[key].as_str()
    }
}

fn merging(root: &Root) -> String {
    format!("merging {}", root.path(CONF).display())
}

/// The files that tell dockerd the news.
pub fn files(root: &Root, News { mounted, pairs, keys: withdrawn, .. }: &News<'_>) -> Result<Vec<File>> {
    let conf = Conf::read(root)?;
    let mut files: Vec<_> = named_volume::missing(root, &conf, mounted)?.into_iter().map(|(_, file)| file).collect();
    let merged = merge(conf.text.as_deref(), pairs, withdrawn).with_context(|| merging(root))?;
    if !mounted.is_empty() {
        no_such_flags(root)?;
    }
    files.extend(merged.map(|text| File { path: CONF.into(), content: Content::Text(text) }));
    Ok(files)
}

/// What has to be done before [`files()`] are written: dockerd looks at its new config, and makes the volumes itself
/// where it runs.
pub fn prepare(root: &Root, files: &[File], mounted: &[&Published<'_>]) -> Result<Vec<Change>> {
    let conf = Conf::read(root)?;
    for file in files.iter().filter(|file| file.path == Path::new(CONF)) {
        if let Content::Text(text) = &file.content
            && conf.text.as_ref() != Some(text)
            && root.is_host()
        {
            validate(text).with_context(|| merging(root))?;
        }
    }
    named_volume::make(root, &conf, mounted)
}

/// The text of daemon.json with `pairs` as labels, and without those of the `withdrawn` keys; all else as it was, byte for
/// byte. `None` where there is no file and nothing to say.
///
/// A list that becomes empty stays: were it gone, a dockerd that runs would keep the labels that it has.
pub fn merge(
    existing: Option<&str>,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Option<String>, MergeError> {
    let Some(text) = existing else {
        return Ok((!pairs.is_empty()).then(|| with_member("{}\n", &merge_labels("[]", &[], pairs, withdrawn))));
    };
    let labels = match &parse(text)?["labels"] {
        Value::Null => Vec::new(),
        Value::Array(labels) if labels.iter().all(Value::is_string) => labels.clone(),
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(MergeError::Labels);
        }
    };
    match &values(text, "labels")[..] {
        // Its name may be there with an escape in it, where it is not looked for.
        [] if !labels.is_empty() => Err(MergeError::Labels),
        [] if pairs.is_empty() => Ok(Some(text.to_owned())),
        [] => {
            let text = if text.trim().is_empty() { "{}\n" } else { text };
            Ok(Some(with_member(text, &merge_labels("[]", &[], pairs, withdrawn))))
        }
        [place] if text[place.clone()].starts_with('[') => {
            let mut new = text.to_owned();
            new.replace_range(place.clone(), &merge_labels(&text[place.clone()], &labels, pairs, withdrawn));
            Ok(Some(new))
        }
        _ => Err(MergeError::Labels),
    }
}

/// An empty file is one without options, to dockerd too.
fn parse(text: &str) -> Result<Value, MergeError> {
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| MergeError::NotJson(error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(MergeError::NotObject) }
}

/// The list `text` of these labels with `pairs` in it: each in the place of the label of the same key, or at the end.
fn merge_labels(
    text: &str,
    labels: &[Value],
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> String {
    let places = members(text);
    let theirs: Vec<&str> = places.iter().map(|place| &text[place.clone()]).collect();
    let mut new = pairs.clone();
    let mut merged: Vec<String> = Vec::new();
    for (label, raw) in labels.iter().filter_map(Value::as_str).zip(&theirs) {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        match pairs.get(key) {
            // Once: of two labels of one key dockerd takes none, and does not start.
            Some(ours) if new.remove(key).is_some() => {
                merged.push(if value == ours { (*raw).to_owned() } else { quoted(key, ours) });
            }
            None if !withdrawn.contains(key) => merged.push((*raw).to_owned()),
            Some(_) | None => {}
        }
    }
    merged.extend(new.iter().map(|(key, value)| quoted(key, value)));
    if merged == theirs {
        return text.to_owned();
    }
    let (Some(first), Some(last)) = (places.first().filter(|_| !merged.is_empty()), places.last()) else {
        return format!("[{}]", merged.join(", "));
    };
    let before = &text[1..first.start];
    let between = match places.get(1) {
        Some(second) => text[first.end..second.start].to_owned(),
        None if before.contains('\n') => format!(",{before}"),
        None => ", ".to_owned(),
    };
    format!("[{before}{}{}]", merged.join(&between), &text[last.end..text.len() - 1])
}

/// A label as JSON.
fn quoted(key: &str, value: &str) -> String {
    Value::from(format!("{key}={value}")).to_string()
}

/// The object `text` with `labels` at its end, indented as its first member is.
fn with_member(text: &str, labels: &str) -> String {
    let open = text.find('{').expect("it is an object");
    let (at, member) = match &members(text)[..] {
        [] => (open + 1, format!("\n  \"labels\": {labels}\n")),
        [first, ..] => {
            let at = members(text).last().map_or(first.end, |last| last.end);
            (at, format!(",{}\"labels\": {labels}", &text[open + 1..first.start]))
        }
    };
    // What was between empty braces is white space.
    let end = if member.starts_with(',') { at } else { text.rfind('}').expect("it is an object") };
    format!("{}{member}{}", &text[..at], &text[end..])
}

/// What dockerd's command line may say, and volinit goes by daemon.json for. With labels in both dockerd does not start;
/// with its volumes or its process elsewhere, the named volume would be made where nobody looks.
const FLAGS: [&str; 6] = ["--label", "--config-file", "--data-root", "--graph", "--pidfile", "--userns-remap"];

fn no_such_flags(root: &Root) -> Result<()> {
    // Debian's unit takes its arguments from this one.
    let mut files = environment::unit_files(root, SERVICES[0])?;
    let debian = PathBuf::from("/etc/default/docker");
    files.extend(files::read(root, &debian)?.map(|text| (debian, text)));
    for (path, text) in &files {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']));
        let words = lines.flat_map(|line| line.split([' ', '\t', '=', '"', '\'']));
        if let Some(flag) = FLAGS.into_iter().find(|flag| words.clone().any(|word| word == *flag)) {
            bail!(
                "{} starts dockerd with {flag}, and volinit goes by {CONF} for that: say it there instead",
                root.path(path).display()
            );
        }
    }
    Ok(())
}

/// Has dockerd look at its config; one before 23.0 cannot, and where there is none nobody would read it yet.
fn validate(text: &str) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new().context("making a temporary file")?;
    file.write_all(text.as_bytes()).context("writing a temporary file")?;
    let path = file.path().display().to_string();
    let output = match command::output(&["dockerd", "--validate", "--config-file", &path], Stdio::null()) {
        Err(error) if error.downcast_ref().is_some_and(|error: &Error| error.kind() == ErrorKind::NotFound) => {
            return Ok(());
        }
        other => other?,
    };
    let said = String::from_utf8_lossy(&output.stderr).replace(&path, "it");
    if output.status.success() || said.contains("unknown flag: --validate") {
        return Ok(());
    }
    bail!("dockerd would not start with the volumes' labels in it, so it stays as it is: {}", said.trim());
}

#[cfg(test)]
#[path = "swarm_tests.rs"]
mod tests;
