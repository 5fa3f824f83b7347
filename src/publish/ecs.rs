//! What the agent of Amazon ECS is told: attributes of the instance, as a JSON object on one line of ecs.config
//! (amazon-ecs-agent's README, `ECS_INSTANCE_ATTRIBUTES`), merged into what others say there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::files::{self, File};
use super::{News, envfile, json};
use crate::root::Root;

/// What reads the file, when the instance is registered for the first time.
pub const SERVICES: [&str; 1] = ["ecs.service"];

const CONFIG: &str = "/etc/ecs/ecs.config";

/// The file that tells the agent the news.
pub fn files(root: &Root, news: &News<'_>) -> Result<Vec<File>> {
    let text = merge(files::read(root, Path::new(CONFIG))?.as_deref(), &news.pairs, &news.keys)
        .with_context(|| format!("merging {}", root.path(CONFIG).display()))?;
    Ok(vec![File::of(CONFIG.to_owned(), text)])
}

/// ecs.config with these attributes, and without those of the `withdrawn` keys; `None` where no file need be.
pub fn merge(
    text: Option<&str>,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Option<String>> {
    envfile::merge(text, "ECS_INSTANCE_ATTRIBUTES", "{}", &|value| match value.trim() {
        "" if pairs.is_empty() => Ok(value.to_owned()),
        "" => attributes("{}", pairs, withdrawn),
        _ => attributes(value, pairs, withdrawn),
    })
}

/// The object with these attributes in it; others', and the blanks between them, stay as they are.
fn attributes(object: &str, pairs: &BTreeMap<String, String>, withdrawn: &BTreeSet<String>) -> Result<String> {
    let mut merged = object.to_owned();
    for key in withdrawn {
        while let all = members(&merged)?
            && let Some(nth) = all.iter().position(|member| member.key == *key)
        {
            // With the comma before it, or after the first.
            let from = if nth == 0 { all[0].place.start } else { all[nth - 1].place.end };
            let next = all.get(1).map_or(all[0].place.end, |next| next.place.start);
            merged.replace_range(from..if nth == 0 { next } else { all[nth].place.end }, "");
        }
    }
    for (key, value) in pairs {
        // Neither has anything in it that JSON escapes: config/carried.rs.
        let ours = format!("\"{key}\":\"{value}\"");
        let all = members(&merged)?;
        match (all.iter().rfind(|member| member.key == *key), all.last()) {
            (Some(member), _) if member.value == *value => {}
            (Some(member), _) => merged.replace_range(member.place.clone(), &ours),
            (None, Some(last)) => merged.insert_str(last.place.end, &format!(",{ours}")),
            (None, None) => merged.insert_str(merged.find('{').expect("it is an object") + 1, &ours),
        }
    }
    Ok(merged)
}

/// A key and its value, and where they are written.
#[derive(Debug)]
struct Member {
    place: Range<usize>,
    key: String,
    value: String,
}

/// The members of a JSON object whose values are strings.
fn members(object: &str) -> Result<Vec<Member>> {
    let read = || {
        let Value::Object(_) = serde_json::from_str(object).ok()? else { return None };
        let member = |place: Range<usize>| {
            let alone: Value = serde_json::from_str(&format!("{{{}}}", &object[place.clone()])).ok()?;
            let (key, value) = alone.as_object()?.iter().next()?;
            Some(Member { place, key: key.clone(), value: value.as_str()?.to_owned() })
        };
        json::members(object).into_iter().map(member).collect()
    };
    read().with_context(|| format!("its value {object:?} is no JSON object of strings: correct it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn attributes_are_merged_and_taken_back() {
        let (ours, keys) = (map(&[("pg", "vol-1"), ("zone", "a")]), BTreeSet::from(["pg", "zone"].map(str::to_owned)));
        let new = r#"{"pg":"vol-1","zone":"a"}"#;
        for (before, after) in [
            (r#"{"stack":"prod"}"#, r#"{"stack":"prod","pg":"vol-1","zone":"a"}"#),
            (r#"{ "z" : "\"1,\\" , "a": "{}" }"#, r#"{ "z" : "\"1,\\" , "a": "{}","pg":"vol-1","zone":"a" }"#),
            ("{}", new),
            ("{ }", r#"{"pg":"vol-1","zone":"a" }"#),
        ] {
            let (before, after) = (format!("# ours\nECS_INSTANCE_ATTRIBUTES={before}\nECS_CLUSTER=x\n"), after);
            let merged = merge(Some(&before), &ours, &BTreeSet::new()).unwrap().unwrap();
            assert_eq!(merged, format!("# ours\nECS_INSTANCE_ATTRIBUTES={after}\nECS_CLUSTER=x\n"));
            assert_eq!(merge(Some(&merged), &ours, &BTreeSet::new()).unwrap().unwrap(), merged, "a second merge");
            let back = merge(Some(&merged), &BTreeMap::new(), &keys).unwrap().unwrap();
            assert_eq!(back, before);
        }
        // In its place, once.
        let both = r#"{"pg":"old","a":"b"}"#;
        assert_eq!(attributes(both, &map(&[("pg", "new")]), &BTreeSet::new()).unwrap(), r#"{"pg":"new","a":"b"}"#);
        assert_eq!(attributes(both, &map(&[]), &keys).unwrap(), r#"{"a":"b"}"#);
        // A file, or a line, that is all ours.
        let made = merge(None, &ours, &BTreeSet::new()).unwrap().unwrap();
        assert!(made.ends_with(&format!("\nECS_INSTANCE_ATTRIBUTES={new}\n")), "{made}");
        assert_eq!(merge(Some(&made), &BTreeMap::new(), &keys).unwrap(), None);
        assert_eq!(merge(Some("ECS_CLUSTER=x\n"), &map(&[]), &keys).unwrap().unwrap(), "ECS_CLUSTER=x\n");
    }

    #[test]
    fn quotes_around_the_line_cannot_hold_it() {
        let error = merge(Some("ECS_INSTANCE_ATTRIBUTES=\"\"\n"), &map(&[("a", "b")]), &BTreeSet::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"its line "ECS_INSTANCE_ATTRIBUTES=\"\"" is in quotes, which "{\"a\":\"b\"}" cannot be: take them off"#
        );
        let single = merge(Some("ECS_INSTANCE_ATTRIBUTES='{}'\n"), &map(&[("a", "b")]), &BTreeSet::new()).unwrap();
        assert_eq!(single.unwrap(), "ECS_INSTANCE_ATTRIBUTES='{\"a\":\"b\"}'\n");
    }

    #[test]
    fn what_is_no_object_of_texts_is_an_error() {
        for value in [
            "{",
            "[]",
            "\"a\"",
            r#"{"a":1}"#,
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":"b"} x"#,
            r#"{"a":"b",}"#,
            r#"{"a":"b" "c":"d"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a"}"#,
            r#"{"a":"b"}"#.trim_end_matches('}'),
        ] {
            let text = format!("ECS_INSTANCE_ATTRIBUTES={value}\n");
            let error = merge(Some(&text), &map(&[("a", "b")]), &BTreeSet::new()).unwrap_err();
            let expected = format!("its value {value:?} is no JSON object of strings: correct it");
            // A quote at the beginning is the line's own.
            assert!(error.to_string() == expected || value.starts_with('"'), "{error}");
        }
    }
}
