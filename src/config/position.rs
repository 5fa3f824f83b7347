//! Line and column of a place in a YAML text, for error messages only.
//!
//! `yaml_serde` tells no positions while all goes well, but its errors carry the mark of the innermost event
//! that they happened at. So the text is read once more, down to the place, and there the reading is made to
//! fail: the error's location is the position. Slow, exact, and there is no second YAML parser to disagree.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a map, by key.
    Key(String),
    /// Into a list, by index.
    Item(usize),
}

/// A place in one of the files: what a problem points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which file.
    pub file: usize,
    /// The way down to it.
    pub path: Vec<Step>,
    /// The last step's key, or else its value.
    pub on_key: bool,
}

/// Where to look: what an error message shows of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line's number, from 1.
    pub line: usize,
    /// The character's number in the line, from 1.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// How many characters are meant, from `column` on.
    pub width: usize,
}

/// Where the place is in `text`, its file's.
pub fn find(text: &str, place: &Place) -> Option<Position> {
    let token = RefCell::new(String::new());
    let walk = Walk { path: &place.path, on_key: place.on_key, token: &token };
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    at(text, &error, &token.borrow())
}

/// The place that the error points at; `token` is what stands there, where that is known.
pub fn at(text: &str, error: &serde_yaml::Error, token: &str) -> Option<Position> {
    let location = error.location()?;
    let (line, column) = (location.line(), location.column());
    // What ends a line for libyaml ends it here, or the numbers would part ways.
    let shown = text.replace("\r\n", "\n");
    let ends = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    // What is missing at the end of the text is missing on the line after it.
    let shown = shown.split(ends).nth(line - 1).unwrap_or_default();
    let rest: String = shown.chars().skip(column - 1).collect();
    Some(Position { line, column, text: shown.to_owned(), width: width(&rest, token) })
}

/// How many characters of `rest` the token takes; 1 where it is written in a way that hides it (folded, escaped).
fn width(rest: &str, token: &str) -> usize {
    let bare = token.chars().count();
    match rest.chars().next() {
        _ if token.is_empty() => 1,
        Some('"' | '\'') if rest[1..].starts_with(token) => bare + 2,
        _ if rest.starts_with(token) => bare,
        _ => 1,
    }
}

/// Walks down the path and fails at its end.
struct Walk<'a> {
    path: &'a [Step],
    on_key: bool,
    /// Where the scalar's text is left.
    token: &'a RefCell<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.path {
            // Of a scalar this gives the text as it is written; anything else is an error as it stands.
            [] => deserializer.deserialize_str(Stop(self.token)),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("what the path leads through")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), path)) = self.path.split_first() else {
            return Err(A::Error::custom("a list was here"));
        };
        let stop = self.on_key && path.is_empty();
        while let Some(found) = map.next_key_seed(Key { wanted, stop, token: self.token })? {
            if found {
                return map.next_value_seed(Walk { path, ..self });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("the key was here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Step::Item(index), path)) = self.path.split_first() else {
            return Err(A::Error::custom("a map was here"));
        };
        for _ in 0..*index {
            seq.next_element::<IgnoredAny>()?;
        }
        seq.next_element_seed(Walk { path, ..self })?;
        Err(A::Error::custom("the element was here"))
    }
}

/// Whether a key is the wanted one; on demand, fails there.
struct Key<'a> {
    wanted: &'a str,
    stop: bool,
    token: &'a RefCell<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        if self.stop && key == self.wanted {
            return Stop(self.token).visit_str(key).map(|()| true);
        }
        Ok(key == self.wanted)
    }
}

/// Fails at whatever it meets.
struct Stop<'a>(&'a RefCell<String>);

impl Visitor<'_> for Stop<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the end of the path")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        text.clone_into(&mut self.0.borrow_mut());
        Err(E::custom("the path ends here"))
    }
}
