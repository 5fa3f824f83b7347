//! The log: stderr only, no timestamps (the journal has its own), and with fields where it goes to the journal.

use std::io::{Write, stderr};

use log::LevelFilter;

use super::journal::{self, Journal};
use super::progress;

/// Starts it. A person at a terminal sees warnings, the journal each decision with its reason; `verbose`
/// asks for more, `RUST_LOG` for anything.
pub fn init(verbose: u8) {
    let is_journal = journal::is_behind(stderr());
    let level = match (verbose, is_journal) {
        (0, false) => LevelFilter::Warn,
        (0, true) | (1, _) => LevelFilter::Info,
        (2.., _) => LevelFilter::Debug,
    };
    let mut log = env_logger::Builder::new();
    log.filter_level(level).parse_default_env();
    if is_journal {
        let journal = Journal::new(log.build());
        log::set_max_level(journal.level());
        // As env_logger does it, which fails where somebody set one before: nobody does.
        let _ = log::set_boxed_logger(Box::new(journal));
        return;
    }
    log.format(|to, record| {
        progress::clear();
        writeln!(to, "{}", record.args())
    })
    .init();
}
