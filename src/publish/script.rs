//! A program of the user's that is told of the volumes: all that is known of each, as JSON on its standard input.
//! What it was told is under /run, a file for each volume, so that it is started when there is news and not before; it
//! is told of all of them each time, also of those of other runs. It is started without a shell.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Map, Value};

use super::files::{self, File};
use super::{News, command, json, object};
use crate::root::Root;

/// Where what this program was told is remembered. Its arguments may be any text, which a file's name may not.
pub fn folder(command: &[String]) -> String {
    let mut hasher = DefaultHasher::new();
    command.hash(&mut hasher);
    format!("/run/volinit/told/{:016x}", hasher.finish())
}

/// What it is to be told of each volume.
pub fn files(command: &[String], news: &News<'_>) -> Result<Vec<File>> {
    let folder = folder(command);
    let file = |name: &str, volume: &Value| File::of(format!("{folder}/{name}.json"), Some(json(volume)));
    let mut files = Vec::new();
    for published in &news.mounted {
        let mut volume = Map::new();
        for (fact, value) in published.words.facts() {
            let size = published.words.size.filter(|_| fact == "size");
            volume.insert(fact.to_owned(), size.map_or_else(|| value.into(), |size| size.0.into()));
        }
        volume.insert("state".to_owned(), "mounted".into());
        volume.insert("metadata".to_owned(), object(published.metadata()?));
        files.push(file(&published.volume.name, &volume.into()));
    }
    for volume in &news.withdrawn {
        let at = volume.mount.at.to_string();
        let gone = [("state", "withdrawn"), ("name", &volume.name), ("mount", &at)];
        files.push(file(&volume.name, &object(gone.map(|(key, value)| (key.to_owned(), value.to_owned())))));
    }
    Ok(files)
}

/// Runs the program to its end, with what is in its folder.
///
/// # Errors
/// With what it wrote as its errors; it is told again by the next run.
pub fn tell(root: &Root, command: &[String]) -> Result<()> {
    let folder = folder(command);
    let mut volumes = Vec::new();
    for name in files::list(root, folder.as_ref())?.iter().filter(|name| !name.starts_with('.')) {
        volumes.extend(files::read(root, &Path::new(&folder).join(name))?);
    }
    let told = format!("{{\"version\":1,\"volumes\":[\n{}]}}\n", volumes.join(","));
    // A file, so that a program that reads nothing keeps nobody waiting.
    let stdin = memfd_create("volinit-told", MFdFlags::MFD_CLOEXEC).context("making a file in memory")?;
    let mut stdin = std::fs::File::from(stdin);
    stdin.write_all(told.as_bytes()).and_then(|()| stdin.rewind()).context("writing a file in memory")?;
    let program = root.path(&command[0]).display().to_string();
    let argv: Vec<&str> = [program.as_str()].into_iter().chain(command[1..].iter().map(String::as_str)).collect();
    command::run(&argv, stdin.into())
}
