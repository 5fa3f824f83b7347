//! What the agent of Mesos is told. Nothing yet: the renderer is to come.
#![allow(clippy::unnecessary_wraps, reason = "the renderer is to come")]

use anyhow::Result;

use super::News;
use super::files::File;
use crate::root::Root;

/// What reads the files when it starts.
pub const SERVICES: [&str; 3] = ["dcos-mesos-slave.service", "dcos-mesos-slave-public.service", "mesos-slave.service"];

/// The files that tell the agent the news: none yet.
pub fn files(_root: &Root, _news: &News<'_>) -> Result<Vec<File>> {
    Ok(Vec::new())
}

/// Tells a person what it takes: nothing yet.
pub fn tell(_root: &Root) -> Result<()> {
    Ok(())
}
