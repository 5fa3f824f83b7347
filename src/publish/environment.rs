//! `FLEET_METADATA` in fleet.service's environment. Where it is set, even to nothing, fleet ignores what
//! fleet.conf says, so volinit's drop-in must come last and repeat what the others say.
//! Settings are read as systemd reads them; specifiers in them (`%H`) stay specifiers. `EnvironmentFile=` is not
//! followed: no fleet that we know of has its metadata there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::Chars;

use anyhow::{Result, bail};

use super::escape::quote;
use super::files::{self, Content, File};
use super::fleet::{key, merge_pairs};
use crate::root::Root;

/// Where units and their drop-ins are, and which of two of one name counts: the first (systemd.unit(5)).
pub(super) const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const UNIT: &str = "fleet.service";
/// Ours, under /run: what is published is true until the next boot. coreos-cloudinit's is 20-cloudinit.conf.
/// The second name is for a machine where somebody else's drop-in sorts after the first.
const OURS: &str = "/run/systemd/system/fleet.service.d";
const NAMES: [&str; 2] = ["50-volinit.conf", "zz-volinit.conf"];
/// The comment in our drop-in that lists which of its pairs are ours.
const KEYS: &str = "# volinit's own: ";
const VARIABLE: &str = "FLEET_METADATA";

/// The files that say what fleet.service's environment is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    /// The unit's own text.
    unit: String,
    /// Others' drop-ins in the order in which they count: name to path and text.
    drop_ins: BTreeMap<String, (PathBuf, String)>,
    /// The drop-in that volinit wrote earlier.
    ours: Option<String>,
}

impl Service {
    /// Reads them; changes nothing.
    pub(super) fn read(root: &Root) -> Result<Service> {
        let mut service = Service::default();
        for folder in FOLDERS.iter().map(Path::new) {
            if service.unit.is_empty() {
                service.unit = files::read(root, &folder.join(UNIT))?.unwrap_or_default();
            }
            let folder = folder.join(format!("{UNIT}.d"));
            for name in files::list(root, &folder)? {
                let path = folder.join(&name);
                if !is_drop_in(&name) || service.drop_ins.contains_key(&name) {
                    continue;
                }
                // A link to /dev/null reads as nothing, and still hides its namesakes.
                let text = files::read(root, &path)?.unwrap_or_default();
                if folder == Path::new(OURS) && NAMES.contains(&name.as_str()) {
                    service.ours = Some(text);
                } else {
                    service.drop_ins.insert(name, (path, text));
                }
            }
        }
        Ok(service)
    }

    /// A unit without others' drop-ins.
    pub(super) fn of(unit: &str, ours: Option<&str>) -> Service {
        Service { unit: unit.to_owned(), ours: ours.map(str::to_owned), ..Service::default() }
    }

    /// What the others' files set the variable to, specifiers unexpanded, and the last of the drop-ins that has
    /// a say in it.
    fn effective(&self) -> (Option<String>, Option<(&str, &Path)>) {
        let mut value = None;
        let mut last = None;
        if let Some(Effect::Set(set)) = effect(&self.unit) {
            value = Some(set);
        }
        for (name, (path, text)) in &self.drop_ins {
            match effect(text) {
                None => continue,
                Some(Effect::Set(set)) => value = Some(set),
                Some(Effect::Reset) => value = None,
            }
            last = Some((name.as_str(), path.as_path()));
        }
        (value, last)
    }
}

fn is_drop_in(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "conf")
}

/// The files that a unit consists of, with their texts: of two of one name the one that counts.
pub(super) fn unit_files(root: &Root, unit: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for folder in FOLDERS.iter().map(Path::new) {
        let drop_ins = folder.join(format!("{unit}.d"));
        let names = files::list(root, &drop_ins)?.into_iter().filter(|name| is_drop_in(name));
        for path in std::iter::once(folder.join(unit)).chain(names.map(|name| drop_ins.join(name))) {
            if !found.iter().any(|(other, _)| other.file_name() == path.file_name()) {
                found.extend(files::read(root, &path)?.map(|text| (path, text)));
            }
        }
    }
    Ok(found)
}

