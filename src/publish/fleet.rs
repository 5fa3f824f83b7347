//! What fleet is told: the metadata pairs in `/etc/fleet/fleet.conf` and in a drop-in of `fleet.service`, each
//! merged into what others say there. A fleet that runs is told to read fleet.conf again, and never restarted: that
//! would take every unit off the node.
//!
//! fleet.conf is read as fleet reads it, by rakyll/goini (`ini.go`) and `config/config.go` of coreos/fleet:
//! keys in any case, the last of several lines counts, quotes only around a whole value, `#` and `;` end a
//! value without quotes, a `\` at its end joins a line with the next.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::environment::{self, Service};
use super::files::{self, Content, File};
use super::{News, pairs, systemd};
use crate::root::Root;

/// Where fleet looks when its command line names no file.
const CONF: &str = "/etc/fleet/fleet.conf";

/// Why pairs cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A pair that fleet would not read as it was meant.
    #[error(
        "fleet cannot carry the metadata {key:?} = {value:?}: leave out commas, `=`, quotes, `#`, `;`, backslashes, \
         control characters, and white space at the ends; a key is not empty"
    )]
    Pair {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A file that fleet itself refuses.
    #[error("its last line ends in a backslash, so that the file has no end: fleet refuses it, remove the backslash")]
    Unfinished,
}

/// What reads the files when it starts.
pub const SERVICES: [&str; 1] = ["fleet.service"];

/// The files that tell fleet the news.
pub fn files(root: &Root, News { pairs, keys: withdrawn, .. }: &News<'_>) -> Result<Vec<File>> {
    let existing = files::read(root, Path::new(CONF))?;
    let conf = merge_conf(existing.as_deref(), pairs, withdrawn)
        .with_context(|| format!("merging {}", root.path(CONF).display()))?;
    let said = conf.as_deref().map(metadata).unwrap_or_default();
    let service = Service::read(root)?;
    let mut files = environment::files(&service, &said, pairs, withdrawn)?;
    files.extend(conf.map(|text| File { path: CONF.into(), content: Content::Text(text) }));
    Ok(files)
}

/// Has a fleet that runs read fleet.conf again (0.11.7 and later do), which leaves its units where they are.
pub fn tell(root: &Root) -> Result<()> {
    if systemd::hang_up(root, SERVICES[0])? {
        log::info!("a fleet with FLEET_METADATA in its environment goes by that, until it is started anew");
    }
    Ok(())
}

/// fleet.conf with `pairs`, and without those of the `withdrawn` keys; all else as it was. `None` where there is
/// no file and nothing to say: then there need be none.
///
/// Of several `metadata=` lines the last is the one that counts, so it is the one that is merged into. A line
/// that becomes empty stays, as `metadata=""`: without it, an earlier one would count.
pub fn merge_conf(
    existing: Option<&str>,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Option<String>, MergeError> {
    pairs.iter().try_for_each(carried)?;
    let Some(text) = existing else {
        let ours = merge_pairs("", pairs, withdrawn);
        return Ok((!pairs.is_empty()).then(|| format!("metadata=\"{ours}\"\n")));
    };
    let (lines, end) = lines(text)?;
    let Some((line, value)) = lines.iter().rev().find_map(|line| Some((line, line.value()?))) else {
        return Ok(Some(if pairs.is_empty() { text.to_owned() } else { with_line(text, end, pairs) }));
    };
    let merged = merge_pairs(&line.text[value.clone()], pairs, withdrawn);
    if merged == line.text[value.clone()] {
        return Ok(Some(text.to_owned()));
    }
    let (before, after) = (&line.text[..value.start], &line.text[value.end..]);
    // A line that is a key alone has no place for a value yet.
    let equals = if before.contains('=') { "" } else { "=" };
    let mut line_text = format!("{before}{equals}{merged}{after}");
    // With a pair withdrawn, another's backslash may come to stand last, and would join the next line to this one;
    // fleet passes over what is between a comma and the line's end.
    if line_text.trim_end().ends_with('\\') {
        line_text.push(',');
    }
    let mut new = text.to_owned();
    new.replace_range(line.place.clone(), &line_text);
    Ok(Some(new))
}

/// The value of `metadata` in fleet.conf's text, as fleet reads it.
#[doc(hidden)] // for the fuzzer
pub fn metadata(text: &str) -> String {
    let (lines, _) = lines(text).unwrap_or_default();
    let line = lines.iter().rev().find_map(|line| Some(line.text[line.value()?].to_owned()));
    line.unwrap_or_default()
}

/// fleet's list of pairs with `pairs` in it, and without those of `withdrawn` keys.
pub(super) fn merge_pairs(existing: &str, pairs: &BTreeMap<String, String>, withdrawn: &BTreeSet<String>) -> String {
    pairs::merge(existing, (',', '='), pairs, withdrawn)
}

/// A pair's key, as fleet reads it; `None` of what is no pair.
pub(super) fn key(pair: &str) -> Option<&str> {
    pairs::key(pair, '=')
}

/// Whether fleet reads a pair as it is meant, in fleet.conf with any quotes or none and in a unit's
/// `MachineMetadata=`, which is why a value has no `=`.
fn carried((key, value): (&String, &String)) -> Result<(), MergeError> {
    let plain = |text: &str| text.trim() == text && !text.contains(|c: char| c.is_control() || ",=\"'#;\\".contains(c));
    if plain(key) && plain(value) && !key.is_empty() {
        return Ok(());
    }
    Err(MergeError::Pair { key: key.clone(), value: value.clone() })
}

/// The file with a line of its own for `pairs`, at `end`: before the first section, where alone it counts.
fn with_line(text: &str, end: usize, pairs: &BTreeMap<String, String>) -> String {
    let (before, after) = text.split_at(end);
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{gap}metadata=\"{}\"\n{after}", merge_pairs("", pairs, &BTreeSet::new()))
}

