//! What is going on, for who waits: a line on the terminal, or STATUS= and more time from systemd.
//!
//! Whatever may take long says so with [`start`]; a thread tells of it once it has lasted a second. Where
//! nobody listens nothing is started.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::signals;

/// Something that goes on as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Running(Option<usize>);

#[derive(Clone, Copy, PartialEq)]
enum Listener {
    Terminal,
    Systemd,
    Nobody,
}

/// Sooner than this nobody wonders.
const QUIET: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(250);
/// systemd kills a unit that is late; each message moves that by this much, and they come much more often.
const MORE_TIME: Duration = Duration::from_secs(60);
const BETWEEN_MESSAGES: Duration = Duration::from_secs(5);

static LISTENER: LazyLock<Listener> = LazyLock::new(|| {
    if stderr().is_terminal() {
        Listener::Terminal
    } else if std::env::var_os("NOTIFY_SOCKET").is_some() {
        Listener::Systemd
    } else {
        Listener::Nobody
    }
});

#[derive(Default)]
struct Board {
    next: usize,
    running: Vec<(usize, String, Instant)>,
    /// A line of ours stands on the terminal.
    shown: bool,
    ticking: bool,
}

static BOARD: Mutex<Board> = Mutex::new(Board { next: 0, running: Vec::new(), shown: false, ticking: false });

fn board() -> MutexGuard<'static, Board> {
    // A thread that panicked here has left whole entries: they are pushed and removed in one step.
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that `what` goes on from now until the value is dropped. What may last may also be stopped.
pub fn start(what: impl FnOnce() -> String) -> Running {
    signals::listen();
    short(what)
}

/// The same of what most often takes no time, and which no signal cuts off.
pub fn short(what: impl FnOnce() -> String) -> Running {
    if *LISTENER == Listener::Nobody {
        return Running(None);
    }
    let mut board = board();
    let number = board.next;
    board.next += 1;
    board.running.push((number, what(), Instant::now()));
    // A thread that cannot be had (a limit on tasks) is no reason to end: then nobody is told.
    board.ticking = board.ticking || thread::Builder::new().spawn(tick).is_ok();
    Running(Some(number))
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(number) = self.0 else { return };
        let mut board = board();
        board.running.retain(|(running, ..)| *running != number);
        if board.running.is_empty() {
            board.clear();
        }
    }
}

/// Takes our line off the terminal, before something else is written to it.
pub fn clear() {
    if *LISTENER == Listener::Terminal {
        board().clear();
    }
}

/// Tells systemd that it may go on (Type=notify): only where all is well, since whatever waits for the volumes must not
/// start without them.
pub fn ready() {
    // Not being listened to is no error.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Tells systemd how it ended.
pub fn ended(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(status)]);
}

impl Board {
    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    /// `mkfs.xfs on /dev/nvme1n1: 12 s; waiting for /dev/xvdc: 12 s`
    fn line(&self) -> Option<String> {
        let late = self.running.iter().filter(|(_, _, since)| since.elapsed() >= QUIET);
        let parts: Vec<String> =
            late.map(|(_, what, since)| format!("{what}: {} s", since.elapsed().as_secs())).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn tick() {
    let mut told: Option<Instant> = None;
    loop {
        thread::sleep(TICK);
        let mut board = board();
        let Some(line) = board.line() else { continue };
        match *LISTENER {
            Listener::Terminal => {
                board.shown = true;
                let _ = write!(stderr(), "\r\x1b[K{line}");
            }
            Listener::Systemd if told.is_none_or(|told| told.elapsed() >= BETWEEN_MESSAGES) => {
                told = Some(Instant::now());
                let more = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
                let _ = sd_notify::notify(&[NotifyState::Status(&line), NotifyState::ExtendTimeoutUsec(more)]);
            }
            Listener::Systemd | Listener::Nobody => {}
        }
    }
}
