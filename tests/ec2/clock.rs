//! Time passes: what is slow gets done. Never the wall clock; `now` comes with each request.

use std::time::{Duration, UNIX_EPOCH};

use super::state::{Hold, Kept, Life, State};

/// What a guest would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Attached {
        volume: String,
        instance: String,
        device: String,
    },
    Detached {
        volume: String,
        instance: String,
        device: String,
    },
    LinkUp {
        interface: String,
        instance: String,
        mac: String,
    },
    LinkDown {
        interface: String,
        instance: String,
        mac: String,
    },
    /// The disk's new size is there: the modification is `optimizing`.
    Grown {
        volume: String,
        gib: u64,
    },
}

/// Everything that became due by `now`, done at the moment it was due.
pub fn settle(state: &mut State, now: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    if now < state.quiet_until {
        return events;
    }
    lives(state, now);
    releases(state, now);
    volumes(state, now, &mut events);
    links(state, now, &mut events);
    modifications(state, now, &mut events);
    state.quiet_until = next_due(state, now);
    events
}

/// The earliest moment after `now` at which time alone changes something. What changes otherwise, a request or a test's
/// own hand, sets `quiet_until` to nought.
fn next_due(state: &State, now: Duration) -> Duration {
    let times = &state.times;
    let hold = |hold: Hold, since: Duration| match hold {
        Hold::Attaching => since + times.attach,
        Hold::Detaching => since + times.detach,
        Hold::Attached | Hold::Busy => Duration::MAX,
    };
    let lives = state.instances.values().map(Kept::now).map(|instance| match instance.life {
        Life::ShuttingDown => instance.since + times.terminate,
        Life::Stopping => instance.since + times.stop,
        Life::Terminated => instance.since + times.release,
        Life::Pending | Life::Running | Life::Stopped => Duration::MAX,
    });
    let volumes = state.volumes.values().filter_map(|kept| kept.now().attachment.as_ref());
    let links = state.interfaces.values().filter_map(|kept| kept.now().link.as_ref());
    let modifications =
        state.modifications.values().filter_map(|history| history.last()).map(|last| match last.status {
            "modifying" => last.since + times.modify,
            "optimizing" => last.since + times.optimize,
            _ => Duration::MAX,
        });
    let holds = volumes.map(|held| hold(held.hold, held.since)).chain(links.map(|link| hold(link.hold, link.since)));
    lives.chain(holds).chain(modifications).filter(|due| *due > now).min().unwrap_or(Duration::MAX)
}

/// shutting-down -> terminated, stopping -> stopped. A guest that is gone has nothing mounted.
fn lives(state: &mut State, now: Duration) {
    let times = state.times.clone();
    for kept in state.instances.values_mut() {
        let next = match kept.now().life {
            Life::ShuttingDown => (Life::Terminated, kept.now().since + times.terminate),
            Life::Stopping => (Life::Stopped, kept.now().since + times.stop),
            Life::Pending | Life::Running | Life::Terminated | Life::Stopped => continue,
        };
        if next.1 <= now {
            kept.change(next.1, |instance| (instance.life, instance.since) = next);
        }
    }
    let gone = |id: &str| {
        let life = state.instances.get(id).map(|kept| kept.now().life);
        matches!(life, None | Some(Life::Terminated | Life::Stopped))
    };
    for kept in state.volumes.values_mut() {
        if kept.now().mounted && kept.now().holder().is_some_and(gone) {
            kept.change(now, |volume| volume.mounted = false);
        }
    }
}

/// A terminated instance lets go of what it held, after a while; what was to be deleted with it is.
fn releases(state: &mut State, now: Duration) {
    let release = state.times.release;
    let instances = &state.instances;
    let due = |id: &str| {
        let instance = instances.get(id).map(Kept::now).filter(|instance| instance.life == Life::Terminated)?;
        Some(instance.since + release).filter(|at| *at <= now)
    };
    let mut deleted = Vec::new();
    for kept in state.volumes.values_mut() {
        let Some(attachment) = &kept.now().attachment else { continue };
        let (delete, detaching) = (attachment.delete_on_termination, attachment.hold == Hold::Detaching);
        match due(&attachment.instance) {
            Some(_) if delete => deleted.push(kept.now().id.clone()),
            Some(at) if !detaching => kept.change(at, |volume| {
                let attachment = volume.attachment.as_mut().expect("seen above");
                (attachment.hold, attachment.since) = (Hold::Detaching, at.max(attachment.since));
            }),
            Some(_) | None => {}
        }
    }
    state.volumes.retain(|id, _| !deleted.contains(id));
    deleted.clear();
    for kept in state.interfaces.values_mut() {
        let Some(link) = &kept.now().link else { continue };
        let (delete, detaching) = (link.delete_on_termination, link.hold == Hold::Detaching);
        match due(&link.instance) {
            Some(_) if delete => deleted.push(kept.now().id.clone()),
            Some(at) if !detaching => kept.change(at, |interface| {
                let link = interface.link.as_mut().expect("seen above");
                (link.hold, link.since) = (Hold::Detaching, at.max(link.since));
            }),
            Some(_) | None => {}
        }
    }
    state.interfaces.retain(|id, _| !deleted.contains(id));
}

