//! The templates of metadata values: text with words in braces, as in `{volume-id}`. Says what a template
//! consists of; what the words stand for, [`crate::publish`] knows.

use crate::config::problem::{instead, tick};

/// What may stand in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `{volume-id}`: the EBS volume's id.
    VolumeId,
    /// `{uuid}`: the filesystem's.
    Uuid,
    /// `{name}`: the volume's name in the config.
    Name,
    /// `{size}`: the device's, in bytes.
    Size,
    /// `{mount}`: the mount point.
    Mount,
    /// `{slot}`: the value of the pool's `slot-tag`.
    Slot,
    /// `{zone}`: the availability zone.
    Zone,
    /// `{address}`: the private IP address of the network interface.
    Address,
}

impl Word {
    /// All of them.
    pub const ALL: [Word; 8] =
        [Word::VolumeId, Word::Uuid, Word::Name, Word::Size, Word::Mount, Word::Slot, Word::Zone, Word::Address];

    /// As it is written, without the braces.
    pub fn name(self) -> &'static str {
        match self {
            Word::VolumeId => "volume-id",
            Word::Uuid => "uuid",
            Word::Name => "name",
            Word::Size => "size",
            Word::Mount => "mount",
            Word::Slot => "slot",
            Word::Zone => "zone",
            Word::Address => "address",
        }
    }
}

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stands for itself.
    Text(&'a str),
    /// Stands for what it names.
    Word(Word),
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
        let Some(known) = Word::ALL.into_iter().find(|known| known.name() == word) else {
            let instead = instead(word, &Word::ALL.map(Word::name));
            return Err(format!("unknown word {} in {}: {instead}", tick(word), tick(template)));
        };
        pieces.extend([Piece::Text(text), Piece::Word(known)]);
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
        assert_eq!(pieces("{volume-id}").unwrap(), [Piece::Word(Word::VolumeId)]);
        assert_eq!(
            pieces("a{uuid}{name}b").unwrap(),
            [Piece::Text("a"), Piece::Word(Word::Uuid), Piece::Word(Word::Name), Piece::Text("b")]
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
