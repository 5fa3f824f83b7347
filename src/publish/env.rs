//! What any unit may be told: a file for its `EnvironmentFile=`, with what is known of the volume. Under /run: it is
//! true until the next boot.

use anyhow::Result;

use super::files::File;
use super::{News, envfile};

/// A file for each volume; what is not known of it is not in there.
pub fn files(news: &News<'_>) -> Result<Vec<File>> {
    news.each(("/run/volinit/env/", ""), |published| {
        let mut text = String::new();
        for (fact, value) in published.words.facts() {
            if let Some(value) = value {
                text += &envfile::line(&format!("VOLINIT_{}", fact.to_ascii_uppercase()), &value);
            }
        }
        Ok(Some(text))
    })
}
