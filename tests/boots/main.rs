//! Real boots of a real Debian: systemd, udev and cloud-init as a machine of the cloud has them, and volinit as the
//! package installs it. `make test-vm`; `BOOTS=wrong` runs one of the stories alone.
//!
//! A boot under emulation takes ten seconds on a free machine, and longer on a busy one. So a story puts many volumes
//! and services into one boot, and a case is what is looked at there. Nothing here depends on how long it took.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod cost;
mod deb;
mod growth;
mod node;
#[path = "../rig/mod.rs"]
mod rig;
mod table;
#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../vm/mod.rs"]
mod vm;
mod ways;
mod wrong;

use std::thread;

use table::Table;
use vm::debian::Image;

/// Each makes its machines by itself.
type Story = fn(&Image, &Table);

/// The longest first.
const STORIES: [(&str, Story); 6] = [
    ("wrong", wrong::story),
    ("cost", cost::story),
    ("ways", ways::story),
    ("growth", growth::story),
    ("baked", ways::baked),
    ("deb", deb::story),
];

/// As many as there are processors to emulate others with.
const AT_ONCE: usize = 2;

#[test]
fn boots() {
    let folder = tempfile::Builder::new().prefix("volinit-boots-").tempdir().unwrap();
    let image = Image::new(folder.path());
    let only = std::env::var("BOOTS").ok();
    let stories: Vec<_> = STORIES.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)).collect();
    assert!(!stories.is_empty(), "BOOTS={only:?}");
    let table = Table::new();
    let next = std::sync::Mutex::new(stories.into_iter());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // Its own statement: the lock is not held while the story is told.
                loop {
                    let Some((name, story)) = next.lock().unwrap().next() else { break };
                    table.story(name, || story(&image, &table));
                }
            });
        }
    });
    table.print();
}
