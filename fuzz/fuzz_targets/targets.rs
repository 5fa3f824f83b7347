//! What others wrote in the files of the agents of Mesos and ECS and of the kubelet, with our pairs merged in: other
//! lines stay, a second merge changes nothing, and where none of the keys was there, what is taken back is as it was.
//!
//! The input is text: a line of pairs, then the file. Each merger reads it, by its own variable: `$` stands for it.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use volinit::publish::mergers::{ecs, kubernetes, mesos};

type Pairs = BTreeMap<String, String>;
type Keys = BTreeSet<String>;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let pairs: Pairs = first.split(',').filter_map(pair).collect();
    check("MESOS_ATTRIBUTES", rest, &pairs, &|text, pairs, gone| mesos(text, "public_ip:true", pairs, gone).ok());
    check("ECS_INSTANCE_ATTRIBUTES", rest, &pairs, &|text, pairs, gone| ecs(text, pairs, gone).ok());
    check("KUBELET_EXTRA_ARGS", rest, &pairs, &|text, pairs, gone| kubernetes(text, pairs, gone).ok());
});

/// The file's text with pairs and without keys; none where no file need be, nothing where it is an error.
type Merge<'a> = &'a dyn Fn(Option<&str>, &Pairs, &Keys) -> Option<Option<String>>;

fn check(variable: &str, text: &str, pairs: &Pairs, merge: Merge<'_>) {
    let text = text.replace('$', variable);
    let Some(merged) = merge(Some(&text), pairs, &Keys::new()) else { return };
    let merged = merged.expect("a file that is there stays");
    assert_eq!(others(&text, variable), others(&merged, variable), "others' lines");
    for (key, value) in pairs {
        assert!(merged.contains(key.as_str()) && merged.contains(value.as_str()), "{merged:?}");
    }
    assert_eq!(merge(Some(&merged), pairs, &Keys::new()), Some(Some(merged.clone())), "a second merge of {text:?}");
    let keys: Keys = pairs.keys().cloned().collect();
    let back = merge(Some(&merged), &Pairs::new(), &keys).expect("it was read").unwrap_or_default();
    // A list of nothing is none.
    let none = |text: &str| text.replace("={}", "=").replace(' ', "").replace("--node-labels=", "");
    let there = keys.iter().any(|key| text.contains(key.as_str()));
    assert!(there || none(back.trim_end()) == none(text.trim_end()), "{text:?} became {back:?}");
}

/// The lines that do not set the variable, and are not ours.
fn others<'a>(text: &'a str, variable: &str) -> Vec<&'a str> {
    let theirs = |line: &&str| !line.contains(variable) && !line.starts_with("# The next line is volinit's");
    text.split('\n').map(str::trim_end).filter(theirs).filter(|line| !line.is_empty()).collect()
}

/// A pair that all three can carry.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let plain = |text: &str| {
        let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        ends && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    (plain(key) && plain(value)).then(|| (key.to_owned(), value.to_owned()))
}
