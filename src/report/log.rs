//! The log: stderr only, no timestamps (the journal has its own), priorities where the journal reads them.

use std::io::Write;

use log::{Level, LevelFilter};

use super::progress;

/// Starts it. A person at a terminal sees warnings, the journal each decision with its reason; `verbose`
/// asks for more, `RUST_LOG` for anything.
pub fn init(verbose: u8) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let level = match (verbose, journal) {
        (0, false) => LevelFilter::Warn,
        (0, true) | (1, _) => LevelFilter::Info,
        (2.., _) => LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(move |to, record| {
            progress::clear();
            if journal {
                writeln!(to, "<{}>{}", priority(record.level()), record.args())
            } else {
                writeln!(to, "{}", record.args())
            }
        })
        .init();
}

/// syslog(3)'s priorities, as sd-daemon(3) reads them at the beginning of a line.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
