//! A way through the tree that remembers how it got there, and the readers of simple values. Every reader
//! reports what is wrong and gives nothing, so that the caller goes on to the next key.

use crate::config::position::{Place, Step};
use crate::config::problem::{Report, any_of, instead, nearest, printable, tick};
use crate::config::tree::{Node, Value};

/// A node and the way to it.
#[derive(Clone, Debug)]
pub struct At<'a> {
    /// The node.
    pub node: &'a Node,
    path: Vec<Step>,
}

/// A node that is a map.
#[derive(Clone, Debug)]
pub struct Map<'a> {
    /// The map itself.
    pub at: At<'a>,
    /// Its keys with their values.
    pub entries: Vec<(&'a str, At<'a>)>,
    /// Those of its keys that it cannot have; they have been reported.
    unknown: Vec<&'a str>,
}

impl<'a> At<'a> {
    /// The top of the tree.
    pub fn top(node: &'a Node) -> At<'a> {
        At { node, path: Vec::new() }
    }

    fn below(&self, step: Step, node: &'a Node) -> At<'a> {
        let mut path = self.path.clone();
        path.push(step);
        At { node, path }
    }

    /// What a problem with the value points at. No value is no place: its key is.
    pub fn place(&self) -> Place {
        Place { on_key: self.node.value == Value::Null, ..self.key() }
    }

    /// What a problem with the key points at, or with what is missing in the value.
    pub fn key(&self) -> Place {
        Place { file: self.node.file, path: self.path.clone(), on_key: true }
    }

    /// What the person would call it.
    pub fn what(&self) -> String {
        let keys = self.path.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Item(_) => None,
        });
        let thing = match keys.collect::<Vec<_>>().as_slice() {
            [] => "the config".to_owned(),
            ["volumes", name] => format!("volume {}", tick(name)),
            ["volumes", name, keys @ ..] => format!("{} of volume {}", tick(&keys.join(".")), tick(name)),
            ["interfaces", name] => format!("interface {}", tick(name)),
            ["interfaces", name, keys @ ..] => format!("{} of interface {}", tick(&keys.join(".")), tick(name)),
            keys => tick(&keys.join(".")),
        };
        match self.path.last() {
            Some(Step::Item(_)) => format!("an element of {thing}"),
            _ => thing,
        }
    }
}

impl<'a> Map<'a> {
    /// The value of `key`, where it is said.
    pub fn get(&self, key: &str) -> Option<&At<'a>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, at)| at)
    }
}