/// Our drop-in: what the others say, else `conf` (fleet.conf's value), with `pairs` in it and `withdrawn` keys out
/// of it. Pairs of ours that another run published, for another volume, stay.
pub(super) fn files(
    service: &Service,
    conf: &str,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Vec<File>> {
    let (value, last) = service.effective();
    // No environment can hold a zero byte, and systemd passes over a setting that has one: ours with it.
    let base = value.unwrap_or_else(|| conf.replace('%', "%%")).replace('\0', "");
    let mut ours = service.ours.as_deref().map(own_pairs).unwrap_or_default();
    ours.retain(|key, _| !withdrawn.contains(key));
    ours.extend(pairs.iter().map(|(key, value)| (key.replace('%', "%%"), value.replace('%', "%%"))));
    let merged = merge_pairs(&base, &ours, withdrawn);

    let counts = |name: &&str| !service.drop_ins.contains_key(*name) && last.is_none_or(|(last, _)| last < *name);
    let Some(chosen) = NAMES.iter().find(|name| counts(name)) else {
        let hides = service.drop_ins.get(NAMES[1]).map(|(path, _)| path.as_path());
        let path = hides.or(last.map(|(_, path)| path)).expect("only another's drop-in keeps ours from counting");
        bail!(
            "{} sets the environment of fleet.service after any drop-in of volinit's ({}), so that fleet would not \
             see the volumes' metadata: give it a name that sorts before",
            path.display(),
            NAMES.join(", "),
        );
    };
    // With nothing of ours in it, it would only keep others' changes from being seen.
    let needed = !ours.is_empty() || merged != base;
    let file = |name: &&str| File {
        path: Path::new(OURS).join(name),
        content: if needed && name == chosen { Content::Text(drop_in(&ours, &merged)) } else { Content::Absent },
    };
    Ok(NAMES.iter().map(file).collect())
}

fn drop_in(ours: &BTreeMap<String, String>, value: &str) -> String {
    let keys: Vec<_> = ours.keys().map(String::as_str).collect();
    format!(
        "# Written by volinit: fleet's metadata as set before, with the volumes' own.\n\
         {KEYS}{}\n\
         [Service]\n\
         Environment={}\n",
        keys.join(","),
        quote(&format!("{VARIABLE}={value}")),
    )
}

/// Which pairs of a drop-in of ours are ours, values as they stand there.
fn own_pairs(text: &str) -> BTreeMap<String, String> {
    let keys = text.lines().find_map(|line| line.strip_prefix(KEYS)).unwrap_or_default();
    // A list of no keys is not one of an empty key: a pair that has none is somebody else's.
    let keys: Vec<&str> = keys.split(',').filter(|key| !key.is_empty()).collect();
    let Some(Effect::Set(value)) = effect(text) else {
        return BTreeMap::new();
    };
    let pairs = value.split(',').filter_map(|pair| Some((key(pair)?, pair.split_once('=')?.1.trim())));
    let own = pairs.filter(|(key, _)| keys.contains(key));
    own.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What a unit's file sets the variable to.
pub(super) fn set(text: &str) -> Option<String> {
    match effect(text)? {
        Effect::Set(value) => Some(value),
        Effect::Reset => None,
    }
}

/// What a unit's file does to the variable.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Set(String),
    /// An empty `Environment=` takes back all that was set before.
    Reset,
}

/// `None` where the file does not touch it.
fn effect(text: &str) -> Option<Effect> {
    let mut effect = None;
    let mut section = String::new();
    for line in lines(text) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if section != "Service" || name.trim() != "Environment" {
            continue;
        }
        if value.trim().is_empty() {
            effect = Some(Effect::Reset);
        }
        let set = words(value).filter_map(|word| Some(word.strip_prefix(VARIABLE)?.strip_prefix('=')?.to_owned()));
        effect = set.last().map(Effect::Set).or(effect);
    }
    effect
}

/// The lines as `config_parse()` of systemd's src/shared/conf-parser.c joins them: a `\` at the end, if it is not
/// itself escaped, becomes a space and the next line follows; a comment between the two is left out.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut joined = String::new();
    for row in text.lines() {
        let row = row.trim_start();
        if row.starts_with(['#', ';']) {
            continue;
        }
        joined.push_str(row);
        let backslashes = joined.len() - joined.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            joined.pop();
            joined.push(' ');
            continue;
        }
        lines.push(std::mem::take(&mut joined).trim().to_owned());
    }
    lines.push(joined.trim().to_owned());
    lines
}

/// The words of a setting, quotes and C escapes resolved, as `extract_first_word()` of systemd's
/// src/basic/extract-word.c gives them; like it, stops at the first that is malformed.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        let trimmed = rest.as_str().trim_start();
        rest = trimmed.chars();
        (!trimmed.is_empty()).then(|| word(&mut rest)).flatten()
    })
}

fn word(rest: &mut Chars<'_>) -> Option<String> {
    let mut word = Vec::new();
    let mut quote = None;
    loop {
        match rest.next() {
            None if quote.is_some() => return None,
            None => break,
            Some('\\') => unescape(rest, &mut word)?,
            Some(char) if quote == Some(char) => quote = None,
            Some(char @ ('"' | '\'')) if quote.is_none() => quote = Some(char),
            Some(char) if quote.is_none() && char.is_ascii_whitespace() => break,
            Some(char) => word.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(word).ok()
}

/// One escape, its backslash read (`cunescape_one()` of systemd's src/basic/escape.c); `None` where it is none.
fn unescape(rest: &mut Chars<'_>, word: &mut Vec<u8>) -> Option<()> {
    let escape = rest.next()?;
    let byte = match escape {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        's' => b' ',
        '\\' | '"' | '\'' => u8::try_from(escape).expect("these are ASCII"),
        'x' => u8::try_from(number(rest, 2, 16)?).ok()?,
        '0'..='3' => {
            let high = escape.to_digit(8)? << 6;
            u8::try_from(high + number(rest, 2, 8)?).ok()?
        }
        'u' | 'U' => {
            let char = char::from_u32(number(rest, if escape == 'u' { 4 } else { 8 }, 16)?)?;
            word.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    // The zero byte ends a C string; systemd takes no escape for one.
    (byte != 0).then(|| word.push(byte))
}

/// The next `count` digits.
fn number(rest: &mut Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(0, |number, _| Some(number * radix + rest.next()?.to_digit(radix)?))
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
