//! What is wrong with a config, and its printed form. Decides nothing.

use std::fmt;
use std::path::Path;

use crate::config::files::File;
use crate::config::position::{self, Place, Position};

/// All that is wrong, in the order of the files and their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or the flag, as the person knows it.
    pub subject: String,
    /// Where in the file, if in one.
    pub position: Option<Position>,
    /// What is wrong and the way out.
    pub message: String,
}

impl Problem {
    /// A problem of a whole file or of a flag.
    pub(super) fn of(subject: impl fmt::Display, message: impl Into<String>) -> Problem {
        Problem { subject: subject.to_string(), position: None, message: message.into() }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            f.write_str(if nth == 0 { "" } else { "\n\n" })?;
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    /// As rustc does it: `file:line:column: message`, the line, and a caret under what is meant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { subject, position, message } = self;
        let Some(Position { line, column, text, width }) = position else {
            return write!(f, "{subject}: {message}");
        };
        // A tab is as wide as the terminal likes; as a space, the caret stays under its character. Any other control
        // character, in a file that is no YAML, is not for the terminal to act upon.
        let shown = |c: char| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let text: String = text.chars().map(shown).collect();
        let gutter = " ".repeat(line.to_string().len());
        let (indent, carets) = (" ".repeat(column - 1), "^".repeat(*width));
        writeln!(f, "{subject}:{line}:{column}: {message}")?;
        writeln!(f, "  {line} | {text}")?;
        write!(f, "  {gutter} | {indent}{carets}")
    }
}

/// Collects the problems of some files, so that all are told and not the first only.
pub struct Report<'a> {
    files: &'a [File],
    /// With the number of the file, by which they are sorted.
    found: Vec<(usize, Problem)>,
}

impl<'a> Report<'a> {
    pub fn new(files: &'a [File]) -> Report<'a> {
        Report { files, found: Vec::new() }
    }

    /// One more. Nobody reads more than so many, and each is looked up in the text.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        const MOST: usize = 200;
        if self.found.len() >= MOST {
            return;
        }
        let position = position::find(&self.files[place.file].text, place);
        self.add_at(place.file, position, message);
    }

    /// One more, where the position is known.
    pub fn add_at(&mut self, file: usize, position: Option<Position>, message: impl Into<String>) {
        let subject = self.name(file).to_string();
        self.found.push((file, Problem { subject, position, message: message.into() }));
    }

    /// `file:line`, for a problem that has two ends.
    pub fn line_of(&self, place: &Place) -> String {
        let name = self.name(place.file);
        match position::find(&self.files[place.file].text, place) {
            Some(position) => format!("{name}:{}", position.line),
            None => name.to_string(),
        }
    }

    fn name(&self, file: usize) -> std::path::Display<'a> {
        Path::display(&self.files[file].path)
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn into_problems(mut self) -> Problems {
        let order = |position: &Option<Position>| position.as_ref().map(|at| (at.line, at.column));
        self.found.sort_by_key(|(file, problem)| (*file, order(&problem.position)));
        // A value that an alias uses again is wrong once.
        self.found.dedup();
        Problems(self.found.into_iter().map(|(_, problem)| problem).collect())
    }

    /// `value` where nothing is wrong.
    pub fn finish<T>(self, value: T) -> Result<T, Problems> {
        if self.is_empty() { Ok(value) } else { Err(self.into_problems()) }
    }
}

/// The word's nearest neighbour, where one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |other: &&&str| strsim::damerau_levenshtein(word, other);
    let near = known.iter().min_by_key(distance)?;
    // The measure that rustc uses.
    (distance(&near) <= word.chars().count().max(3) / 3).then_some(near)
}

/// The end of a sentence about a word that is not known: the one that may be meant, or all there are.
pub fn instead(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean {}?", tick(near)),
        None => format!("use {}", any_of(known)),
    }
}

/// `a`, `b` or `c`.
pub fn any_of(words: &[&str]) -> String {
    let ticked: Vec<_> = words.iter().map(|word| tick(word)).collect();
    match ticked.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A text of the user's in backticks, fit for a terminal.
pub fn tick(text: &str) -> String {
    format!("`{}`", printable(text))
}

/// Fit for a terminal: control characters as escapes.
pub fn printable(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escaped).collect()
}
