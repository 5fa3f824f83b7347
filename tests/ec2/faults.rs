//! A script of what goes wrong, by action: which call, and how.

use std::time::Duration;

use super::form::Refused;

/// What becomes of one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error in place of the action: its code, message and status.
    Error(Refused),
    /// The action is done, and the connection closed without an answer.
    Lost,
    /// The action is done, and the answer is a 500 (aws-sdk-java#1623: an attach that "failed" had succeeded).
    DoneBut500,
    /// The connection is closed before anything is done.
    Reset,
    /// The action is done; the answer ends in its middle, with the length of the whole in its header.
    Cut,
    /// The action is done; the answer is a 200 that is not XML.
    Garbage,
    /// Nothing is done; a 503 with a page of HTML, as a proxy sends it.
    Html,
    /// The action is done at once, and the answer comes late. Time of the wall clock: it tests the client's timeouts.
    Slow(Duration),
    /// Nothing is done, and nothing is ever answered.
    Dead,
}

impl Fault {
    /// 500 `InternalError`: nothing done.
    pub fn internal() -> Fault {
        let text = "An internal error has occurred";
        Fault::Error(Refused::with(500, "InternalError", text))
    }

    /// 503 `Unavailable`: nothing done.
    pub fn unavailable() -> Fault {
        let text = "The server is overloaded and can't handle the request";
        Fault::Error(Refused::with(503, "Unavailable", text))
    }

    /// 503 `RequestLimitExceeded`, with the text of otiai10/hotsub#10.
    pub fn throttled() -> Fault {
        Fault::Error(throttled())
    }

    /// Another error, status 400.
    pub fn error(code: &str, message: &str) -> Fault {
        Fault::Error(Refused::new(code, message))
    }
}

pub fn throttled() -> Refused {
    Refused::with(503, "RequestLimitExceeded", "Request limit exceeded.")
}

/// Which of the calls, counted from when the fault was set, the first being 1. A retry of the SDK's is a call.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Nth(u32),
    First(u32),
    Every,
}

#[derive(Clone, Debug, Default)]
pub struct Script {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    action: String,
    when: When,
    fault: Fault,
    seen: u32,
}

impl Script {
    pub fn add(&mut self, action: &str, when: When, fault: Fault) {
        self.entries.push(Entry { action: action.into(), when, fault, seen: 0 });
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The fault for this call, if one is due. Where two are, the one set first.
    pub fn take(&mut self, action: &str) -> Option<Fault> {
        let mut due = None;
        for entry in self.entries.iter_mut().filter(|entry| entry.action == action || entry.action == "*") {
            entry.seen += 1;
            let now = match entry.when {
                When::Nth(number) => entry.seen == number,
                When::First(number) => entry.seen <= number,
                When::Every => true,
            };
            if now && due.is_none() {
                due = Some(entry.fault.clone());
            }
        }
        due
    }
}
