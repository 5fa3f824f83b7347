//! daemon.json: a table of what is there and what becomes of it, what stays true of any file, and Docker's volumes.

use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

fn merged(existing: &str, pairs: &[(&str, &str)], withdrawn: &[&str]) -> String {
    merge(Some(existing), &map(pairs), &set(withdrawn)).unwrap().expect("a file that is there stays")
}

#[test]
fn labels_are_merged_into_what_is_there() {
    for (name, existing, after) in [
        ("empty", "", "{\n  \"labels\": [\"redis=vol-1\"]\n}\n"),
        ("no option", "{}\n", "{\n  \"labels\": [\"redis=vol-1\"]\n}\n"),
        ("no option, wide", "{\n\n}", "{\n  \"labels\": [\"redis=vol-1\"]\n}"),
        (
            "another option, indented with tabs",
            "{\n\t\"log-driver\": \"journald\"\n}\n",
            "{\n\t\"log-driver\": \"journald\",\n\t\"labels\": [\"redis=vol-1\"]\n}\n",
        ),
        ("in a line", "{\"debug\":true}", "{\"debug\":true,\"labels\": [\"redis=vol-1\"]}"),
        ("empty list", "{\"labels\": [ ], \"z\": 1}", "{\"labels\": [\"redis=vol-1\"], \"z\": 1}"),
        (
            "another label, order and odd escapes kept",
            "{\"z\": {\"labels\": []}, \"labels\": [\"\\u0061=b\"] , \"a\": \"\\\"]}\"}",
            "{\"z\": {\"labels\": []}, \"labels\": [\"\\u0061=b\", \"redis=vol-1\"] , \"a\": \"\\\"]}\"}",
        ),
        (
            "a list of lines",
            "{\n  \"labels\": [\n    \"a=b\"\n  ]\n}\n",
            "{\n  \"labels\": [\n    \"a=b\",\n    \"redis=vol-1\"\n  ]\n}\n",
        ),
        ("in place", "{\"labels\":[\"a=b\",\"redis=old\",\"c=d\"]}", "{\"labels\":[\"a=b\",\"redis=vol-1\",\"c=d\"]}"),
        ("twice", "{\"labels\":[\"redis=1\",\"a=b\",\"redis=2\"]}", "{\"labels\":[\"redis=vol-1\",\"a=b\"]}"),
        ("there already", "{\"labels\":[ \"redis=\\u0076ol-1\" ]}", "{\"labels\":[ \"redis=\\u0076ol-1\" ]}"),
        ("a value with `=`", "{\"labels\":[\"a=redis=1\"]}", "{\"labels\":[\"a=redis=1\", \"redis=vol-1\"]}"),
        ("no value", "{\"labels\":[\"redis\"]}", "{\"labels\":[\"redis=vol-1\"]}"),
    ] {
        let once = merged(existing, &[("redis", "vol-1")], &[]);
        assert_eq!(once, after, "{name}");
        assert_eq!(merged(&once, &[("redis", "vol-1")], &[]), once, "{name}: again");
    }
    let text = merge(None, &map(&[("b", "\\2"), ("a", "1")]), &set(&[])).unwrap().unwrap();
    assert_eq!(text, "{\n  \"labels\": [\"a=1\", \"b=\\\\2\"]\n}\n");
    assert_eq!(merge(None, &map(&[]), &set(&["a"])), Ok(None), "a file is made only to say something");
}

#[test]
fn withdrawn_labels_go_and_the_list_stays() {
    for (existing, after) in [
        ("{\n  \"labels\": [\"redis=vol-1\"]\n}\n", "{\n  \"labels\": []\n}\n"),
        ("{\"labels\":[\"a=b\", \"redis=vol-1\", \"c=d\"], \"x\":1}", "{\"labels\":[\"a=b\", \"c=d\"], \"x\":1}"),
        ("{\"labels\": [\n  \"redis=vol-1\",\n  \"a=b\"\n]}", "{\"labels\": [\n  \"a=b\"\n]}"),
        ("{\"labels\":[\"a=b\"]}", "{\"labels\":[\"a=b\"]}"),
        ("{\"x\":1}", "{\"x\":1}"),
        ("", ""),
    ] {
        assert_eq!(merged(existing, &[], &["redis"]), after);
    }
    // Exactly, but for the empty list.
    let theirs = "{\n\t\"labels\": [\n\t\t\"a=b\"\n\t],\n\t\"debug\": false\n}\n";
    assert_eq!(merged(&merged(theirs, &[("redis", "vol-1")], &[]), &[], &["redis"]), theirs);
}