impl Report<'_> {
    fn wrong_type(&mut self, at: &At, wanted: &str) {
        let message = match (&at.node.value, wanted) {
            (Value::Null, _) => format!("{} has no value: give it {wanted}, or remove the key", at.what()),
            (Value::Bool(_) | Value::Int(_) | Value::Float, "a string") => {
                format!("{} must be a string, and this is not one to YAML: put it in quotes", at.what())
            }
            (value, _) => format!("{} must be {wanted}, not {}", at.what(), kind(value)),
        };
        self.add(&at.place(), message);
    }

    /// A map, whatever its keys.
    pub fn map<'a>(&mut self, at: &At<'a>) -> Option<Map<'a>> {
        let Value::Map(entries) = &at.node.value else {
            self.wrong_type(at, "a map");
            return None;
        };
        let entries = entries.iter().map(|(key, node)| (key.as_str(), at.below(Step::Key(key.clone()), node)));
        Some(Map { at: at.clone(), entries: entries.collect(), unknown: Vec::new() })
    }

    /// A map with no other keys than these.
    pub fn map_of<'a>(&mut self, at: &At<'a>, known: &[&str]) -> Option<Map<'a>> {
        let mut map = self.map(at)?;
        for (key, value) in map.entries.iter().filter(|(key, _)| !known.contains(key)) {
            map.unknown.push(key);
            self.add(&value.key(), format!("unknown key {} in {}: {}", tick(key), at.what(), instead(key, known)));
        }
        Some(map)
    }

    /// The value of a key that must be there; `help` says what to write. Where it is misspelt, that has been said.
    pub fn need<'m, 'a>(&mut self, map: &'m Map<'a>, key: &str, help: &str) -> Option<&'m At<'a>> {
        let found = map.get(key);
        if found.is_none() && map.unknown.iter().all(|other| nearest(other, &[key]).is_none()) {
            self.add(&map.at.key(), format!("missing key `{key}` in {}: {help}", map.at.what()));
        }
        found
    }

    /// The one key of `kinds` that a map has, and its value. `thing` is what it says; `advice` is for two of them.
    /// Where the one is misspelt, that has been said.
    pub fn one_of<'m, 'a>(
        &mut self,
        map: &'m Map<'a>,
        kinds: &[&str],
        thing: &str,
        advice: &str,
    ) -> Option<(&'a str, &'m At<'a>)> {
        let what = map.at.what();
        match map.entries.iter().filter(|(key, _)| kinds.contains(key)).collect::<Vec<_>>()[..] {
            [] if map.unknown.iter().any(|key| nearest(key, kinds).is_some()) => None,
            [] => {
                self.add(&map.at.key(), format!("{what} names no {thing}: give it {}", any_of(kinds)));
                None
            }
            [(key, at)] => Some((key, at)),
            [(first, there), (second, at), ..] => {
                let line = self.line_of(&there.key());
                let message = format!("{what} has two {thing}s, `{first}` ({line}) and `{second}`: {advice}");
                self.add(&at.key(), message);
                None
            }
        }
    }

    /// Each key that goes with some kinds only, and not with the one that was said.
    pub fn extras(&mut self, map: &Map, kind: &str, extras: &[(&str, &[&str])]) {
        for (key, kinds) in extras {
            if let Some(extra) = map.get(key).filter(|_| !kinds.contains(&kind)) {
                self.add(&extra.key(), format!("`{key}` goes with {}, not with `{kind}`: remove it", any_of(kinds)));
            }
        }
    }

    /// A list; of what, the caller sees.
    pub fn seq<'a>(&mut self, at: &At<'a>) -> Option<Vec<At<'a>>> {
        match &at.node.value {
            Value::Seq(items) => {
                Some(items.iter().enumerate().map(|(nth, item)| at.below(Step::Item(nth), item)).collect())
            }
            Value::Str(text) => {
                let ends = |c: char| c == ',' || c.is_whitespace();
                let words: Vec<_> = text.split(ends).filter(|word| !word.is_empty()).collect();
                let list = printable(&words.join(", "));
                self.add(&at.place(), format!("{} must be a list: write [{list}]", at.what()));
                None
            }
            _ => {
                self.wrong_type(at, "a list");
                None
            }
        }
    }

    /// A list of strings that `rule` takes; gives those that it took.
    pub fn list<'a, T>(&mut self, at: &At<'a>, rule: impl Fn(&str) -> Result<T, String>) -> Vec<(At<'a>, T)> {
        let items = self.seq(at).unwrap_or_default();
        items.into_iter().filter_map(|item| self.parse(&item, &rule).map(|value| (item, value))).collect()
    }

    /// A string that `rule` takes.
    pub fn parse<T>(&mut self, at: &At, rule: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Value::Str(text) = &at.node.value else {
            self.wrong_type(at, "a string");
            return None;
        };
        rule(text).map_err(|message| self.add(&at.place(), message)).ok()
    }

    /// The same, of what may also be a whole number.
    pub fn parse_word<T>(&mut self, at: &At, rule: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Value::Int(number) = at.node.value else {
            return self.parse(at, rule);
        };
        rule(&number.to_string()).map_err(|message| self.add(&at.place(), message)).ok()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, at: &At) -> Option<bool> {
        let Value::Bool(value) = at.node.value else {
            self.wrong_type(at, "true or false");
            return None;
        };
        Some(value)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Float => "a number",
        Value::Str(_) => "a string",
        Value::Seq(_) => "a list",
        Value::Map(_) => "a map",
    }
}
