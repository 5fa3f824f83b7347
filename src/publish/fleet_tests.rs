//! fleet.conf: a table of what fleet would read, and what stays true of any file.

use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

#[test]
fn conf_files_are_merged_as_fleet_reads_them() {
    let ours = map(&[("postgres", "vol-1")]);
    for (name, existing, merged) in [
        ("empty", "", "metadata=\"postgres=vol-1\"\n"),
        ("another option", "verbosity=1", "verbosity=1\nmetadata=\"postgres=vol-1\"\n"),
        ("double quotes", "metadata=\"a=b\"\n", "metadata=\"a=b,postgres=vol-1\"\n"),
        ("single quotes", "metadata='a=b'\n", "metadata='a=b,postgres=vol-1'\n"),
        ("no quotes", "metadata=a=b\n", "metadata=a=b,postgres=vol-1\n"),
        ("any case, spaces kept", "\t MetaData \t= \"a=b\" \r\n", "\t MetaData \t= \"a=b,postgres=vol-1\" \r\n"),
        ("in place", "metadata=\"a=b, postgres = old ,c=d\"", "metadata=\"a=b,postgres=vol-1,c=d\""),
        ("twice in a line", "metadata=\"postgres=1,a=b,postgres=2\"", "metadata=\"postgres=vol-1,a=b\""),
        ("no pair, empty pair", "metadata=\"odd,,a=b,\"", "metadata=\"odd,,a=b,,postgres=vol-1\""),
        ("there already", "metadata='postgres=vol-1' \n#", "metadata='postgres=vol-1' \n#"),
        ("empty value", "metadata=\n", "metadata=postgres=vol-1\n"),
        ("empty quotes", "metadata=''\n", "metadata='postgres=vol-1'\n"),
        ("a key alone", "metadata\n", "metadata=postgres=vol-1\n"),
        ("a comment behind", "metadata=a=b ; why\n", "metadata=a=b,postgres=vol-1 ; why\n"),
        ("quotes that do not close the line", "metadata=\"a=b\" # x", "metadata=\"a=b\",postgres=vol-1 # x"),
        ("the last line counts", "metadata=a=b\nmetadata=c=d\n", "metadata=a=b\nmetadata=c=d,postgres=vol-1\n"),
        ("joined lines", "metadata=\"a=b,\\\n  c=d\"\nx=1\n", "metadata=\"a=b,c=d,postgres=vol-1\"\nx=1\n"),
        ("a joined comment", "# a \\\nmetadata=x=y\n", "# a \\\nmetadata=x=y\nmetadata=\"postgres=vol-1\"\n"),
        ("not in a section", "x=1\n\n[s]\nmetadata=a=b\n", "x=1\n\nmetadata=\"postgres=vol-1\"\n[s]\nmetadata=a=b\n"),
        (
            "comments, other keys",
            "# metadata=a\n;metadata=b\nmetadata2=c\n",
            "# metadata=a\n;metadata=b\nmetadata2=c\nmetadata=\"postgres=vol-1\"\n",
        ),
    ] {
        let result = merge_conf(Some(existing), &ours, &set(&[])).unwrap();
        assert_eq!(result.as_deref(), Some(merged), "{name}");
        let read = metadata(merged);
        assert!(read.split(',').any(|pair| pair == "postgres=vol-1"), "{name}: {read}");
    }
}

#[test]
fn withdrawn_keys_go_and_all_else_stays() {
    let gone = set(&["postgres"]);
    for (existing, merged) in [
        ("metadata=\"a=b,postgres=vol-1,c=d\"\n", "metadata=\"a=b,c=d\"\n"),
        ("metadata=\"postgres=vol-1\"\n", "metadata=\"\"\n"),
        ("metadata=\"a=b\"\n", "metadata=\"a=b\"\n"),
        ("x=1\n", "x=1\n"),
        ("", ""),
    ] {
        assert_eq!(merge_conf(Some(existing), &map(&[]), &gone).unwrap().as_deref(), Some(merged));
    }
    // A backslash that came to stand last would join the next line to this one.
    let last = merge_conf(Some("metadata=a=\\ ,old=1\nverbosity=1\n"), &map(&[]), &set(&["old"]));
    assert_eq!(last.unwrap().unwrap(), "metadata=a=\\ ,\nverbosity=1\n");
    let both = merge_conf(Some("metadata=postgres=1,redis=2"), &map(&[("mysql", "3")]), &set(&["redis"]));
    assert_eq!(both.unwrap().unwrap(), "metadata=postgres=1,mysql=3");
}

