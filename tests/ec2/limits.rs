//! Request throttling, as published: a bucket for each action, an account and a region.
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>, "Request token bucket sizes and refill
//! rates". The page says "a set number of tokens is added back to it every second"; so a bucket is filled on the
//! second, and nodes that were refused together may be refused together again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::form::Form;

/// A bucket for each action; all of one account, whoever calls.
#[derive(Clone, Debug)]
pub struct Limits {
    buckets: BTreeMap<String, Bucket>,
    scale: f64,
}

#[derive(Clone, Debug)]
struct Bucket {
    tokens: f64,
    second: u64,
}

/// What AWS publishes for an action: the size of its bucket, and what is added to it each second.
pub fn published(action: &str, form: &Form) -> (f64, f64) {
    match action {
        "CreateTags" | "DeleteTags" => (100.0, 10.0),
        "ModifyNetworkInterfaceAttribute" | "CreateNetworkInterface" | "CreateVolume" | "DeleteVolume" => (100.0, 5.0),
        _ if unfiltered(action, form) => (50.0, 10.0),
        _ if action.starts_with("Describe") => (100.0, 20.0),
        _ => (50.0, 5.0),
    }
}

/// "when requested without specifying either pagination or a filter". Ids are neither: the cautious reading.
fn unfiltered(action: &str, form: &Form) -> bool {
    matches!(action, "DescribeInstances" | "DescribeNetworkInterfaces" | "DescribeVolumes")
        && form.filters().is_empty()
        && form.get("MaxResults").is_none()
        && form.get("NextToken").is_none()
}

impl Limits {
    pub fn published() -> Limits {
        Limits::scaled(1.0)
    }

    /// The same with smaller or larger buckets, for a test that would take long otherwise.
    pub fn scaled(scale: f64) -> Limits {
        Limits { buckets: BTreeMap::new(), scale }
    }

    /// Takes one token; false where there is none.
    pub fn take(&mut self, now: Duration, form: &Form) -> bool {
        let action = form.action();
        let (size, rate) = published(action, form);
        let (size, rate) = ((size * self.scale).max(1.0), rate * self.scale);
        let name = if unfiltered(action, form) { format!("{action} unfiltered") } else { action.to_owned() };
        let second = now.as_secs();
        let bucket = self.buckets.entry(name).or_insert(Bucket { tokens: size, second });
        if second > bucket.second {
            let seconds = u32::try_from(second - bucket.second).unwrap_or(u32::MAX);
            bucket.tokens = (bucket.tokens + f64::from(seconds) * rate).min(size);
            bucket.second = second;
        }
        let there = bucket.tokens >= 1.0;
        if there {
            bucket.tokens -= 1.0;
        }
        there
    }
}
