//! The policies in packaging/iam and the calls in src/ec2 are the same: no call that is not allowed, and no right that no
//! call needs. Reads files only.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The actions of one policy.
fn allowed(policy: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/iam").join(policy);
    let policy: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    let mut actions = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        assert!(!statement["Resource"].is_null(), "{statement}");
        let said = match &statement["Action"] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        for action in said {
            let action = action.as_str().unwrap().to_owned();
            assert!(!action.contains('*'), "{action}");
            assert!(actions.insert(action.clone()), "{action} is there twice");
        }
    }
    actions
}

/// The code of these files in src/ec2, without tests.
fn code(which: impl Fn(&str) -> bool) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ec2");
    let mut code = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        if which(name) && !name.ends_with("tests.rs") {
            let text = fs::read_to_string(&file).unwrap();
            code.push_str(text.split("#[cfg(test)]").next().unwrap());
        }
    }
    assert!(!code.is_empty());
    code
}

/// What stands between `before` and `after`, each time.
fn all_between<'a>(code: &'a str, before: &str, after: char) -> Vec<&'a str> {
    code.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0)).collect()
}

/// `describe_volumes` -> `ec2:DescribeVolumes`
fn action_of(method: &str) -> String {
    let words = method.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    format!("ec2:{}", words.collect::<String>())
}

/// The methods of the SDK's client that are called: `self.0.describe_volumes()`, in this one file.
fn called_of_ec2() -> BTreeSet<String> {
    assert!(!code(|_| true).contains("api.0."), "a call outside of src/ec2/api.rs");
    all_between(&code(|name| name == "api.rs"), "self.0.", '(').into_iter().map(action_of).collect()
}

/// The requests that are made by hand: a service and an action beside each other.
fn called_by_hand() -> BTreeSet<String> {
    let code = code(|_| true);
    let (services, actions) = (all_between(&code, "service: \"", '"'), all_between(&code, "action: \"", '"'));
    assert_eq!(services.len(), actions.len(), "{services:?} {actions:?}");
    services.iter().zip(actions).map(|(service, action)| format!("{service}:{action}")).collect()
}

#[test]
fn each_call_is_allowed_and_nothing_else_is() {
    let (find, attach, signal) = (allowed("find.json"), allowed("attach.json"), allowed("signal.json"));
    assert!(find.iter().all(|action| action.starts_with("ec2:Describe")), "{find:?}");
    assert!(attach.iter().all(|action| !action.starts_with("ec2:Describe")), "{attach:?}");
    assert_eq!(called_of_ec2(), &find | &attach, "left: src/ec2; right: find.json and attach.json");
    assert_eq!(called_by_hand(), signal, "left: src/ec2; right: signal.json");
}

/// A right that is missing is named by these words.
#[test]
fn each_call_s_error_names_its_action() {
    let code = code(|name| name == "api.rs");
    let literals = all_between(&code, "failed(\"", '"').into_iter().chain(all_between(&code, "ACTION: &str = \"", '"'));
    let named: BTreeSet<String> = literals.map(|action| format!("ec2:{action}")).collect();
    assert_eq!(named, called_of_ec2());
}

/// What changes something is narrowed by a tag or by a name.
#[test]
fn what_changes_something_is_not_allowed_everywhere() {
    for policy in ["attach.json", "signal.json"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/iam").join(policy);
        let policy: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for statement in policy["Statement"].as_array().unwrap() {
            let tagged = statement["Condition"]["StringEquals"]
                .as_object()
                .is_some_and(|conditions| conditions.keys().any(|key| key.starts_with("aws:ResourceTag/")));
            let named = statement["Resource"].as_str().is_some_and(|arn| !arn.ends_with(":*") && arn != "*");
            assert!(tagged || named, "{statement}");
        }
    }
}
