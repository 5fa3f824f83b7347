//! What others wrote in Docker's daemon.json, with our labels merged into it: the result is JSON, ours are there once,
//! the other options stay, a second merge changes nothing, and what is withdrawn is gone.
//!
//! The input is text: a line of pairs, a line of keys to withdraw, then daemon.json.

#![no_main]

mod pairs;

use libfuzzer_sys::fuzz_target;
use pairs::{Keys, Pairs};
use serde_json::Value;
use volinit::publish::swarm::merge;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pairs, withdrawn, conf) = pairs::read(text, |_| true);

    let Ok(merged) = merge(Some(conf), &pairs, &withdrawn) else { return };
    let merged = merged.expect("a file that is there stays");
    check(conf, &merged, &pairs, &withdrawn);
    if pairs.is_empty() && !labels(&mut parse(conf)).iter().any(|label| withdrawn.contains(key(label))) {
        assert_eq!(merged, conf, "nothing of ours is in it");
    }
    assert_eq!(merge(Some(&merged), &pairs, &withdrawn), Ok(Some(merged.clone())), "a second merge");
    let keys = pairs.keys().cloned().collect();
    let without = merge(Some(&merged), &Pairs::new(), &keys).expect("it was read").expect("it is there");
    check(&merged, &without, &Pairs::new(), &keys);
});

/// Between `before` and `after`, these pairs came, these keys went, and nothing else happened.
fn check(before: &str, after: &str, pairs: &Pairs, withdrawn: &Keys) {
    let (mut before, mut after) = (parse(before), parse(after));
    let own = |label: &String| pairs.contains_key(key(label)) || withdrawn.contains(key(label));
    let (theirs, ours) = labels(&mut after).into_iter().partition::<Vec<_>, _>(|label| !own(label));
    let others: Vec<String> = labels(&mut before).into_iter().filter(|label| !own(label)).collect();
    assert_eq!(others, theirs, "others' labels");
    // A label without `=` is one of no value, to dockerd too.
    let mut ours: Vec<(&str, &str)> = ours.iter().map(|label| label.split_once('=').unwrap_or((label, ""))).collect();
    ours.sort_unstable();
    let wanted: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(ours, wanted);
    assert_eq!(before, after, "the other options");
}

fn parse(text: &str) -> Value {
    let text = if text.trim().is_empty() { "{}" } else { text };
    text.parse().expect("it is JSON")
}

/// Takes them out of daemon.json.
fn labels(conf: &mut Value) -> Vec<String> {
    let labels = conf.as_object_mut().expect("it is an object").remove("labels").unwrap_or_default();
    labels.as_array().into_iter().flatten().map(|label| label.as_str().expect("it is a text").to_owned()).collect()
}

fn key(label: &str) -> &str {
    label.split('=').next().unwrap_or_default()
}
