//! The log: stderr only, no timestamps (the journal has its own), and with fields where it goes to the journal.

use std::io::{Write, stderr};

use env_filter::Filter;
use log::{LevelFilter, Log, Metadata, Record};

use super::journal::{self, Journal};
use super::progress;

struct Logger {
    filter: Filter,
    /// `None`: a person, or a file.
    journal: Option<Journal>,
}

/// Starts it. A person at a terminal sees warnings, the journal each decision with its reason; `verbose`
/// asks for more, `RUST_LOG` for anything.
pub fn init(verbose: u8) {
    let is_journal = journal::is_behind(stderr());
    let level = match (verbose, is_journal) {
        (0, false) => LevelFilter::Warn,
        (0, true) | (1, _) => LevelFilter::Info,
        (2.., _) => LevelFilter::Debug,
    };
    let mut filter = env_filter::Builder::new();
    filter.filter_level(level);
    if let Ok(more) = std::env::var("RUST_LOG") {
        filter.parse(&more);
    }
    let filter = filter.build();
    log::set_max_level(filter.filter());
    // It fails where somebody set one before: nobody does.
    let _ = log::set_boxed_logger(Box::new(Logger { filter, journal: is_journal.then(Journal::connect) }));
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        let text = record.args().to_string();
        if let Some(journal) = &self.journal {
            journal.send(record.level(), record.target(), &text);
        } else {
            progress::clear();
            // In one piece: other threads write too. That nobody reads it is no reason to end.
            let _ = stderr().write_all(format!("{text}\n").as_bytes());
        }
    }

    fn flush(&self) {}
}
