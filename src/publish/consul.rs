//! What the agent of Consul is told. Nothing yet: the renderer is to come.
#![allow(clippy::unnecessary_wraps, reason = "the renderer is to come")]

use anyhow::Result;

use super::News;
use super::files::File;
use crate::root::Root;

/// What reads the files when it starts.
pub const SERVICES: [&str; 1] = ["consul.service"];

/// The files that tell Consul the news: none yet.
pub fn files(_root: &Root, _news: &News<'_>) -> Result<Vec<File>> {
    Ok(Vec::new())
}
