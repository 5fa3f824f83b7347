//! An EC2 of the tests' own. moto, the peer that nobody here wrote, lets a volume be stolen, knows no slow state but
//! one, no throttling and no fault (facts of 5.2.5); this one keeps the rules that volinit lives by, and breaks them
//! when told to.
//!
//! [`Cloud`] is an account in one region. It can be asked without a network ([`Cloud::answer`], a function of its state
//! and of a time that the caller names), or through [`http::Server`] and [`imds::Imds`], as the SDK does.
//!
//! It must not know anything of volinit: what it says comes from AWS's documentation and from what people report of
//! AWS, named where it is used.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "what fails here is a test that fails")]

pub mod clock;
pub mod describe;
pub mod faults;
pub mod form;
pub mod http;
pub mod imds;
pub mod limits;
pub mod links;
pub mod rules;
pub mod setup;
pub mod state;
pub mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[allow(unused_imports, reason = "each test file uses its part")]
pub use self::{
    clock::Event,
    faults::{Fault, When},
    form::{Answer, Form, Refused},
    limits::Limits,
    state::{Call, Hold, Life, State},
};

type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

/// An account in one region, shared by whoever has a clone.
#[derive(Clone, Default)]
pub struct Cloud(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    hooks: Mutex<Vec<Hook>>,
}

/// What a request comes to: the answer, and what happens to it on the wire.
#[derive(Clone, Debug)]
pub struct Reply {
    pub answer: Answer,
    pub wire: Wire,
    /// Waited before the answer, by the wall clock.
    pub wait: Duration,
}

/// What happens to an answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Whole,
    /// Half of the body, then the connection is closed.
    Cut,
    /// Closed without a byte.
    Closed,
    /// Open without a byte.
    Silent,
}

impl Cloud {
    pub fn new() -> Cloud {
        Cloud::default()
    }

    /// The state, for what no method is made for. Hooks are not called under the lock; they may come back here.
    pub fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        self.locked(|state| {
            state.quiet_until = Duration::ZERO;
            use_it(state)
        })
    }

    fn locked<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a request comes to at `now`: no clock, no socket, no sleep. A fault that needs the wire shows as what the
    /// answer would have been.
    pub fn answer(&self, now: Duration, form: &Form) -> Answer {
        self.reply(now, None, form).answer
    }

    /// The same from an instance, with what the wire does to it.
    pub fn reply(&self, now: Duration, caller: Option<&str>, form: &Form) -> Reply {
        let (reply, events) = self.locked(|state| {
            state.now = state.now.max(now);
            let now = state.now;
            let mut events = clock::settle(state, now);
            let reply = one(state, now, caller, form);
            events.extend(clock::settle(state, now));
            (reply, events)
        });
        self.tell(&events);
        reply
    }

    /// An answer made outside the rules, such as that the signature is missing; it stands in the log too.
    pub fn refuse(&self, now: Duration, caller: Option<&str>, form: &Form, refused: Refused) -> Answer {
        self.with(|state| {
            state.now = state.now.max(now);
            let now = state.now;
            let answer = written(state, form, &Err(refused));
            log(state, now, caller, form, &answer, None);
            answer
        })
    }

    /// Lets time pass up to `now`, with no request.
    pub fn settle(&self, now: Duration) {
        let events = self.locked(|state| {
            state.now = state.now.max(now);
            clock::settle(state, state.now)
        });
        self.tell(&events);
    }

    fn tell(&self, events: &[Event]) {
        let hooks = self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for event in events {
            for hook in &hooks {
                hook(event);
            }
        }
    }

    /// Called after each event, with no lock held; an answer waits for the hooks of what it brought about, but one
    /// that comes while they run does not: as in EC2, "attached" may be said before the kernel has the disk.
    pub fn on_event(&self, hook: impl Fn(&Event) + Send + Sync + 'static) {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
    }

    /// `hook(volume, instance, device)`: a test makes a disk appear.
    pub fn on_attach(&self, hook: impl Fn(&str, &str, &str) + Send + Sync + 'static) {
        self.on_event(move |event| {
            if let Event::Attached { volume, instance, device } = event {
                hook(volume, instance, device);
            }
        });
    }

    /// `hook(volume, instance, device)`: it disappears.
    pub fn on_detach(&self, hook: impl Fn(&str, &str, &str) + Send + Sync + 'static) {
        self.on_event(move |event| {
            if let Event::Detached { volume, instance, device } = event {
                hook(volume, instance, device);
            }
        });
    }

    /// How long attaching takes, of volumes and interfaces; the like for the others through [`Cloud::with`].
    pub fn attach_takes(&self, time: Duration) {
        self.with(|state| state.times.attach = time);
    }

    pub fn detach_takes(&self, time: Duration) {
        self.with(|state| state.times.detach = time);
    }

    /// From shutting-down to terminated, and from there to its volumes being let go.
    pub fn terminate_takes(&self, time: Duration, release: Duration) {
        self.with(|state| (state.times.terminate, state.times.release) = (time, release));
    }

    pub fn stop_takes(&self, time: Duration) {
        self.with(|state| state.times.stop = time);
    }

    pub fn modify_takes(&self, modifying: Duration, optimizing: Duration) {
        self.with(|state| (state.times.modify, state.times.optimize) = (modifying, optimizing));
    }

    /// Describes show what was that long ago.
    pub fn describe_lags(&self, time: Duration) {
        self.with(|state| state.times.describe_lags = time);
    }

    /// Nobody has the right to this action.
    pub fn deny(&self, action: &str) {
        self.with(|state| state.denied.insert(action.into()));
    }

    /// With [`Limits::published`], what AWS gives an account.
    pub fn throttle(&self, limits: Limits) {
        self.with(|state| state.limits = Some(limits));
    }

    /// The most that a page holds.
    pub fn pages_of(&self, most: usize) {
        self.with(|state| state.page = Some(most));
    }

    /// `action` may be `*`.
    pub fn fault(&self, action: &str, when: When, fault: Fault) {
        self.with(|state| state.faults.add(action, when, fault));
    }

    pub fn heal(&self) {
        self.with(|state| state.faults.clear());
    }

    pub fn calls(&self) -> Vec<Call> {
        self.locked(|state| state.calls.clone())
    }

    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.action == action).collect()
    }

    pub fn count(&self, action: &str) -> usize {
        self.locked(|state| state.calls.iter().filter(|call| call.action == action).count())
    }

    pub fn forget_calls(&self) {
        self.locked(|state| state.calls.clear());
    }
}

