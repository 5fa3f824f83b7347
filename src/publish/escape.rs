//! The name that systemd gives the unit of a path, as `systemd-escape --path` makes it; and words in quotes, as it reads them.
//! A mount unit under any other name is refused ("Where= setting doesn't match unit name").
//! Pure: starts no process; the tests hold the name against the real `systemd-escape`.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The unit's name for `path`: `unit_name("/srv/my-data", "mount")` is `srv-my\x2ddata.mount`.
///
/// The rules are those of `unit_name_path_escape()` in systemd's src/basic/unit-name.c. The path must be
/// normal, and not `/`, which spares the special cases.
pub fn unit_name(path: &Path, suffix: &str) -> String {
    let path = path.as_os_str().as_bytes();
    let mut name = String::with_capacity(path.len() + suffix.len());
    for (index, byte) in path.iter().skip(1).copied().enumerate() {
        match byte {
            b'/' => name.push('-'),
            // A file whose name begins with a dot is hidden, and systemd does not load hidden files.
            b'.' if index > 0 => name.push('.'),
            b':' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(byte)),
            _ => write!(name, "\\x{byte:02x}").expect("a String takes what is written to it"),
        }
    }
    name.push('.');
    name.push_str(suffix);
    name
}

/// A word in quotes, with nothing in it that ends it early.
pub fn quote(word: &str) -> String {
    let mut quoted = String::from("\"");
    for char in word.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            control if control.is_ascii_control() => {
                write!(quoted, "\\x{:02x}", u32::from(control)).expect("a String takes what is written to it");
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::config::MountPoint;

    #[test]
    fn names_are_escaped() {
        for (path, name) in [
            ("/data/postgres", "data-postgres.mount"),
            ("/srv/my-data", r"srv-my\x2ddata.mount"),
            ("/.a/.b", r"\x2ea-.b.mount"),
            ("/é 50%", r"\xc3\xa9\x2050\x25.mount"),
            (r"/a\b:_", r"a\x5cb:_.mount"),
        ] {
            assert_eq!(unit_name(Path::new(path), "mount"), name, "{path}");
        }
    }

    proptest! {
        // One process takes a batch of paths; a process a path would take minutes.
        #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

        #[test]
        fn names_are_those_of_systemd_escape(
            paths in prop::collection::vec(
                prop_oneof![
                    "(/[-a-zA-Z0-9._: %\\\\'\"\\[é]{1,8}){1,4}",
                    "(/[^/\\pC]{1,6}){1,3}",
                ].prop_filter_map("a mount point", |path| MountPoint::parse(&path).ok()),
                1..200,
            )
        ) {
            let output = Command::new("systemd-escape")
                .args(["--path", "--suffix=mount", "--"])
                .args(paths.iter().map(MountPoint::as_path))
                .output()
                .expect("systemd-escape is there");
            let stderr = String::from_utf8_lossy(&output.stderr);
            prop_assert!(output.status.success(), "{stderr}");
            let theirs = String::from_utf8(output.stdout).unwrap();
            let ours: Vec<_> = paths.iter().map(|path| unit_name(path.as_path(), "mount")).collect();
            prop_assert_eq!(theirs.trim_end().split(' ').collect::<Vec<_>>(), ours);
        }
    }
}
