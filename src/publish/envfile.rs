//! Files of `NAME=value` lines, as systemd's `EnvironmentFile=` reads them: one variable merged into what others wrote,
//! and files of our own. Pure.

use std::ops::Range;

use anyhow::{Result, bail};

/// Stands before a line that was not there before volinit.
const OURS: &str = "# The next line is volinit's, and repeats what was set before.\n";

/// The file's text with the value of `name` as `change` makes it, all else as it was; `None` where no file need be.
/// `earlier` is what the variable is where the file does not set it: a line of ours repeats that, and goes when it has
/// nothing else to say.
///
/// # Errors
/// A line that volinit does not read as systemd would, and what `change` says.
pub(super) fn merge(
    text: Option<&str>,
    name: &str,
    earlier: &str,
    change: &dyn Fn(&str) -> Result<String>,
) -> Result<Option<String>> {
    let existing = text.unwrap_or_default();
    let Some(Line { place, value }) = last(existing, name)? else {
        let value = change(earlier)?;
        if value == earlier {
            return Ok(text.map(str::to_owned));
        }
        let gap = if existing.is_empty() || existing.ends_with('\n') { "" } else { "\n" };
        return Ok(Some(format!("{existing}{gap}{OURS}{name}={value}\n")));
    };
    let changed = change(&existing[value.clone()])?;
    let quote = existing[..value.start].chars().next_back().filter(|before| "\"'".contains(*before));
    if quote.is_some_and(|quote| changed.contains(quote)) {
        bail!("its line {:?} is in quotes, which {changed:?} cannot be: take them off", existing[place].trim());
    }
    let (before, after) = (&existing[..place.start], &existing[place.end..]);
    if changed == earlier
        && let Some(before) = before.strip_suffix(OURS)
    {
        return Ok(Some(format!("{before}{after}")).filter(|text| !text.is_empty()));
    }
    Ok(Some([&existing[..value.start], &changed, &existing[value.end..]].concat()))
}

/// The value of `name` in the file, as far as it is set there.
///
/// # Errors
/// As [`merge()`].
pub(super) fn get<'a>(text: &'a str, name: &str) -> Result<Option<&'a str>> {
    Ok(last(text, name)?.map(|line| &text[line.value]))
}

/// A line that sets a variable.
struct Line {
    /// All of it, with its end.
    place: Range<usize>,
    /// The value, without quotes around it.
    value: Range<usize>,
}

/// The last line that sets `name`, which is the one that counts. The rules are those of `parse_env_file_internal()` in
/// systemd's src/basic/env-file.c, for a value on one line that is in quotes as a whole or not at all.
fn last(text: &str, name: &str) -> Result<Option<Line>> {
    let mut found = None;
    let mut at = 0;
    let mut joined = false;
    for row in text.split_inclusive('\n') {
        let place = at..at + row.len();
        at = place.end;
        let line = row.trim_end();
        let after_joined = std::mem::replace(&mut joined, line.ends_with('\\'));
        let Some(value) = line.trim_start().strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('='))
        else {
            continue;
        };
        if joined || after_joined {
            bail!("its line {line:?} is joined to another one by a backslash: write both as one line");
        }
        let value = value.trim_start();
        let mut value = place.start + line.len() - value.len()..place.start + line.len();
        let said = &text[value.clone()];
        if let Some(quote) = said.chars().next().filter(|first| "\"'".contains(*first)) {
            match said[1..].strip_suffix(quote) {
                Some(inner) if !inner.contains([quote, '\\']) => value = value.start + 1..value.end - 1,
                Some(_) | None => bail!("its line {line:?} has quotes that end early: put them around the whole value"),
            }
        }
        found = Some(Line { place, value });
    }
    Ok(found)
}

