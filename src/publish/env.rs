//! The environment files for any unit. Nothing yet: the renderer is to come.
#![allow(clippy::unnecessary_wraps, reason = "the renderer is to come")]

use anyhow::Result;

use super::News;
use super::files::File;
use crate::root::Root;

/// The files: none yet.
pub fn files(_root: &Root, _news: &News<'_>) -> Result<Vec<File>> {
    Ok(Vec::new())
}
