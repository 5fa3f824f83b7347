//! Who is told how it ended.

use crate::config::cursor::At;
use crate::config::ec2;
use crate::config::problem::Report;
use crate::config::schema::Signal;
use crate::config::tree::Value;

pub const KINDS: [&str; 2] = ["stack", "lifecycle"];

/// One map or a list of them.
pub fn signals(report: &mut Report, at: &At) -> Vec<Signal> {
    let items = match at.node.value {
        Value::Seq(_) => report.seq(at).unwrap_or_default(),
        _ => vec![at.clone()],
    };
    let mut signals = Vec::new();
    for item in items {
        let Some(signal) = signal(report, &item) else { continue };
        if signals.contains(&signal) {
            report.add(&item.place(), "this signal is in the list already: remove one");
        }
        signals.push(signal);
    }
    signals
}

fn signal(report: &mut Report, at: &At) -> Option<Signal> {
    let map = report.map_of(at, &["stack", "resource", "lifecycle"])?;
    let (kind, found) = report.one_of(&map, &KINDS, "receiver", "make them two elements of a list")?;
    report.extras(&map, kind, &[("resource", &["stack"])]);
    if kind == "stack" {
        let stack = report.parse(found, ec2::stack);
        let help = "name the resource whose CreationPolicy waits, as in resource: Node1";
        let resource = report.need(&map, "resource", help).and_then(|at| report.parse(at, ec2::resource));
        return Some(Signal::Stack { stack: stack?, resource: resource? });
    }
    let map = report.map_of(found, &["group", "hook"])?;
    let group = report.need(&map, "group", "name the Auto Scaling group").and_then(|at| report.parse(at, ec2::group));
    let hook = report.need(&map, "hook", "name the lifecycle hook").and_then(|at| report.parse(at, ec2::hook));
    Some(Signal::Lifecycle { group: group?, hook: hook? })
}
