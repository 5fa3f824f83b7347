//! What the agent of Consul is told: the volume's metadata as its node's, in a file of volinit's own in the folder of
//! its config, of which it reads all (developer.hashicorp.com/consul: `-config-dir`, `node_meta`).

use anyhow::Result;
use serde_json::Map;

use super::files::File;
use super::{News, Published, json, object};

/// What reads the files when it starts; it reads them again by SIGHUP.
pub const SERVICES: [&str; 1] = ["consul.service"];

/// A file for each volume.
pub fn files(news: &News<'_>) -> Result<Vec<File>> {
    news.each(("/etc/consul.d/volinit-", ".json"), text)
}

fn text(published: &Published<'_>) -> Result<Option<String>> {
    let metadata = published.metadata()?;
    Ok((!metadata.is_empty()).then(|| {
        let mut file = Map::new();
        file.insert("node_meta".to_owned(), object(metadata));
        json(&file.into())
    }))
}