/// The value of `FLEET_METADATA` in a unit's text, where that sets it. For the fuzzer.
#[doc(hidden)]
pub fn metadata_in_unit(text: &str) -> Option<String> {
    environment::set(text)
}

/// Our drop-in for a fleet.service of this text, after an earlier drop-in of ours. For the fuzzer.
#[doc(hidden)]
pub fn drop_in(
    unit: &str,
    ours: Option<&str>,
    conf: &str,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Vec<File>> {
    environment::files(&Service::of(unit, ours), conf, pairs, withdrawn)
}

/// A line as goini sees it: with those it is joined to, without white space around it.
struct Line {
    text: String,
    /// What it takes in the file, without white space around it.
    place: Range<usize>,
}

impl Line {
    /// Where in the text the value of `metadata` is, without its quotes; `None` on any other line.
    fn value(&self) -> Option<Range<usize>> {
        let key = self.text.find(['=', ' ', '\t']).unwrap_or(self.text.len());
        if !self.text[..key].eq_ignore_ascii_case("metadata") {
            return None;
        }
        let rest = self.text[key..].trim_start_matches([' ', '\t']);
        let Some(rest) = rest.strip_prefix('=') else {
            // A key alone is one with an empty value; anything else after it is a syntax error, and nobody's.
            return rest.is_empty().then_some(key..key);
        };
        let value = rest.trim_start_matches([' ', '\t']);
        let start = self.text.len() - value.len();
        for quote in ['"', '\''] {
            if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote))
                && !inner.contains(quote)
            {
                return Some(start + 1..start + 1 + inner.len());
            }
        }
        let value = &value[..value.find(['#', ';']).unwrap_or(value.len())];
        Some(start..start + value.trim_end().len())
    }
}

/// The lines before the first section, and where they end: the options that fleet reads are in no section.
fn lines(text: &str) -> Result<(Vec<Line>, usize), MergeError> {
    let mut lines = Vec::new();
    let mut at = 0;
    let mut rows = text.split_inclusive('\n');
    while let Some(row) = rows.next() {
        let row_start = at;
        let start = at + (row.len() - row.trim_start().len());
        let mut line = row.trim().to_owned();
        let mut end = start + line.len();
        at += row.len();
        while line.ends_with('\\') {
            line.pop();
            let row = rows.next().ok_or(MergeError::Unfinished)?;
            line.push_str(row.trim());
            end = at + row.trim_end().len();
            at += row.len();
        }
        if line.starts_with('[') && line.ends_with(']') {
            return Ok((lines, row_start));
        }
        lines.push(Line { text: line, place: start..end });
    }
    Ok((lines, at))
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
