//! What is remembered of a volume between boots: which filesystem it was. So that another disk under the
//! same name, attached by mistake, is not taken for it. Of what EC2 attached, also what it said then: a boot that
//! finds it there asks nobody.

mod link;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use log::warn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use link::Link;

use crate::config::VolumeId;
use crate::probe::Superblock;
use crate::publish::{CloudWords, Content, File, files};
use crate::root::Root;

/// What is kept of a volume, or of a network interface, in a file of its own.
pub trait Record: Serialize + DeserializeOwned {
    /// The folder of its files below /var/lib/volinit.
    const FOLDER: &'static str;
    /// Whether it is there at all: what EC2 said is written, and read, with the feature `ec2` alone.
    const KEPT: bool = true;
}

/// A volume as it was when it last stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The filesystem's UUID, with hyphens.
    pub uuid: String,
    /// Its type: `ext4`, `xfs`, `btrfs`.
    pub r#type: String,
    /// The EBS volume id that its device reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<String>,
    /// The consent by which it was erased before that; it works once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<String>,
}

impl Remembered {
    /// What is to be remembered of a volume that stands.
    pub fn of(found: &Superblock, volume_id: Option<String>, erased: Option<String>) -> Remembered {
        Remembered { uuid: found.uuid.clone(), r#type: found.kind.name().to_owned(), volume_id, erased }
    }
}

impl Record for Remembered {
    const FOLDER: &'static str = "volumes";
}

/// A volume that EC2 attached here. Whether it ever stood is another question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// `vol-…`
    pub volume_id: String,
    /// What EC2 said of it.
    pub words: CloudWords,
}

impl Attached {
    /// Its id, where it is one.
    pub fn id(&self) -> Option<VolumeId> {
        VolumeId::parse(&self.volume_id)
    }
}

impl Record for Attached {
    const FOLDER: &'static str = "attached";
    const KEPT: bool = cfg!(feature = "ec2");
}

/// The file that holds it, as the machine sees it.
pub fn path<T: Record>(name: &str) -> PathBuf {
    format!("/var/lib/volinit/{}/{name}.json", T::FOLDER).into()
}

/// What is remembered under this name. A record that can't be read must not keep a boot from coming up: it is as if
/// there were none, and a new one is written.
pub fn recall<T: Record>(root: &Root, name: &str) -> Option<T> {
    if T::KEPT { read(root, name, &path::<T>(name)) } else { None }
}

/// Remembers it; the file is touched only where it says something else.
pub fn remember<T: Record>(root: &Root, name: &str, record: &T) -> Result<()> {
    write(root, path::<T>(name), record)
}

/// Forgets it.
pub fn forget<T: Record>(root: &Root, name: &str) -> Result<()> {
    files::write(root, &[File { path: path::<T>(name), content: Content::Absent }])?;
    Ok(())
}

const SIGNALS: &str = "/var/lib/volinit/signals.json";

/// Who has been told that this instance came up.
pub fn recall_signals(root: &Root) -> Vec<String> {
    read(root, "signal", Path::new(SIGNALS)).unwrap_or_default()
}

/// Remembers who has been told.
pub fn remember_signals(root: &Root, told: &[String]) -> Result<()> {
    write(root, SIGNALS.into(), &told)
}

fn read<T: DeserializeOwned>(root: &Root, name: &str, path: &Path) -> Option<T> {
    let text = files::read(root, path).unwrap_or_else(|error| {
        warn!("{name}: {error:#}");
        None
    })?;
    serde_json::from_str(&text)
        .inspect_err(|error| {
            warn!("{name}: {} is not a record of volinit's, and is made anew: {error}", path.display());
        })
        .ok()
}

fn write(root: &Root, path: PathBuf, record: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(record).context("writing JSON")? + "\n";
    files::write(root, &[File { path, content: Content::Text(text) }])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_nonsense_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let volume = Remembered { uuid: "0b1c".into(), r#type: "xfs".into(), volume_id: None, erased: None };
        assert_eq!(recall::<Remembered>(&root, "pg"), None);
        remember(&root, "pg", &volume).unwrap();
        assert_eq!(recall(&root, "pg"), Some(volume));
        std::fs::write(root.path(path::<Remembered>("pg")), "{").unwrap();
        assert_eq!(recall::<Remembered>(&root, "pg"), None);
    }
}
