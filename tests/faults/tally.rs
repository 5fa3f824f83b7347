//! Counts what was shown, and keeps what went wrong to the end, so that one run tells all of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

pub struct Tally {
    title: String,
    started: Instant,
    counts: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

/// Whether every case is to be taken.
pub fn long() -> bool {
    std::env::var("FAULTS").is_ok_and(|value| value == "long")
}

/// At most `most` of these, spread evenly with the first and the last; all of them in a long run.
pub fn sample<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    if long() || all.len() <= most {
        return all.to_vec();
    }
    (0..most).map(|n| all[n * (all.len() - 1) / (most - 1).max(1)].clone()).collect()
}

impl Tally {
    pub fn new(title: impl Into<String>) -> Tally {
        Tally { title: title.into(), started: Instant::now(), counts: BTreeMap::new(), wrong: Vec::new() }
    }

    /// One case, and how it ended.
    pub fn add<E: Debug>(&mut self, case: &str, ended: Result<String, E>) {
        match ended {
            Ok(how) => *self.counts.entry(how).or_default() += 1,
            Err(error) => self.wrong.push(format!("{case}: {error:?}")),
        }
    }

    /// Prints the counts.
    pub fn end(self) {
        let counts: Vec<String> = self.counts.iter().map(|(how, count)| format!("{count} {how}")).collect();
        let all = self.counts.values().sum::<usize>() + self.wrong.len();
        println!("{}: {all} cases: {} ({:.1} s)", self.title, counts.join(", "), self.started.elapsed().as_secs_f32());
        let shown: Vec<&str> = self.wrong.iter().take(8).map(String::as_str).collect();
        assert!(shown.is_empty(), "{}: {} went wrong:\n{}", self.title, self.wrong.len(), shown.join("\n"));
    }
}
