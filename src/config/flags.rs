//! One volume from the command line, by the same rules as the files'. Its problems name the flag.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::decode::{DEFAULT_FILESYSTEM, TIMEOUT};
use crate::config::problem::{Problem, Problems};
use crate::config::schema::{Filesystem, Mount, MountPoint, Source, Volume};
use crate::config::value;

/// `--device`, `--mount`, `--fs` and `--label` as a volume, named after its mount point.
///
/// # Errors
/// Every flag that is wrong.
pub fn volume_from_flags(device: &Path, at: &str, kind: Option<&str>, label: Option<&str>) -> Result<Volume, Problems> {
    let mut problems = Vec::new();
    let mut refuse = |flag: &str, message: String| problems.push(Problem::of(flag, message));
    let path = device.to_str().ok_or_else(|| format!("{} is not UTF-8", device.display()));
    let path = path.and_then(value::device).map_err(|message| refuse("--device", message)).ok();
    let at = value::mount_point(at).map_err(|message| refuse("--mount", message)).ok();
    let kind = match kind {
        Some(text) => value::fs_type(text).map_err(|message| refuse("--fs", message)).ok(),
        None => Some(DEFAULT_FILESYSTEM.kind),
    };
    let label = kind
        .zip(label)
        .and_then(|(kind, text)| value::label(text, kind).map_err(|message| refuse("--label", message)).ok());
    match (path, at, kind) {
        (Some(path), Some(at), Some(kind)) if problems.is_empty() => Ok(Volume {
            name: name(&at),
            source: Source::Device { path, timeout: TIMEOUT },
            filesystem: Filesystem { kind, label, ..DEFAULT_FILESYSTEM },
            mount: Mount::at(at),
            metadata: BTreeMap::new(),
        }),
        _ => Err(Problems(problems)),
    }
}

/// `/data/postgres` is `data-postgres`; what a name cannot hold is `_`.
fn name(at: &MountPoint) -> String {
    let path = at.to_string();
    let name: String = path
        .chars()
        .map(|c| match c {
            '/' => '-',
            c if c.is_ascii_alphanumeric() || "_.-".contains(c) => c,
            _ => '_',
        })
        .collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "volume".to_owned() } else { name.chars().take(64).collect() }
}