#[test]
fn a_file_is_made_only_to_say_something() {
    assert_eq!(merge_conf(None, &map(&[]), &set(&["a"])), Ok(None));
    let pairs = map(&[("b", "2"), ("a", "1")]);
    assert_eq!(merge_conf(None, &pairs, &set(&[])), Ok(Some("metadata=\"a=1,b=2\"\n".into())));
}

#[test]
fn what_fleet_cannot_carry_is_an_error() {
    for (key, value) in [("a=b", "c"), ("", "c"), ("a", "b,c"), ("a", "b=c"), ("a", " b"), ("a", "b\n"), ("a", "b\"")] {
        let error = merge_conf(None, &map(&[(key, value)]), &set(&[])).unwrap_err();
        assert_eq!(error, MergeError::Pair { key: key.into(), value: value.into() });
    }
    assert_eq!(merge_conf(Some("x=1\n# a\\"), &map(&[]), &set(&[])), Err(MergeError::Unfinished));
}

/// A fleet.conf with a bit of everything.
fn conf() -> impl Strategy<Value = String> {
    let pairs = prop::collection::vec("( ?[a-d] ?= ?[0-9]{0,2} ?|[x-z]{0,2})", 0..5).prop_map(|pairs| pairs.join(","));
    let line = prop_oneof![
        pairs.clone().prop_map(|pairs| format!("metadata=\"{pairs}\"")),
        pairs.clone().prop_map(|pairs| format!(" Metadata = '{pairs}' ")),
        pairs.clone().prop_map(|pairs| format!("metadata={pairs} # why")),
        pairs.prop_map(|pairs| format!("metadata={}", pairs.replace(',', ",\\\n "))),
        Just("metadata".to_owned()),
        Just("[section]".to_owned()),
        "[ \t#;a-c=\"\\\\]{0,6}",
    ];
    prop::collection::vec(line, 0..5).prop_map(|lines| lines.join("\n"))
}

/// The pairs that are neither of `keys`, in order, as fleet reads them.
fn foreign(value: &str, keys: impl Fn(&str) -> bool) -> Vec<String> {
    let pairs = value.split(',').filter(|pair| key(pair).is_some_and(|key| !keys(key)));
    pairs.map(|pair| pair.trim().to_owned()).collect()
}

proptest! {
    #[test]
    fn merging_is_idempotent_and_keeps_what_others_say(
        existing in conf(),
        pairs in prop::collection::btree_map("[a-f]", "[0-9a-z-]{0,3}", 0..3),
        withdrawn in prop::collection::btree_set("[a-f]", 0..2),
    ) {
        let withdrawn: BTreeSet<String> = withdrawn.into_iter().filter(|key| !pairs.contains_key(key)).collect();
        // A file without an end is refused, whatever is to be merged.
        let Ok(once) = merge_conf(Some(&existing), &pairs, &withdrawn) else {
            prop_assert!(existing.trim_end().ends_with('\\'));
            return Ok(());
        };
        let once = once.expect("a file that is there stays");
        let twice = merge_conf(Some(&once), &pairs, &withdrawn).unwrap().unwrap();
        prop_assert_eq!(&twice, &once);

        let (before, after) = (metadata(&existing), metadata(&once));
        let ours = |key: &str| pairs.contains_key(key) || withdrawn.contains(key);
        prop_assert_eq!(foreign(&after, ours), foreign(&before, ours));
        for (key, value) in &pairs {
            let pair = format!("{key}={value}");
            prop_assert_eq!(after.split(',').filter(|other| **other == pair).count(), 1);
        }
        let gone = after.split(',').all(|pair| key(pair).is_none_or(|key| !withdrawn.contains(key)));
        prop_assert!(gone);

        // Every other line stays as it is.
        let others = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.to_lowercase().contains("metadata"));
            lines.map(str::to_owned).collect()
        };
        if !existing.contains('\\') {
            prop_assert_eq!(others(&once), others(&existing));
        }
    }
}