fn volumes(state: &mut State, now: Duration, events: &mut Vec<Event>) {
    let (attach, detach) = (state.times.attach, state.times.detach);
    for kept in state.volumes.values_mut() {
        let volume = kept.now();
        let Some(held) = volume.attachment.clone() else { continue };
        let (id, instance, device) = (volume.id.clone(), held.instance.clone(), held.device.clone());
        let let_go = held.forced || !volume.mounted;
        match held.hold {
            Hold::Attaching if !volume.stuck && held.since + attach <= now => {
                let at = held.since + attach;
                kept.change(at, |volume| {
                    let attachment = volume.attachment.as_mut().expect("seen above");
                    (attachment.hold, attachment.since) = (Hold::Attached, at);
                });
                events.push(Event::Attached { volume: id, instance, device });
            }
            Hold::Detaching | Hold::Busy if let_go && held.since + detach <= now => {
                let at = if held.hold == Hold::Busy { now } else { held.since + detach };
                kept.change(at, |volume| {
                    volume.attachment = None;
                    volume.mounted = false;
                    volume.stuck = false;
                });
                events.push(Event::Detached { volume: id, instance, device });
            }
            // "If an EBS volume is … in the busy state": the guest has it mounted.
            // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachVolume.html
            Hold::Detaching if held.since + detach <= now => kept.change(now, |volume| {
                let attachment = volume.attachment.as_mut().expect("seen above");
                (attachment.hold, attachment.since) = (Hold::Busy, now);
            }),
            Hold::Attaching | Hold::Attached | Hold::Detaching | Hold::Busy => {}
        }
    }
}

fn links(state: &mut State, now: Duration, events: &mut Vec<Event>) {
    let (attach, detach) = (state.times.attach, state.times.detach);
    for kept in state.interfaces.values_mut() {
        let Some(link) = kept.now().link.clone() else { continue };
        let (interface, instance, mac) = (kept.now().id.clone(), link.instance.clone(), kept.now().mac.clone());
        match link.hold {
            Hold::Attaching if link.since + attach <= now => {
                let at = link.since + attach;
                kept.change(at, |interface| {
                    let link = interface.link.as_mut().expect("seen above");
                    (link.hold, link.since) = (Hold::Attached, at);
                });
                events.push(Event::LinkUp { interface, instance, mac });
            }
            Hold::Detaching if link.since + detach <= now => {
                kept.change(link.since + detach, |interface| interface.link = None);
                events.push(Event::LinkDown { interface, instance, mac });
            }
            Hold::Attaching | Hold::Attached | Hold::Detaching | Hold::Busy => {}
        }
    }
}

fn modifications(state: &mut State, now: Duration, events: &mut Vec<Event>) {
    for (id, history) in &mut state.modifications {
        let Some(last) = history.last_mut() else { continue };
        if last.status == "modifying" && last.since + state.times.modify <= now {
            (last.status, last.since) = ("optimizing", last.since + state.times.modify);
            if let Some(kept) = state.volumes.get_mut(id) {
                kept.change(last.since, |volume| volume.gib = last.to);
            }
            events.push(Event::Grown { volume: id.clone(), gib: last.to });
        }
        if last.status == "optimizing" && last.since + state.times.optimize <= now {
            (last.status, last.since) = ("completed", last.since + state.times.optimize);
        }
    }
}

/// `2026-01-01T00:00:00.000Z` and `since`: the moment the clock of this EC2 started is always the same.
pub fn date(since: Duration) -> String {
    const START: u64 = 1_767_225_600;
    iso(UNIX_EPOCH + Duration::from_secs(START) + since)
}

/// A moment as AWS writes it.
pub fn iso(moment: std::time::SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).expect("after 1970");
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (day, of_day) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, https://howardhinnant.github.io/date_algorithms.html
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