#[test]
fn what_dockerd_would_not_take_is_an_error() {
    for (existing, words) in [
        ("{\"labels\":[\"a=b\",]}", "it is not JSON (trailing comma at line 1 column 18), and dockerd would"),
        ("// mine\n{}", "it is not JSON (expected value at line 1 column 1)"),
        ("[]", "no object in braces"),
        ("{\"labels\":{\"a\":\"b\"}}", "`labels` must be there once, as a list"),
        ("{\"labels\":null}", "`labels` must be there once"),
        ("{\"labels\":[1]}", "`labels` must be there once"),
        ("{\"labels\":[\"a=b\"],\"labels\":[]}", "`labels` must be there once"),
        ("{\"l\\u0061bels\":[\"a=b\"]}", "`labels` must be there once"),
    ] {
        let error = merge(Some(existing), &map(&[("redis", "vol-1")]), &set(&[])).unwrap_err().to_string();
        assert!(error.contains(words), "{existing}: {error}");
    }
}

/// JSON with a bit of everything, and with white space of any kind.
fn conf() -> impl Strategy<Value = String> {
    let label = prop_oneof![Just("\"\\u0061=1\"".to_owned()), "\"[a-d]=[0-9]{0,2}\"", "\"[xyz=]{0,2}\""];
    let list = |item: BoxedStrategy<String>| {
        (prop::collection::vec(item, 0..4), "[ \n\t]{0,2}").prop_map(|(items, gap)| {
            let inner: Vec<_> = items.iter().map(|item| format!("{gap}{item}{gap}")).collect();
            format!("[{}]", inner.join(","))
        })
    };
    let labels = list(label.boxed()).prop_map(|list| format!("\"labels\": {list}"));
    let other = prop_oneof![
        Just("\"x\": \"}],\\\"labels\\\": [\"".to_owned()),
        Just("\"y\" :{\"labels\": [\"a=b\"], \"z\": null}".to_owned()),
        "\"n[0-9]\":[0-9]",
    ];
    (
        prop::collection::vec(other.clone(), 0..3),
        prop::option::of(labels),
        prop::collection::vec(other, 0..3),
        "[ \n]{0,2}",
    )
        .prop_map(|(before, labels, after, gap)| {
            let members: Vec<_> = before.into_iter().chain(labels).chain(after).collect();
            format!("{gap}{{{gap}{}{gap}}}{gap}", members.join(&format!(",{gap}")))
        })
}

proptest! {
    #[test]
    fn merging_is_idempotent_and_keeps_what_others_say(
        existing in conf(),
        pairs in prop::collection::btree_map("[a-f]", "[0-9a-z-]{1,3}", 0..3),
        withdrawn in prop::collection::btree_set("[a-f]", 0..2),
    ) {
        let withdrawn: BTreeSet<String> = withdrawn.into_iter().filter(|key| !pairs.contains_key(key)).collect();
        let once = merge(Some(&existing), &pairs, &withdrawn).unwrap().expect("a file that is there stays");
        let twice = merge(Some(&once), &pairs, &withdrawn).unwrap().unwrap();
        prop_assert_eq!(&twice, &once);

        let (before, after) = (parse(&existing).unwrap(), parse(&once).unwrap());
        let own = |label: &str| {
            let key = label.split('=').next().unwrap();
            pairs.contains_key(key) || withdrawn.contains(key)
        };
        let labels = |value: &Value| -> Vec<String> {
            value["labels"].as_array().into_iter().flatten().map(|label| label.as_str().unwrap().to_owned()).collect()
        };
        let foreign = |value: &Value| labels(value).into_iter().filter(|label| !own(label)).collect::<Vec<_>>();
        prop_assert_eq!(foreign(&before), foreign(&after));
        let mut ours: Vec<String> = labels(&after).into_iter().filter(|label| own(label)).collect();
        ours.sort();
        prop_assert_eq!(ours, pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>());

        // The rest byte for byte: what stands before and after the list.
        if let [place] = &values(&existing, "labels")[..] {
            prop_assert!(once.starts_with(&existing[..place.start]) && once.ends_with(&existing[place.end..]));
        }
        let without = |mut value: Value| {
            value.as_object_mut().unwrap().remove("labels");
            value
        };
        prop_assert_eq!(without(before), without(after));
    }
}
