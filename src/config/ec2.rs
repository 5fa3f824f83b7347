//! The rules of single values that EC2 knows: ids, tags, and the names that CloudFormation and Auto Scaling go by.
//! Pure; whether there is such a thing, nobody is asked here.

use crate::config::problem::{instead, tick};
use crate::config::schema::{Eni, Takeover, VolumeId};

/// The longest key and value of a tag, in characters (Amazon EC2 User Guide, "Tag your Amazon EC2 resources").
const TAG_KEY: usize = 128;
const TAG_VALUE: usize = 256;

/// The largest device index that is taken.
pub const MOST_INDEX: u8 = 15;

/// An EBS volume's id.
pub fn volume_id(text: &str) -> Result<VolumeId, String> {
    VolumeId::parse(text).ok_or_else(|| no_id(text, "a volume id", "vol"))
}

/// A network interface's id.
pub fn eni_id(text: &str) -> Result<Eni, String> {
    let digits = text.strip_prefix("eni-").unwrap_or_default();
    let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(digits.len(), 8 | 17) {
        return Ok(Eni::Id(text.to_owned()));
    }
    Err(no_id(text, "the id of a network interface", "eni"))
}

fn no_id(text: &str, thing: &str, prefix: &str) -> String {
    format!(
        "{} is not {thing}: write `{prefix}-` and 8 or 17 digits of 0-9 and a-f, or tags: {{ KEY: value }}",
        tick(text)
    )
}

/// A tag's key. Those that begin with `aws:` are AWS's to write, and anybody's to read.
pub fn tag_key(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("a tag's key is empty: write its name".into());
    }
    no_longer(text, TAG_KEY, "tag's key")
}

/// A tag's value, which may be empty; `{instance-tag:KEY}` stands for the value that the instance's own tag has.
pub fn tag_value(text: &str) -> Result<String, String> {
    if text.starts_with('{') && instance_tag(text).is_none() {
        return Err(format!(
            "{} is no tag's value: write it, or {{instance-tag:KEY}} for the instance's own",
            tick(text)
        ));
    }
    no_longer(text, TAG_VALUE, "tag's value")
}

/// The key in `{instance-tag:KEY}`.
pub fn instance_tag(value: &str) -> Option<&str> {
    value.strip_prefix("{instance-tag:")?.strip_suffix('}').filter(|key| !key.is_empty() && !key.contains(['{', '}']))
}

fn no_longer(text: &str, most: usize, thing: &str) -> Result<String, String> {
    match text.chars().count() {
        long if long > most => Err(format!("this {thing} is {long} characters long and EC2 holds {most}: shorten it")),
        _ => Ok(text.to_owned()),
    }
}

/// What a takeover may be; [`Takeover::Force`] is known once `force-after` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverWord {
    /// One that says it all.
    Whole(Takeover),
    /// `force`
    Force,
}

impl Default for TakeoverWord {
    fn default() -> TakeoverWord {
        TakeoverWord::Whole(Takeover::default())
    }
}

/// What is done where another instance holds the volume.
pub fn takeover(text: &str) -> Result<TakeoverWord, String> {
    match text {
        "never" => Ok(TakeoverWord::Whole(Takeover::Never)),
        "when-stopped" => Ok(TakeoverWord::Whole(Takeover::WhenStopped)),
        "force" => Ok(TakeoverWord::Force),
        _ => {
            let instead = instead(text, &["never", "when-stopped", "force"]);
            Err(format!("{} is no rule for a takeover: {instead}", tick(text)))
        }
    }
}

/// Where a network interface is attached.
pub fn device_index(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(0) => Err("device index 0 has the interface that the instance was launched with: choose 1 or more".into()),
        Ok(index) if index <= MOST_INDEX => Ok(index),
        _ => Err(format!("{} is not a device index: write a number from 1 to {MOST_INDEX}", tick(text))),
    }
}

/// A stack's name or id (`SignalResource` in the AWS `CloudFormation` API Reference: `StackName`).
pub fn stack(text: &str) -> Result<String, String> {
    let id = text.starts_with("arn:");
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || (id && ":/._+".contains(c));
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(known);
    if good && (id || text.len() <= 128) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a stack: write its name, of letters, digits and `-`, a letter first, at most 128; or its id, arn:…",
        tick(text)
    ))
}

/// A resource's logical id in its template (AWS `CloudFormation` User Guide, "Resources").
pub fn resource(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a resource: write its logical id in the template, of letters and digits", tick(text)))
}

/// The name of an Auto Scaling group (Amazon EC2 Auto Scaling API Reference, `CreateAutoScalingGroup`).
pub fn group(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.chars().count()) && !text.contains(|c: char| c == ':' || c.is_control()) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not an Auto Scaling group: write its name, without `:`, at most 255 characters", tick(text)))
}

/// The name of a lifecycle hook (the same, `PutLifecycleHook`).
pub fn hook(text: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    if (1..=255).contains(&text.len()) && text.chars().all(known) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a lifecycle hook: write its name, of letters, digits, `-`, `_` and `/`", tick(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_whole() {
        assert!(["eni-0123abcd", "eni-0123456789abcdef0"].iter().all(|text| eni_id(text).is_ok()));
        for text in ["", "eni-", "eni-0123ABCD", "eni-0123abc", "eni-0123456789abcdef", "vol-0123abcd", "0123abcd"] {
            assert!(eni_id(text).is_err(), "{text}");
        }
        assert!(volume_id("vol-5afc0745").is_ok() && volume_id("eni-5afc0745").is_err());
    }

    #[test]
    fn tags_are_as_long_as_ec2_holds() {
        assert!(["aws:autoscaling:groupName", "Name", &"ä".repeat(128)].iter().all(|text| tag_key(text).is_ok()));
        assert!(["", &"k".repeat(129)].iter().all(|text| tag_key(text).is_err()));
        assert!(["", "a b", &"ä".repeat(256)].iter().all(|text| tag_value(text).is_ok()));
        assert!(tag_value(&"v".repeat(257)).is_err());
    }

    #[test]
    fn device_indices_leave_the_first_one_alone() {
        assert_eq!((device_index("1"), device_index("15")), (Ok(1), Ok(15)));
        for text in ["0", "16", "256", "-1", "", "eth1", "99999999999999999999"] {
            assert!(device_index(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_those_that_aws_takes() {
        let arn = "arn:aws:cloudformation:eu-central-1:123456789012:stack/prod/0b1c-2d";
        assert!(["prod", "Prod-1", arn].iter().all(|text| stack(text).is_ok()));
        assert!(["", "-prod", "1a", "${AWS::StackName}", "a b", &"a".repeat(129)].iter().all(|t| stack(t).is_err()));
        assert!(resource("Node1").is_ok());
        assert!(["", "Node-1", "Resources.Node1"].iter().all(|text| resource(text).is_err()));
        assert!(["kafka", "my group (1)"].iter().all(|text| group(text).is_ok()));
        assert!(["", "a:b", "a\nb", &"a".repeat(256)].iter().all(|text| group(text).is_err()));
        assert!(["volumes", "a/b_c-1"].iter().all(|text| hook(text).is_ok()));
        assert!(["", "a b", "a.b", &"a".repeat(256)].iter().all(|text| hook(text).is_err()));
    }
}
