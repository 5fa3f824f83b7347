//! What any unit may be told: a file for its `EnvironmentFile=`, with what is known of the volume. Under /run: it is true
//! until the next boot.

use anyhow::Result;

use super::files::{Content, File};
use super::{News, envfile};

/// A file for each volume; what is not known of it is not in there.
pub fn files(news: &News<'_>) -> Result<Vec<File>> {
    news.each(
        |name| format!("/run/volinit/env/{name}"),
        |published| {
            let facts = published.words.facts();
            let known = facts
                .into_iter()
                .filter_map(|(fact, value)| Some((format!("VOLINIT_{}", fact.to_uppercase()), value?)));
            Ok(Content::Text(known.map(|(name, value)| envfile::line(&name, &value)).collect()))
        },
    )
}
