//! Which options mkfs may be given: none that overwrites what is there, names another device, only pretends,
//! or says what has a key of its own. It reads them as getopt will, since `-qF` has `-F` in it and the
//! value of `-O` may look like anything. Runs nothing.

use crate::config::problem::tick;
use crate::config::schema::FsType;

/// What one mkfs knows.
struct Rules {
    /// As getopt(3) has it: a letter with a colon takes a value.
    letters: &'static str,
    /// The long options that take no value.
    long_flags: &'static [&'static str],
    /// Those not to be given: short, long, why.
    refused: &'static [(char, &'static str, &'static str)],
}

const FORCE: &str = "it overwrites what is there, and only a blank device is formatted";
const LABEL: &str = "write `label` in its place";
const PRETEND: &str = "nothing would be formatted";

/// The letters are those in the binaries: e2fsprogs 1.47.0, xfsprogs 6.1.0, btrfs-progs 6.2 (and its later `-u`).
fn rules(kind: FsType) -> Rules {
    match kind {
        FsType::Ext4 => Rules {
            letters: "b:cd:e:g:i:jl:m:no:qr:s:t:vC:DE:FG:I:J:KL:M:N:O:R:ST:U:Vz:",
            long_flags: &[],
            refused: &[
                ('F', "", FORCE),
                ('S', "", "it writes superblocks over a filesystem that is there"),
                ('t', "", "write `type` in its place"),
                ('L', "", LABEL),
                ('n', "", PRETEND),
                ('V', "", PRETEND),
            ],
        },
        FsType::Xfs => Rules {
            letters: "b:c:d:i:l:L:m:n:KNp:qr:s:CfV",
            long_flags: &[],
            refused: &[('f', "", FORCE), ('L', "", LABEL), ('N', "", PRETEND), ('V', "", PRETEND)],
        },
        FsType::Btrfs => Rules {
            letters: "A:b:fl:n:s:m:d:L:R:O:r:u:U:VvMKq",
            long_flags: &["mixed", "shrink", "nodiscard", "force", "quiet", "verbose", "version", "help"],
            refused: &[('f', "force", FORCE), ('L', "label", LABEL), ('V', "version", PRETEND), ('h', "help", PRETEND)],
        },
    }
}

/// The elements that are wrong, by index, each with a sentence that says why.
pub fn refused(kind: FsType, options: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut value_due = false;
    for (nth, option) in options.iter().enumerate() {
        if std::mem::take(&mut value_due) {
            continue;
        }
        let (takes_next, why) = judge(&rules(kind), option);
        value_due = takes_next;
        if let Some(why) = why {
            found.push((nth, format!("{} cannot be given to mkfs.{kind}: {why}", tick(option))));
        }
    }
    if let (true, Some(last)) = (value_due, options.last()) {
        // mkfs would take the device for the value.
        found.push((options.len() - 1, format!("{} lacks its value: add it as the next element", tick(last))));
    }
    found
}

/// Whether the option takes the next element for its value, and why it is refused.
fn judge(rules: &Rules, option: &str) -> (bool, Option<&'static str>) {
    let body = option.strip_prefix('-').unwrap_or_default();
    if body.is_empty() {
        return (false, Some("it is no option, and mkfs would take it for a device or a size"));
    }
    if let Some(long) = body.strip_prefix('-') {
        let name = long.split('=').next().unwrap_or(long);
        if name.is_empty() || rules.long_flags.is_empty() {
            return (false, Some("it has no such option"));
        }
        // getopt takes any beginning of a name for the name.
        let takes_next = !long.contains('=') && !rules.long_flags.iter().any(|flag| flag.starts_with(name));
        let refused = rules.refused.iter().find(|(_, full, _)| full.starts_with(name));
        return (takes_next, refused.map(|(.., why)| *why));
    }
    if body.contains(char::is_whitespace) {
        return (false, Some("make the option and its value two elements, as in [-O, quota]"));
    }
    for (index, letter) in body.char_indices() {
        let takes_value = rules.letters.contains(&format!("{letter}:"));
        let takes_next = takes_value && index + letter.len_utf8() == body.len();
        let refused = rules.refused.iter().find(|(short, ..)| *short == letter);
        if takes_value || refused.is_some() {
            return (takes_next, refused.map(|(.., why)| *why));
        }
    }
    (false, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(kind: FsType, options: &str) -> Vec<usize> {
        let options: Vec<_> = options.split(' ').map(str::to_owned).collect();
        refused(kind, &options).into_iter().map(|(nth, _)| nth).collect()
    }

    #[test]
    fn options_are_read_as_mkfs_will_read_them() {
        use FsType::{Btrfs, Ext4, Xfs};
        for (kind, options, wrong) in [
            (Ext4, "-O quota -E lazy_itable_init=0 -m 1 -i8192", vec![]),
            (Ext4, "-F", vec![0]),
            (Ext4, "-qFq -L x -L", vec![0, 1, 3, 3]),
            (Ext4, "-n -S -t ext3", vec![0, 1, 2]),
            (Ext4, "-O -F", vec![]), // the value of -O
            (Ext4, "-OF", vec![]),
            (Ext4, "-q /dev/sdb", vec![1]),
            (Ext4, "-q -O", vec![1]),
            (Ext4, "--force", vec![0]),
            (Xfs, "-m reflink=1 -n size=8k", vec![]), // naming, not a dry run
            (Xfs, "-f -N -K", vec![0, 1]),
            (Btrfs, "-O quota -n 16k --features block-group-tree --quiet", vec![]),
            (Btrfs, "--force --for -f --label=x --", vec![0, 1, 2, 3, 4]),
            (Btrfs, "--features", vec![0]),
            (Btrfs, "--quiet /dev/sdb", vec![1]),
        ] {
            assert_eq!(verdict(kind, options), wrong, "{kind}: {options}");
        }
    }
}
