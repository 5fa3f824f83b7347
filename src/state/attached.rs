//! What EC2 said of a volume when it was attached here, so that a boot that finds its disk asks nobody.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::publish::CloudWords;
use crate::root::Root;

/// A volume that was attached here. Whether it ever stood is another question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// `vol-…`
    pub volume_id: String,
    /// What EC2 said of it.
    pub words: CloudWords,
}

fn path(name: &str) -> PathBuf {
    format!("/var/lib/volinit/attached/{name}.json").into()
}

/// What is remembered of the volume of this name.
#[cfg(feature = "ec2")]
pub fn recall_attached(root: &Root, name: &str) -> Option<Attached> {
    super::read(root, name, &path(name))
}

/// Without the feature nothing is attached.
#[cfg(not(feature = "ec2"))]
pub fn recall_attached(_: &Root, _: &str) -> Option<Attached> {
    None
}

/// Remembers it; the file is touched only where it says something else.
pub fn remember_attached(root: &Root, name: &str, attached: &Attached) -> Result<()> {
    super::write(root, path(name), attached)
}

/// Forgets it.
pub fn forget_attached(root: &Root, name: &str) -> Result<()> {
    super::remove(root, path(name))
}
