//! What others wrote for fleet, with our pairs merged into it: in fleet.conf and in the drop-in for its environment.
//! Ours are there, others' stay in their order, a second merge changes nothing, and what is withdrawn is gone.
//!
//! The input is text: a line of pairs, a line of keys to withdraw, then fleet.conf; a line `---` ends that and begins
//! fleet.service.

#![no_main]

mod pairs;

use libfuzzer_sys::fuzz_target;
use pairs::{Keys, Pairs};
use volinit::publish::fleet::{drop_in, merge_conf, metadata, metadata_in_unit};
use volinit::publish::{Content, File};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The values may be some that fleet does not take.
    let (pairs, withdrawn, rest) = pairs::read(text, is_key);
    let (conf, unit) = rest.split_once("\n---\n").unwrap_or((rest, ""));

    let Ok(merged) = merge_conf(Some(conf), &pairs, &withdrawn) else {
        return;
    };
    let merged = merged.expect("a file that is there stays");
    // A quote inside a value is a mistake of its writer's: with a pair replaced, another quote may close the value.
    if !metadata(conf).contains(['"', '\'']) {
        check(&metadata(conf), &metadata(&merged), &pairs, &withdrawn);
        assert_eq!(merge_conf(Some(&merged), &pairs, &withdrawn), Ok(Some(merged.clone())), "a second merge");
        let keys = pairs.keys().cloned().collect();
        let without = merge_conf(Some(&merged), &Pairs::new(), &keys).expect("it was read").expect("it is there");
        check(&metadata(&merged), &metadata(&without), &Pairs::new(), &keys);
    }

    environment(unit, &metadata(&merged), &pairs, &withdrawn);
});

/// The drop-in, for a fleet.service of this text.
fn environment(unit: &str, conf: &str, pairs: &Pairs, withdrawn: &Keys) {
    let base = metadata_in_unit(unit).unwrap_or_else(|| conf.replace('%', "%%"));
    // No environment can hold a zero byte; it is left out.
    let base = base.replace('\0', "");
    let made = |ours: Option<&str>, pairs: &Pairs, withdrawn: &Keys| {
        let files = drop_in(unit, ours, conf, pairs, withdrawn).expect("nobody else has a drop-in");
        files.into_iter().find_map(|File { content, .. }| match content {
            Content::Text(text) => Some(text),
            Content::Link(_) | Content::Absent => None,
        })
    };
    let escaped = pairs.iter().map(|(key, value)| (key.clone(), value.replace('%', "%%"))).collect();
    let Some(text) = made(None, pairs, withdrawn) else {
        assert!(pairs.is_empty());
        return;
    };
    assert_eq!(text.lines().count(), 4, "a value breaks out of its line: {text:?}");
    let value = metadata_in_unit(&text).unwrap_or_else(|| panic!("a drop-in of ours sets it: {text:?}"));
    check(&base, &value, &escaped, withdrawn);
    assert_eq!(made(Some(&text), pairs, withdrawn).as_ref(), Some(&text), "a second run");
    // Another volume's run keeps what this one published.
    if pairs.is_empty() {
        return;
    }
    let kept = made(Some(&text), &Pairs::new(), withdrawn).expect("our pairs stay");
    check(&base, &metadata_in_unit(&kept).expect("ours sets it"), &escaped, withdrawn);
}

/// Between `before` and `after`, these pairs came, these keys went, and nothing else happened.
fn check(before: &str, after: &str, pairs: &Pairs, withdrawn: &Keys) {
    let foreign = |list: &str| -> Vec<String> {
        let others = list.split(',').filter(|one| {
            let key = one.split_once('=').map(|(key, _)| key.trim());
            !one.trim().is_empty() && !key.is_some_and(|key| pairs.contains_key(key) || withdrawn.contains(key))
        });
        // White space at the end of a value without quotes is nobody's.
        others.map(|one| one.trim().to_owned()).collect()
    };
    assert_eq!(foreign(before), foreign(after), "others' pairs: {before:?}, {after:?}");
    for (key, value) in pairs {
        let own = after.split(',').filter_map(|one| one.split_once('=')).filter(|(other, _)| other.trim() == key);
        assert_eq!(own.map(|(_, value)| value).collect::<Vec<_>>(), [value], "{after:?}");
    }
    let mut keys = after.split(',').filter_map(|one| one.split_once('='));
    assert!(!keys.any(|(key, _)| withdrawn.contains(key.trim())), "withdrawn: {after:?}");
}

/// Whether the config takes it for a key.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}
