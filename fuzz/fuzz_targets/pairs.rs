//! What the inputs of the mergers' targets begin with: a line of pairs, and one of keys to withdraw.

use std::collections::{BTreeMap, BTreeSet};

pub type Pairs = BTreeMap<String, String>;
pub type Keys = BTreeSet<String>;

/// The pairs and the keys of the first two lines, as far as `is_key` takes them, and the rest of the input. No key is
/// both there and to be withdrawn.
pub fn read(text: &str, is_key: fn(&str) -> bool) -> (Pairs, Keys, &str) {
    let mut parts = text.splitn(3, '\n');
    let (first, second, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let pairs = first.unwrap_or_default().split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.filter(|(key, _)| is_key(key)).map(|(key, value)| (key.to_owned(), value.to_owned()));
    let pairs: Pairs = pairs.collect();
    let withdrawn = second.unwrap_or_default().split(',').filter(|key| is_key(key) && !pairs.contains_key(*key));
    let withdrawn = withdrawn.map(str::to_owned).collect();
    (pairs, withdrawn, rest)
}