/// A line that sets `name`: in quotes where the value needs them, as `"`, `\`, `` ` `` and `$` are then escaped
/// (`SHELL_NEED_ESCAPE` of systemd's src/basic/escape.h).
pub(super) fn line(name: &str, value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c)) {
        return format!("{name}={value}\n");
    }
    let mut quoted = String::new();
    for char in value.chars() {
        if "\"\\`$".contains(char) {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    format!("{name}=\"{quoted}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: Option<&str>, earlier: &str) -> Result<Option<String>> {
        merge(text, "A", earlier, &|value| Ok(if value.is_empty() { "ours".into() } else { format!("{value};ours") }))
    }

    fn remove(text: &str, earlier: &str) -> Option<String> {
        let without = |value: &str| Ok(value.replace(";ours", "").replace("ours", ""));
        merge(Some(text), "A", earlier, &without).unwrap()
    }

    #[test]
    fn a_variable_is_merged_into_its_last_line_and_taken_back() {
        for (before, after) in [
            ("A=x\n", "A=x;ours\n"),
            ("A=\"x\"\n", "A=\"x;ours\"\n"),
            ("A='x'", "A='x;ours'"),
            (" A = x \r\n#A=y\n;A=z\n", " A = x;ours \r\n#A=y\n;A=z\n"),
            ("A=y\nB=1\nA=x\nAA=2\n", "A=y\nB=1\nA=x;ours\nAA=2\n"),
            ("A=\n", "A=ours\n"),
            ("B=1\\\n2\nA=x\n", "B=1\\\n2\nA=x;ours\n"),
            ("A={\"a\":\"b\"}\n", "A={\"a\":\"b\"};ours\n"),
        ] {
            assert_eq!(add(Some(before), "e").unwrap().as_deref(), Some(after));
            assert_eq!(remove(after, "e").as_deref(), Some(before));
        }
    }

    #[test]
    fn a_line_of_our_own_repeats_what_was_and_goes_again() {
        let ours = format!("{OURS}A=e;ours\n");
        assert_eq!(add(None, "e").unwrap().as_deref(), Some(ours.as_str()));
        assert_eq!(add(Some("B=1\n"), "e").unwrap(), Some(format!("B=1\n{ours}")));
        assert_eq!(add(Some("B=1"), "").unwrap(), Some(format!("B=1\n{OURS}A=ours\n")));
        assert_eq!(remove(&ours, "e"), None);
        assert_eq!(remove(&format!("B=1\n{ours}C=2\n"), "e").as_deref(), Some("B=1\nC=2\n"));
        // Nothing to say, nothing said.
        assert_eq!(merge(None, "A", "e", &|value| Ok(value.to_owned())).unwrap(), None);
        assert_eq!(merge(Some(""), "A", "e", &|value| Ok(value.to_owned())).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn what_would_be_read_otherwise_is_an_error() {
        for text in ["A=\"x\"y\n", "A=\"x\n", "A='", "A=\"x\\\"y\"\n", "A=x\\\ny\n", "# b\\\nA=x\n"] {
            let error = add(Some(text), "").unwrap_err().to_string();
            assert!(error.starts_with("its line \"A="), "{text}: {error}");
        }
    }

    /// Read back by systemd itself, which takes the files of environment.d(5) as it takes an `EnvironmentFile=`. There
    /// it expands `$`, so that its escape is held against the rule alone.
    #[test]
    fn systemd_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("environment.d");
        std::fs::create_dir(&conf).unwrap();
        let values = ["/data/postgres", "a b", "it's \"so\"", r"back\slash \n", "tick`", "#;", "ä=%n", "'"];
        let text: String =
            values.iter().zip('A'..).map(|(value, name)| line(&format!("VOLINIT_{name}"), value)).collect();
        std::fs::write(conf.join("a.conf"), text).unwrap();
        let output = std::process::Command::new(
            "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator",
        )
        .env("XDG_CONFIG_HOME", folder.path())
        .output()
        .expect("systemd's generator is there");
        let said = String::from_utf8(output.stdout).unwrap();
        for (value, name) in values.iter().zip('A'..) {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("VOLINIT_{name}="))).unwrap_or_default();
            // The generator quotes for the shell, as $'...', where it has to.
            let plain = std::process::Command::new("bash").args(["-c", &format!("printf %s {line}")]).output().unwrap();
            assert_eq!(String::from_utf8(plain.stdout).unwrap(), *value, "{said}");
        }
        assert_eq!(line("A", "$x"), "A=\"\\$x\"\n");
    }
}
