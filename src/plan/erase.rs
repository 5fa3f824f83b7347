//! The one way past a refusal of what is on a device: a person's consent, given once on the command line, that
//! names the volume. Pure.

use super::{Action, Plan};
use crate::config::Volume;
use crate::error::Refusal;
use crate::probe::Facts;
use crate::state::Remembered;

/// The plan that erases, where the consent names this device; else the refusal, with the words that would.
pub fn erase(
    volume: &Volume,
    facts: &Facts,
    remembered: Option<&Remembered>,
    consent: Option<&str>,
    refusal: Refusal,
) -> Result<Plan, Refusal> {
    let names = names(facts);
    let Some(own) = names.first() else { return Err(refusal) };
    let refuse = |why: String| {
        let way_out = format!("{}{why}", refusal.way_out);
        Err(Refusal { way_out, ..refusal.clone() })
    };
    let Some(consent) = consent else {
        return refuse(format!(" To give up all that is on it, add `--erase {own}` to `volinit up`, once."));
    };
    if !names.iter().any(|name| name == consent) {
        return refuse(format!(" `--erase {consent}` does not name this disk, which is {}.", names.join(" or ")));
    }
    if remembered.and_then(|remembered| remembered.erased.as_deref()) == Some(consent) {
        return refuse(format!(" `--erase {consent}` has been used once, and works only once."));
    }
    if facts.device.read_only {
        return refuse(" It is read-only, and so it can't be erased.".into());
    }

    let device = &facts.device;
    let what = format!("{} ({}): {}", names.join(", "), device.size, refusal.found);
    let kind = volume.filesystem.kind;
    let mut plan = Plan::new(format!("{}, {}", facts.content, device.size));
    plan.erased = Some(consent.to_owned());
    plan.step(Action::Erase { what }, format!("--erase {consent}"));
    plan.step(Action::Format { kind }, "it is erased");
    plan.step(Action::Mount { at: facts.target.path.clone() }, "it is not mounted");
    Ok(plan)
}

/// What this disk, or what is on it, goes by; the surest first. A disk without any has the number that no other
/// disk gets until the machine starts anew.
fn names(facts: &Facts) -> Vec<String> {
    let device = &facts.device;
    let id = device.volume_id.as_ref().map(ToString::to_string);
    let uuids = facts.content.uuids().into_iter().map(ToOwned::to_owned);
    let mut names: Vec<String> = id.into_iter().chain(device.serial.clone()).chain(uuids).collect();
    if names.is_empty() {
        names.extend(device.diskseq.map(|number| format!("diskseq-{number}")));
    }
    names.dedup();
    names
}
