//! SIGTERM, SIGINT and SIGHUP in the middle of the work: what writes to a device is finished first, and then volinit
//! ends before the next step; where it only reads or waits it ends at once. The tools do not hear of it at all.

use std::process::{Command, exit};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use log::{debug, error, warn};
use nix::sys::signal::{SigSet, Signal};

use crate::ioctl;
use crate::report::progress;

/// A step that is finished once it has begun, as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Held(());

struct Board {
    /// What is under way and will be finished.
    held: Vec<String>,
    /// What was finished, in its order.
    finished: Vec<String>,
    stopping: bool,
}

static BOARD: Mutex<Board> = Mutex::new(Board { held: Vec::new(), finished: Vec::new(), stopping: false });
static CHANGED: Condvar = Condvar::new();

fn board() -> MutexGuard<'static, Board> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What asks a program to end.
fn signals() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
}

/// Takes the signals into its own hands. To be called while there is one thread: the others inherit that. Until
/// [`listen`] they wait; a run that has nothing to do ends before anybody could send one.
pub fn take() {
    if let Err(errno) = signals().thread_block() {
        debug!("holding signals back: {errno}");
    }
}

/// Hears them from now on: to be called before anything that may last, and not before, since the thread that it takes costs
/// a boot more than most of its steps. Only the first call does something.
pub fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(hear);
}

fn hear() {
    let signals = signals();
    // Where they were not taken (`plan`, `devices`) each does what it always does.
    if !SigSet::thread_get_mask().is_ok_and(|mask| mask.contains(Signal::SIGTERM)) {
        return;
    }
    let listening = thread::Builder::new().name("signals".into()).spawn(move || {
        if let Ok(signal) = signals.wait() {
            stop(signal);
        }
    });
    if let Err(error) = listening {
        // No thread to be had (a limit on tasks): as if they had never been taken, in this thread at least.
        debug!("listening for signals: {error}");
        let _ = signals.thread_unblock();
    }
}

/// Has a tool ignore them: systemd and `kill` may send them to all of us, and an fsck that is killed half way is how
/// disks were lost. Not by ignoring them here: that would throw away one that waits to be heard.
pub fn deaf(command: &mut Command) -> &mut Command {
    ioctl::deaf(command, &signals())
}

/// Says that `what` has begun and is to be finished. Where volinit is ending it never returns: nothing new begins. What may
/// last [`listen`]s first, so that who sends a signal hears what is waited for.
pub fn hold(what: impl FnOnce() -> String) -> Held {
    let mut board = board();
    while board.stopping {
        board = CHANGED.wait(board).unwrap_or_else(PoisonError::into_inner);
    }
    board.held.push(what());
    Held(())
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut board = board();
        // Which of several it was is nobody's question: all of them are waited for.
        if let Some(what) = board.held.pop() {
            board.finished.push(what);
        }
        CHANGED.notify_all();
    }
}

fn stop(signal: Signal) {
    let mut board = board();
    board.stopping = true;
    if !board.held.is_empty() {
        warn!("{signal}: it ends after {}, which must not be cut off", board.held.join(", "));
    }
    while !board.held.is_empty() {
        board = CHANGED.wait(board).unwrap_or_else(PoisonError::into_inner);
    }
    let after = match board.finished.as_slice() {
        [] => "before anything was written".to_owned(),
        finished => format!("after {}", finished.join(", ")),
    };
    progress::ended(&format!("stopped by {signal} {after}"));
    error!("volinit: stopped by {signal} {after}; run it again, and it goes on from there");
    exit(1);
}
