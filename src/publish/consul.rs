//! What the agent of Consul is told: the volume's metadata as its node's, in a file of volinit's own in the folder of
//! its config, of which it reads all (developer.hashicorp.com/consul: `-config-dir`, `node_meta`).

use anyhow::Result;
use serde_json::Value;

use super::files::{Content, File};
use super::{News, json};

/// What reads the files when it starts; it reads them again by SIGHUP.
pub const SERVICES: [&str; 1] = ["consul.service"];

/// A file for each volume.
pub fn files(news: &News<'_>) -> Result<Vec<File>> {
    news.each(
        |name| format!("/etc/consul.d/volinit-{name}.json"),
        |published| {
            let metadata = published.metadata()?;
            if metadata.is_empty() {
                return Ok(Content::Absent);
            }
            let metadata: Value = metadata.into_iter().collect();
            Ok(Content::Text(json(&Value::from_iter([("node_meta", metadata)]))))
        },
    )
}
