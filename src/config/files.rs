//! Finds the config's files and reads them. Knows nothing of what is in them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::config::problem::{Problem, Problems};
use crate::root::Root;

/// Later wins: the vendor's, the administrator's, this boot's (as in systemd's file hierarchy).
const FOLDERS: [&str; 3] = ["/usr/lib/volinit", "/etc/volinit", "/run/volinit"];

/// One file, read.
#[derive(Debug)]
pub struct File {
    /// As it was opened, and as it is printed.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// The files under `root` in the order in which they are merged.
pub fn find(root: &Root) -> Result<Vec<File>, Problems> {
    let mut problems = Vec::new();
    let mut paths = Vec::new();
    let mut drop_ins: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS.map(|folder| root.path(folder)) {
        let main = folder.join("volinit.yaml");
        // A link to nowhere is there and cannot be read, which is worth a word; a file that is not there is not.
        if fs::symlink_metadata(&main).is_ok() {
            paths.push(main);
        }
        match drop_ins_of(&folder.join("conf.d")) {
            Ok(found) => drop_ins.extend(found),
            Err(problem) => problems.extend(problem.0),
        }
    }
    paths.extend(drop_ins.into_values());
    let mut files = match read_all(&paths) {
        Ok(files) => files,
        Err(more) => {
            problems.extend(more.0);
            Vec::new()
        }
    };
    // An empty file says nothing; by now it has masked the one that it was there to mask.
    files.retain(|file| !file.text.is_empty());
    if files.is_empty() && problems.is_empty() {
        problems.push(Problem::of("volinit.yaml", nowhere(root)));
    }
    if problems.is_empty() { Ok(files) } else { Err(Problems(problems)) }
}

/// Whether there is a config at all, right or wrong.
pub fn are_there(root: &Root) -> bool {
    FOLDERS.map(|folder| root.path(folder)).iter().any(|folder| {
        let main = fs::symlink_metadata(folder.join("volinit.yaml")).is_ok();
        main || drop_ins_of(&folder.join("conf.d")).map_or(true, |found| !found.is_empty())
    })
}

/// Those files, in that order.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<File>, Problems> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(text) => files.push(File { path: path.clone(), text }),
            Err(message) => problems.push(Problem::of(path.display(), message)),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(Problems(problems)) }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].split(|byte| *byte == b'\n').count();
        format!("is not UTF-8 text: the first wrong byte is on line {line}; save the file as UTF-8")
    })?;
    // A byte order mark means nothing in UTF-8, and libyaml would count it as a column.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Name to path of the folder's drop-ins.
fn drop_ins_of(folder: &Path) -> Result<Vec<(OsString, PathBuf)>, Problems> {
    let refused = |path: &Path, message: String| Problems(vec![Problem::of(path.display(), message)]);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refused(folder, unreadable(&error))),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| refused(folder, unreadable(&error)))?;
        let (name, path) = (entry.file_name(), entry.path());
        let hidden = name.as_encoded_bytes().starts_with(b".");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") if !hidden => found.push((name, path)),
            // Nothing would say that it is not read, and a volume would be missing.
            Some("yml") if !hidden => {
                return Err(refused(&path, "would not be read: rename it to end in .yaml".to_owned()));
            }
            // Left by an editor or a package manager.
            _ => {}
        }
    }
    Ok(found)
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

fn nowhere(root: &Root) -> String {
    let [vendor, admin, boot] = FOLDERS.map(|folder| root.path(folder).display().to_string());
    format!(
        "there is no config: looked for volinit.yaml and conf.d/*.yaml in {vendor}, {admin} and {boot}. \
         Write {admin}/volinit.yaml, name a file with --config FILE, or name one volume with --device and --mount"
    )
}
