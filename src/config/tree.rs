//! The files as one tree: parsed, then merged key by key. Each node knows its file; no key means anything yet,
//! but for those whose value is of one kind or another (see [`merge`]).

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use crate::config::decode::KINDS;
use crate::config::files::File;
use crate::config::position::{self, Place, Step};
use crate::config::problem::{Report, printable, tick};

/// A value, and the file that it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// By number; of a merged map, the last file that added to it.
    pub file: usize,
    /// What it is.
    pub value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing at all, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number; nothing in a config is one, so its value does not matter.
    Float,
    /// Everything else that is one word or line.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A map, in the order of its keys in the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of `key`, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The place at the end of the path, or as far down as the path goes.
    pub fn place(&self, path: &[&str], on_key: bool) -> Place {
        let mut place = Place { file: self.file, path: Vec::new(), on_key };
        let mut node = self;
        for key in path {
            let Some(next) = node.get(key) else { break };
            (node, place.file) = (next, next.file);
            place.path.push(Step::Key((*key).to_owned()));
        }
        place
    }
}

/// All files, parsed and merged; nothing where one is not YAML, since the rest would then look wrong too.
pub fn merged(files: &[File], report: &mut Report) -> Option<Node> {
    let mut tree = Node { file: 0, value: Value::Null };
    for (file, File { text, .. }) in files.iter().enumerate() {
        let complaint = RefCell::new(None);
        let reader = Reader { file, complaint: &complaint };
        match reader.deserialize(serde_yaml::Deserializer::from_str(text)) {
            // A file with comments only says nothing.
            Ok(Node { value: Value::Null, .. }) => {}
            Ok(node) => merge(&mut tree, node),
            Err(error) => {
                let (message, token) = complaint.take().unwrap_or_else(|| not_yaml(&error));
                report.add_at(file, position::at(text, &error, &token), message);
            }
        }
    }
    report.is_empty().then_some(tree)
}

/// The parser's own words, without the position that the problem tells anyway; no token is known.
fn not_yaml(error: &serde_yaml::Error) -> (String, String) {
    let position = error.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
    let message = error.to_string().replacen(&position.unwrap_or_default(), "", 1);
    // It names the keys on its way.
    (format!("this is not YAML: {}", printable(&message)), String::new())
}

/// `later` into `node`: maps key by key, all else replaced. A `source` that names its kind replaces the earlier
/// one whole, else a drop-in could never move a volume from one kind of source to another; so do the others of
/// [`KINDS`].
fn merge(node: &mut Node, later: Node) {
    match (&mut node.value, later.value) {
        (Value::Map(entries), Value::Map(more)) => {
            node.file = later.file;
            for (key, value) in more {
                let kinds = KINDS.iter().find(|(one, _)| *one == key).map_or(&[][..], |(_, kinds)| kinds);
                let moves = kinds.iter().any(|kind| value.get(kind).is_some());
                match entries.iter_mut().find(|(name, _)| *name == key) {
                    Some((_, old)) if moves => *old = value,
                    Some((_, old)) => merge(old, value),
                    None => entries.push((key, value)),
                }
            }
        }
        (_, value) => *node = Node { file: later.file, value },
    }
}

/// Reads one node; complaints of our own are left beside the error, which would dress them up.
#[derive(Clone, Copy)]
struct Reader<'a> {
    file: usize,
    /// A message, and the token that it is about.
    complaint: &'a RefCell<Option<(String, String)>>,
}

impl Reader<'_> {
    fn node(self, value: Value) -> Node {
        Node { file: self.file, value }
    }

    fn refuse<E: Error>(self, message: String, token: &str) -> E {
        *self.complaint.borrow_mut() = Some((message, token.to_owned()));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    /// The whole of a file that has no document in it.
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(Value::Int(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(Value::Int(value.into())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(self.node(Value::Float))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(self.node(Value::Str(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(self.node(Value::Seq(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(NewKey { reader: self, entries: &entries })? {
            entries.push((key, map.next_value_seed(self)?));
        }
        Ok(self.node(Value::Map(entries)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.refuse("a YAML tag (`!…`) means nothing here: leave it out, or quote the value".into(), ""))
    }
}

/// Reads a key that is not among the entries; it fails at the key itself, so that the error points at it.
struct NewKey<'a> {
    reader: Reader<'a>,
    entries: &'a [(String, Node)],
}

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if self.entries.iter().any(|(name, _)| name == key) {
            let message = format!("the key {} is in this map already: remove one of the two", tick(key));
            return Err(self.reader.refuse(message, key));
        }
        Ok(key.to_owned())
    }
}
