//! What was looked at, how it went, and how long it took: told as it happens, and once more at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub struct Table {
    began: Instant,
    rows: Mutex<Vec<Row>>,
    notes: Mutex<Vec<String>>,
}

struct Row {
    case: String,
    good: bool,
    took: Duration,
}

impl Table {
    pub fn new() -> Table {
        Table { began: Instant::now(), rows: Mutex::default(), notes: Mutex::default() }
    }

    /// One thing to look at. Where it is not as it should be the others are looked at all the same: whether it was.
    pub fn case(&self, case: &str, check: impl FnOnce()) -> bool {
        let began = Instant::now();
        // What a check leaves half done is the machine's, and the next check looks at that with its own eyes.
        let good = catch_unwind(AssertUnwindSafe(check)).is_ok();
        let row = Row { case: case.into(), good, took: began.elapsed() };
        println!("{:6.1} s: {}", self.began.elapsed().as_secs_f32(), row.line());
        self.rows.lock().unwrap().push(row);
        good
    }

    /// All of a story. It is a case itself: it may end before it comes to one.
    pub fn story(&self, name: &str, tell: impl FnOnce()) {
        self.case(&format!("{name}: the whole story"), tell);
    }

    /// What is printed at the end, and never looked at.
    pub fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }

    /// Prints it; fails where a case did.
    pub fn print(&self) {
        for note in &*self.notes.lock().unwrap() {
            println!("\n{note}");
        }
        let mut rows = self.rows.lock().unwrap();
        // By story: two are told at once.
        rows.sort_by(|one, other| story(&one.case).cmp(story(&other.case)));
        println!("\n{:<76} | result | seconds", "case");
        for row in rows.iter() {
            println!("{}", row.line());
        }
        println!("{:<76} |        | {:7.1}", "all", self.began.elapsed().as_secs_f32());
        let failed = rows.iter().filter(|row| !row.good).count();
        assert_eq!(failed, 0, "of {} cases", rows.len());
    }
}

impl Row {
    fn line(&self) -> String {
        let result = if self.good { "ok" } else { "FAILED" };
        format!("{:<76} | {result:<6} | {:7.1}", self.case, self.took.as_secs_f32())
    }
}

fn story(case: &str) -> &str {
    case.split(':').next().unwrap_or_default()
}
