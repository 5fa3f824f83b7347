//! The source `ebs`: which volume it is, and what may be done to have it here.

use std::collections::BTreeMap;

use super::{EC2_TIMEOUT, TIMEOUT, timeout};
use crate::config::cursor::{At, Map};
use crate::config::ec2::{self, TakeoverWord};
use crate::config::problem::Report;
use crate::config::schema::{Ebs, EbsVolume, Takeover};
use crate::config::tree::Value;
use crate::config::value;

const VOLUME_KINDS: [&str; 2] = ["tags", "pool"];

/// `found` is the value of `ebs`, `source` the map that it is in.
pub fn ebs(report: &mut Report, found: &At, source: &Map) -> Option<Ebs> {
    let volume = volume(report, found);
    let attach = attach(report, found, source);
    let takeover = takeover(report, source, attach);
    if let (Takeover::Force { .. }, Some(EbsVolume::Pool { .. }), Some(at)) =
        (takeover, &volume, source.get("takeover"))
    {
        let message = "a pool's volumes are not taken from running instances, since each is some node's: write \
                       `when-stopped`, or name the volume by its id";
        report.add(&at.place(), message);
    }
    let timeout = timeout(report, source, if attach { EC2_TIMEOUT } else { TIMEOUT });
    Some(Ebs { volume: volume?, attach, takeover, timeout })
}

fn volume(report: &mut Report, at: &At) -> Option<EbsVolume> {
    if !matches!(at.node.value, Value::Map(_)) {
        return report.parse(at, ec2::volume_id).map(EbsVolume::Id);
    }
    let map = report.map_of(at, &["tags", "pool", "slot-tag"])?;
    let (kind, found) = report.one_of(&map, &VOLUME_KINDS, "EBS volume", "a source has one, remove the other")?;
    report.extras(&map, kind, &[("slot-tag", &["pool"])]);
    if kind == "tags" {
        return tags(report, found).map(EbsVolume::Tags);
    }
    let slot_tag = map.get("slot-tag").and_then(|at| report.parse(at, ec2::tag_key));
    let known: &[_] = if found.node.get("slot-tag").is_some() { &["tags", "slot-tag"] } else { &["tags"] };
    let pool = report.map_of(found, known)?;
    if let Some(inside) = pool.get("slot-tag") {
        report.add(&inside.key(), "`slot-tag` stands beside `pool`, not in it: move it out");
    }
    let found = report.need(&pool, "tags", "say which volumes are in it, as in tags: { cluster: kafka }")?;
    Some(EbsVolume::Pool { tags: tags(report, found)?, slot_tag })
}

/// Whether volinit attaches it. Of a pool nobody else could know which one to attach.
fn attach(report: &mut Report, found: &At, source: &Map) -> bool {
    let pool = found.node.get("pool").is_some();
    let Some(at) = source.get("attach") else {
        return pool;
    };
    let said = report.flag(at);
    if pool && said == Some(false) {
        let message = "a volume of a pool is chosen by attaching it: remove `attach: false`, or name one volume by its \
                       id or tags";
        report.add(&at.place(), message);
    }
    // What is no flag has been told, and is not the reason why other keys are wrong.
    pool || said.unwrap_or(true)
}

fn takeover(report: &mut Report, source: &Map, attach: bool) -> Takeover {
    let (said, after) = (source.get("takeover"), source.get("force-after"));
    let rule = said.map_or(Some(TakeoverWord::default()), |at| report.parse(at, ec2::takeover));
    let span = after.and_then(|at| report.parse_word(at, value::duration));
    if let Some(at) = said.or(after).filter(|_| !attach) {
        let key = if said.is_some() { "takeover" } else { "force-after" };
        let message = format!("`{key}` means nothing where volinit does not attach: add `attach: true`, or remove it");
        report.add(&at.key(), message);
        return Takeover::default();
    }
    match (rule, after) {
        // What is no rule has been told.
        (None, _) => Takeover::default(),
        (Some(TakeoverWord::Whole(takeover)), None) => takeover,
        (Some(TakeoverWord::Whole(takeover)), Some(at)) => {
            report.add(&at.key(), "`force-after` goes with `takeover: force`, and nothing is forced here: remove it");
            takeover
        }
        (Some(TakeoverWord::Force), Some(_)) => span.map(|after| Takeover::Force { after }).unwrap_or_default(),
        (Some(TakeoverWord::Force), None) => {
            let help =
                "say how long a plain detach may stay without effect before it is forced, as in force-after: 10m";
            report.need(source, "force-after", help);
            Takeover::default()
        }
    }
}

/// Tags that a volume or an interface must have, all of them.
pub fn tags(report: &mut Report, at: &At) -> Option<BTreeMap<String, String>> {
    let map = report.map(at)?;
    if map.entries.is_empty() {
        report.add(&at.key(), format!("{} is empty: any one would do; name a tag", at.what()));
    }
    let mut tags = BTreeMap::new();
    for (key, at) in &map.entries {
        if let Err(message) = ec2::tag_key(key) {
            report.add(&at.key(), message);
        }
        if let Some(value) = report.parse(at, ec2::tag_value) {
            tags.insert((*key).to_owned(), value);
        }
    }
    Some(tags)
}
