//! The words in braces that a metadata value may hold, and the text with what they stand for.
//! Pure: what a word stands for was found before.

use crate::bytes::Bytes;
use crate::config::MountPoint;

/// The words, each written in braces.
pub const WORDS: &[&str] = &["volume-id", "uuid", "name", "size", "mount"];

/// What the words stand for, for one volume. `None` where nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// `{volume-id}`: the EBS volume's id, from its serial or from the API.
    pub volume_id: Option<String>,
    /// `{uuid}`: the filesystem's.
    pub uuid: Option<String>,
    /// `{name}`: the volume's name in the config.
    pub name: String,
    /// `{size}`: the device's, in bytes, as a number.
    pub size: Option<Bytes>,
    /// `{mount}`: the mount point.
    pub mount: MountPoint,
}

/// Why a template gives no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Braces that do not pair.
    #[error("a brace in {0:?} has no partner: braces go around a word, as in {{volume-id}}")]
    Brace(String),
    /// No word of ours.
    #[error("{{{0}}} is no word: the words are {words}", words = all_words())]
    Unknown(String),
    /// A word that stands for nothing on this volume.
    #[error("the volume `{volume}` has no value for {{{word}}}: {why}")]
    NoValue {
        /// The volume's name.
        volume: String,
        /// The word.
        word: String,
        /// Why, and the way out.
        why: &'static str,
    },
}

/// The words as a person writes them.
fn all_words() -> String {
    WORDS.iter().map(|word| format!("{{{word}}}")).collect::<Vec<_>>().join(", ")
}

/// Whether `template` is well formed, before anything is known about the volume.
pub fn check(template: &str) -> Result<(), TemplateError> {
    let known = |word: &str| WORDS.contains(&word).then(String::new);
    fill(template, |word| known(word).ok_or_else(|| TemplateError::Unknown(word.to_owned()))).map(drop)
}

/// `template` with what its words stand for.
pub fn expand(template: &str, words: &Words) -> Result<String, TemplateError> {
    fill(template, |word| words.value(word))
}

impl Words {
    fn value(&self, word: &str) -> Result<String, TemplateError> {
        let (value, why) = match word {
            "volume-id" => (
                self.volume_id.clone(),
                "its device reports no EBS serial; use {uuid}, or write the id in place of the word",
            ),
            "uuid" => (self.uuid.clone(), "its filesystem reports none; use {name}"),
            "size" => (self.size.map(|size| size.0.to_string()), "its device is not known yet; write the number"),
            "name" => (Some(self.name.clone()), ""),
            "mount" => (Some(self.mount.to_string()), ""),
            unknown => return Err(TemplateError::Unknown(unknown.to_owned())),
        };
        value.ok_or_else(|| TemplateError::NoValue { volume: self.name.clone(), word: word.to_owned(), why })
    }
}

fn fill(template: &str, value: impl Fn(&str) -> Result<String, TemplateError>) -> Result<String, TemplateError> {
    let unpaired = || TemplateError::Brace(template.to_owned());
    let mut text = String::new();
    let mut rest = template;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(brace);
        let (word, after) = from.strip_prefix('{').and_then(|from| from.split_once('}')).ok_or_else(unpaired)?;
        if word.contains('{') {
            return Err(unpaired());
        }
        text.push_str(before);
        text.push_str(&value(word)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words {
            volume_id: Some("vol-5afc0745".into()),
            uuid: Some("0b1c".into()),
            name: "postgres".into(),
            size: Some(Bytes::mib(64)),
            mount: MountPoint::parse("/data/postgres").unwrap(),
        }
    }

    #[test]
    fn words_are_filled_in() {
        for (template, text) in [
            ("", ""),
            ("plain", "plain"),
            ("{volume-id}", "vol-5afc0745"),
            ("a-{uuid}.{name}", "a-0b1c.postgres"),
            ("{size}{mount}", "67108864/data/postgres"),
        ] {
            assert_eq!(expand(template, &words()).as_deref(), Ok(text), "{template}");
        }
        // A value is not a template.
        let odd = Words { name: "{uuid}".into(), ..words() };
        assert_eq!(expand("{name}", &odd).as_deref(), Ok("{uuid}"));
    }

    #[test]
    fn every_word_has_a_value_and_is_checked() {
        for word in WORDS {
            let template = format!("{{{word}}}");
            assert_eq!(check(&template), Ok(()));
            assert!(expand(&template, &words()).is_ok());
        }
    }

    #[test]
    fn errors_say_the_way_out() {
        let bare = Words { volume_id: None, ..words() };
        for (template, error) in [
            (
                "{volume-id}",
                "the volume `postgres` has no value for {volume-id}: its device reports no EBS serial; \
                 use {uuid}, or write the id in place of the word",
            ),
            ("{id}", "{id} is no word: the words are {volume-id}, {uuid}, {name}, {size}, {mount}"),
            ("{name", "a brace in \"{name\" has no partner: braces go around a word, as in {volume-id}"),
            ("name}", "a brace in \"name}\" has no partner: braces go around a word, as in {volume-id}"),
            ("{{name}}", "a brace in \"{{name}}\" has no partner: braces go around a word, as in {volume-id}"),
        ] {
            assert_eq!(expand(template, &bare).unwrap_err().to_string(), error);
        }
    }
}
