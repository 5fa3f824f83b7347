//! Lists of pairs on one line, as fleet, Mesos and the kubelet have them: ours merged into what others say. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// A list of pairs with `pairs` in it: each in the place of the pair of the same key, or at the end; those of
/// `withdrawn` keys gone. What is no pair is kept: it is somebody's. `between` are what divides two pairs, and a key
/// from its value.
pub(super) fn merge(
    existing: &str,
    between: (char, char),
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> String {
    let mut new = pairs.clone();
    let pair = |key: &str, value: &str| [key, value].join(between.1.encode_utf8(&mut [0; 4]));
    let theirs = existing.split(between.0).filter(|_| !existing.is_empty());
    let mut merged: Vec<String> = theirs
        .filter_map(|theirs| match key(theirs, between.1) {
            // Once: of two pairs of one key the last would count.
            Some(key) if pairs.contains_key(key) => new.remove(key).map(|value| pair(key, &value)),
            Some(key) if withdrawn.contains(key) => None,
            Some(_) | None => Some(theirs.to_owned()),
        })
        .collect();
    merged.extend(new.iter().map(|(key, value)| pair(key, value)));
    merged.join(between.0.encode_utf8(&mut [0; 4]))
}

/// A pair's key, without white space around it; `None` of what is no pair.
pub(super) fn key(pair: &str, between: char) -> Option<&str> {
    pair.split_once(between).map(|(key, _)| key.trim())
}
