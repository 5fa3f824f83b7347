//! The network interfaces: which they are, and where they are attached.

use super::ebs::tags;
use super::{EC2_TIMEOUT, timeout};
use crate::config::cursor::At;
use crate::config::ec2;
use crate::config::problem::Report;
use crate::config::schema::{Eni, Interface};
use crate::config::tree::Value;
use crate::config::value;

pub const ENI_KINDS: [&str; 2] = ["tags", "slot-of"];

/// All of them, in the order of the file.
pub fn interfaces(report: &mut Report, at: &At) -> Vec<Interface> {
    let Some(map) = report.map(at) else { return Vec::new() };
    map.entries.iter().filter_map(|(name, at)| interface(report, name, at)).collect()
}

fn interface(report: &mut Report, name: &str, at: &At) -> Option<Interface> {
    if let Err(message) = value::name(name, "an interface") {
        report.add(&at.key(), message);
    }
    let map = report.map_of(at, &["eni", "device-index", "timeout"])?;
    let found =
        report.need(&map, "eni", "say which network interface it is, by its id, its tags or `slot-of` a volume");
    let eni = found.and_then(|at| eni(report, at));
    let device_index = match map.get("device-index") {
        Some(at) => report.parse_word(at, ec2::device_index),
        None => Some(1),
    };
    let timeout = timeout(report, &map, EC2_TIMEOUT);
    Some(Interface { name: name.to_owned(), eni: eni?, device_index: device_index?, timeout })
}

fn eni(report: &mut Report, at: &At) -> Option<Eni> {
    if !matches!(at.node.value, Value::Map(_)) {
        return report.parse(at, ec2::eni_id);
    }
    let map = report.map_of(at, &ENI_KINDS)?;
    let advice = "an interface has one, remove the other";
    let (kind, found) = report.one_of(&map, &ENI_KINDS, "network interface", advice)?;
    match kind {
        "tags" => tags(report, found).map(Eni::Tags),
        // Whether there is such a volume, shows across entries.
        _ => report.parse(found, |text| value::filled(text).map(str::to_owned)).map(Eni::SlotOf),
    }
}
