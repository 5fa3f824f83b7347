//! A program of the user's that is told of the volumes. Nothing yet: it is to come.
#![allow(clippy::unnecessary_wraps, reason = "the renderer is to come")]

use anyhow::Result;

use super::News;
use super::files::File;
use crate::root::Root;

/// What the program was told is in here: nothing yet.
pub fn folder(command: &[String]) -> String {
    command.join(" ")
}

/// The files: none yet.
pub fn files(_command: &[String], _news: &News<'_>) -> Result<Vec<File>> {
    Ok(Vec::new())
}

/// Runs the program: not yet.
pub fn tell(_root: &Root, _command: &[String]) -> Result<()> {
    Ok(())
}
