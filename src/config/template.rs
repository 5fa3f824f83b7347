//! The templates of metadata values: text with words in braces, as in `{volume-id}`. Says what a template
//! consists of; what the words stand for, [`crate::publish`] knows.

use crate::config::problem::{instead, tick};

/// What may stand in braces.
pub const TEMPLATE_WORDS: [&str; 5] = ["volume-id", "uuid", "name", "size", "mount"];

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stands for itself.
    Text(&'a str),
    /// One of [`TEMPLATE_WORDS`].
    Word(&'a str),
}

/// The template's parts, in order.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let unbalanced = || format!("{} has a brace without its partner: write {{word}}", tick(template));
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(brace) = rest.find(['{', '}']) {
        let (text, tail) = rest.split_at(brace);
        let (word, tail) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or_else(unbalanced)?;
        if word.contains('{') {
            return Err(unbalanced());
        }
        if !TEMPLATE_WORDS.contains(&word) {
            return Err(format!(
                "unknown word {} in {}: {}",
                tick(word),
                tick(template),
                instead(word, &TEMPLATE_WORDS)
            ));
        }
        pieces.extend([Piece::Text(text), Piece::Word(word)]);
        rest = tail;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_words() {
        assert_eq!(pieces("{volume-id}").unwrap(), [Piece::Word("volume-id")]);
        assert_eq!(
            pieces("a{uuid}{name}b").unwrap(),
            [Piece::Text("a"), Piece::Word("uuid"), Piece::Word("name"), Piece::Text("b")]
        );
        assert_eq!(pieces("plain").unwrap(), [Piece::Text("plain")]);
        for wrong in ["{", "}", "a{b", "{{uuid}}", "{uuid", "uuid}", "{}", "{volume id}"] {
            assert!(pieces(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            pieces("{volumeid}").unwrap_err(),
            "unknown word `volumeid` in `{volumeid}`: did you mean `volume-id`?"
        );
    }
}