/// One request: the fault that is due, throttling, rights, the rules; then the log.
fn one(state: &mut State, now: Duration, caller: Option<&str>, form: &Form) -> Reply {
    let mut reply =
        Reply { answer: Answer { status: 200, body: String::new() }, wire: Wire::Whole, wait: Duration::ZERO };
    let fault = state.faults.take(form.action());
    reply.answer = match &fault {
        Some(Fault::Error(refused)) => written(state, form, &Err(refused.clone())),
        Some(Fault::Html) => Answer { status: 503, body: "<html><body><h1>503</h1></body>".into() },
        Some(Fault::Reset | Fault::Dead) => Answer { status: 0, body: String::new() },
        _ => {
            let result = admitted(state, now, caller, form).and_then(|()| rules::act(state, now, form));
            if result.is_ok() && !form.action().starts_with("Describe") {
                state.quiet_until = Duration::ZERO;
            }
            written(state, form, &result)
        }
    };
    match fault {
        Some(Fault::DoneBut500) => {
            let refused = Refused::with(500, "InternalError", "An internal error has occurred");
            reply.answer = written(state, form, &Err(refused));
        }
        Some(Fault::Garbage) => reply.answer = Answer { status: 200, body: "\u{1}<volumeSet><item></nope".into() },
        Some(Fault::Lost | Fault::Reset) => reply.wire = Wire::Closed,
        Some(Fault::Cut) => reply.wire = Wire::Cut,
        Some(Fault::Dead) => reply.wire = Wire::Silent,
        Some(Fault::Slow(wait)) => reply.wait = wait,
        Some(Fault::Error(_) | Fault::Html) | None => {}
    }
    let word = match (reply.wire, reply.answer.status) {
        (Wire::Whole, _) => None,
        (Wire::Cut, _) => Some("cut"),
        (Wire::Closed, 0) => Some("reset"),
        (Wire::Closed, _) => Some("lost"),
        (Wire::Silent, _) => Some("silent"),
    };
    log(state, now, caller, form, &reply.answer, word);
    reply
}

/// Buckets first, then rights, then `DryRun`.
fn admitted(state: &mut State, now: Duration, caller: Option<&str>, form: &Form) -> rules::Result<()> {
    let ec2 = form.get("Version").is_none_or(|version| version == "2016-11-15");
    if ec2 && state.limits.as_mut().is_some_and(|limits| !limits.take(now, form)) {
        return Err(faults::throttled());
    }
    if state.denied.contains(form.action()) {
        return Err(unauthorized(caller, form, ec2));
    }
    if form.get("DryRun") == Some("true") {
        let text = "Request would have succeeded, but DryRun flag is set.";
        return Err(Refused::with(412, "DryRunOperation", text));
    }
    Ok(())
}

/// The text: ministryofjustice/modernisation-platform#8392. An action that knows no resources names `*` and says no
/// "on resource"; CloudFormation and Auto Scaling call it `AccessDenied`.
fn unauthorized(caller: Option<&str>, form: &Form, ec2: bool) -> Refused {
    let who = format!("arn:aws:sts::111122223333:assumed-role/node/{}", caller.unwrap_or("test"));
    let service = match form.get("Version") {
        Some("2010-05-15") => "cloudformation",
        Some("2011-01-01") => "autoscaling",
        _ => "ec2",
    };
    let action = format!("{service}:{}", form.action());
    let on = match form.get("VolumeId").or(form.get("NetworkInterfaceId")) {
        Some(id) if id.starts_with("vol-") => {
            format!(" on resource: arn:aws:ec2:eu-central-1:111122223333:volume/{id}")
        }
        Some(id) => format!(" on resource: arn:aws:ec2:eu-central-1:111122223333:network-interface/{id}"),
        None => String::new(),
    };
    let text = format!(
        "User: {who} is not authorized to perform: {action}{on} because no identity-based policy allows the {action} \
         action"
    );
    if ec2 {
        let text = format!("You are not authorized to perform this operation. {text}");
        Refused::with(403, "UnauthorizedOperation", text)
    } else {
        Refused::with(403, "AccessDenied", text)
    }
}

fn written(state: &mut State, form: &Form, result: &rules::Result<form::Xml>) -> Answer {
    let status = result.as_ref().map_or_else(|refused| refused.status, |_| 200);
    Answer { status, body: rules::envelope(form, state.next(), result) }
}

fn log(state: &mut State, at: Duration, caller: Option<&str>, form: &Form, answer: &Answer, word: Option<&str>) {
    let other = |(key, _): &&(String, String)| key != "Action" && key != "Version";
    state.calls.push(Call {
        at,
        caller: caller.map(str::to_owned),
        action: form.action().into(),
        params: form.fields.iter().filter(other).cloned().collect(),
        status: answer.status,
        code: word.unwrap_or(answer.code()).into(),
    });
}
