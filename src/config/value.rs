//! The rules of single values: a text is what it should be, or a sentence says why not and what to write.
//! Pure, and the same for the files and for the flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bytes::Bytes;
use crate::config::problem::{instead, tick};
use crate::config::schema::{Format, FsType, Id, MountPoint, Owner, Target};

/// A text with something in it.
pub fn filled(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("this is empty: write a value, or remove it".into()) } else { Ok(text) }
}

/// The name of `whose`, as in "a volume".
pub fn name(text: &str, whose: &str) -> Result<(), String> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if begins && rest && text.len() <= 64 {
        return Ok(());
    }
    Err(format!(
        "{} cannot be {whose}'s name: use letters, digits, `_`, `.` and `-`, a letter or digit first, at most 64 in all",
        tick(text)
    ))
}

/// A path that is absolute and in its normal form.
fn path(text: &str) -> Result<PathBuf, String> {
    let normal: PathBuf = Path::new(text).components().collect();
    let dotted = text.split('/').any(|part| part == "." || part == "..");
    if !text.starts_with('/') {
        return Err(format!("{} is not an absolute path: begin it with /", tick(text)));
    }
    if dotted || normal.as_os_str() != text || text.chars().any(char::is_control) {
        return Err(format!(
            "{} is not a path in its normal form: leave out `.`, `..`, `//`, a `/` at the end and control characters",
            tick(text)
        ));
    }
    Ok(normal)
}

/// A block device's path.
pub fn device(text: &str) -> Result<PathBuf, String> {
    let path = path(text)?;
    if path.starts_with("/dev") && path != Path::new("/dev") {
        return Ok(path);
    }
    Err(format!("{} is not below /dev: name the device there, or for a file write `image` and `size`", tick(text)))
}

/// An image file's path.
pub fn image(text: &str) -> Result<PathBuf, String> {
    let path = path(text)?;
    if path == Path::new("/") {
        return Err("`/` is a folder: name the image file".into());
    }
    match ["/dev", "/proc", "/sys"].iter().find(|tree| path.starts_with(tree)) {
        Some(tree) => Err(format!("{} is in {tree}, where no file stays: for a device write `device`", tick(text))),
        None => Ok(path),
    }
}

/// An image's size.
pub fn size(text: &str) -> Result<Bytes, String> {
    match text.parse::<Bytes>() {
        Ok(Bytes(0)) => Err("an image of no bytes holds nothing: write its size, as in 10G".into()),
        Ok(size) => Ok(size),
        Err(error) => Err(error.to_string()),
    }
}

/// A time span in systemd.time(7)'s simple forms: `90`, `90s`, `1min 30s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is not a time to wait: write 90s, 5min or 1h; a plain number is seconds", tick(text));
    let mut seconds = 0u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let tail = tail.trim_start();
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let factor = match unit {
            "" | "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hr" | "hour" | "hours" => 3600,
            _ => return Err(wrong()),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    // systemd takes 0 for "for ever" in some places and for "not at all" in others.
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// An NFS export.
pub fn export(text: &str) -> Result<String, String> {
    let good = text.split_once(":/").is_some_and(|(server, _)| !server.is_empty() && !server.contains('/'));
    // Else it would be an option to mount.nfs.
    let good = good && !text.starts_with('-');
    if good && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not an nfs export: write server:/path", tick(text)))
}

/// A filesystem's type.
pub fn fs_type(text: &str) -> Result<FsType, String> {
    let known = FsType::ALL.map(FsType::name);
    FsType::parse(text).ok_or_else(|| format!("volinit makes no {}: {}", tick(text), instead(text, &known)))
}

/// A filesystem's label.
pub fn label(text: &str, kind: FsType) -> Result<String, String> {
    if text.is_empty() {
        return Err("the label is empty: write one, or remove the key".into());
    }
    if text.contains(|c: char| c.is_control() || c == '/') {
        return Err(format!("{} cannot be a label: leave out `/` and control characters", tick(text)));
    }
    match (text.len(), kind.label_limit()) {
        (long, limit) if long > limit => {
            Err(format!("the label {} is {long} bytes long and {kind} holds {limit}: shorten it", tick(text)))
        }
        _ => Ok(text.to_owned()),
    }
}

/// When a blank device is formatted.
pub fn format(text: &str) -> Result<Format, String> {
    match text {
        "if-blank" => Ok(Format::IfBlank),
        "never" => Ok(Format::Never),
        _ => Err(format!(
            "{} is no rule for formatting: write `if-blank` or `never`; no config can allow more than a blank device",
            tick(text)
        )),
    }
}

/// Where a volume is mounted.
pub fn mount_point(text: &str) -> Result<MountPoint, String> {
    MountPoint::parse(text).map_err(|why| format!("{} {why}", tick(text)))
}

/// Options that mean something to fstab, mount(8) or systemd's fstab generator only: neither mount(2) nor a unit
/// knows them (systemd.mount(5), mount(8)).
const FSTAB_ONLY: [&str; 7] = ["auto", "noauto", "user", "users", "nouser", "owner", "group"];

/// Options that make mount(2) do something other than mount this volume here (mount(2)).
const OTHER_MOUNTS: [&str; 5] = ["bind", "rbind", "move", "remount", "loop"];

/// One mount option. `on_demand` is whether the volume may wait to be asked for, which `noauto` says.
pub fn mount_option(text: &str, on_demand: bool) -> Result<String, String> {
    let word = filled(text)?.split('=').next().unwrap_or(text);
    if text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "{} is more than one option: make each its own element, without commas and spaces",
            tick(text)
        ));
    }
    let fstab_only = FSTAB_ONLY.contains(&word) && !(on_demand && text == "noauto");
    if word.starts_with("x-") || word.starts_with("X-") || fstab_only {
        return Err(format!(
            "the option {} means something in /etc/fstab only, and volinit writes a unit: remove it",
            tick(text)
        ));
    }
    if OTHER_MOUNTS.contains(&word) {
        return Err(format!("the option {} asks for another mount than this volume's: remove it", tick(text)));
    }
    Ok(text.to_owned())
}

/// Who owns the top folder.
pub fn owner(text: &str) -> Result<Owner, String> {
    let (user, group) = match text.split_once(':') {
        Some(("", group)) => (None, Some(group)),
        Some((user, group)) => (Some(user), Some(group)),
        None => (Some(text), None),
    };
    let wrong = || format!("{} is not an owner: write user, user:group or :group, by name or number", tick(text));
    let read = |part: Option<&str>| part.map(|part| id(part).ok_or_else(wrong)).transpose();
    Ok(Owner { user: read(user)?, group: read(group)? })
}

/// All digits are a number, as chown takes them; 4294967295 is chown(2)'s word for "leave it".
fn id(text: &str) -> Option<Id> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| *number != u32::MAX).map(Id::Number);
    }
    let name =
        !text.starts_with('-') && !text.contains(|c: char| c.is_whitespace() || c.is_control() || ":/".contains(c));
    name.then(|| Id::Name(text.to_owned()))
}

/// The top folder's permissions.
pub fn mode(text: &str) -> Result<u32, String> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.ok_or_else(|| format!("{} is not a mode: write three or four octal digits, as in \"0700\"", tick(text)))
}

/// Who is told of the volumes, by name.
pub fn target(text: &str) -> Result<Target, String> {
    let known = Target::NAMED.each_ref().map(Target::name);
    let found = Target::NAMED.into_iter().find(|target| target.name() == text);
    found.ok_or_else(|| match text {
        "script" => "a script is named by its path: write { script: [/usr/local/bin/announce] }".to_owned(),
        _ => format!("volinit cannot publish to {}: {}", tick(text), instead(text, &known)),
    })
}

/// A program's path.
pub fn program(text: &str) -> Result<String, String> {
    match path(text)? {
        path if path == Path::new("/") => Err("`/` is a folder: name the program".into()),
        _ => Ok(text.to_owned()),
    }
}

/// A program's argument.
pub fn argument(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("no argument can have a zero byte in it: leave it out".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_systemd_reads_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5min", 300), ("1h", 3600), ("1min 30s", 90), ("1h30m", 5400)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "0", "s", "-1", "1.5h", "5 parsecs", "infinity", "99999999999999999999", "9999999999999999999h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn owners_are_read_as_chown_reads_them() {
        let number = |n| Some(Id::Number(n));
        assert_eq!(owner("999"), Ok(Owner { user: number(999), group: None }));
        assert_eq!(owner("999:0"), Ok(Owner { user: number(999), group: number(0) }));
        assert_eq!(owner(":pg"), Ok(Owner { user: None, group: Some(Id::Name("pg".into())) }));
        for text in ["", ":", "pg:", "a:b:c", "a b", "-1", "4294967295", "99999999999"] {
            assert!(owner(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_values() {
        assert_eq!((mode("0700"), mode("2770"), mode("755")), (Ok(0o700), Ok(0o2770), Ok(0o755)));
        assert!(["", "7", "0800", "rwx", "+700", "07000"].iter().all(|text| mode(text).is_err()));
        assert!(["pg", "vol-5afc0745", "a.b_c", &"a".repeat(64)].iter().all(|text| name(text, "a volume").is_ok()));
        assert!(
            ["", "-a", ".a", "a b", "a/b", "ä", &"a".repeat(65)].iter().all(|text| name(text, "a volume").is_err())
        );
        assert!(device("/dev/disk/by-id/x").is_ok());
        assert!(["/dev", "/dev/", "/dev/../etc/x", "/devil/x", "dev/x"].iter().all(|text| device(text).is_err()));
        assert!(image("/var/lib/volinit/pg.img").is_ok());
        assert!(["/", "/dev/x", "/a//b", "a"].iter().all(|text| image(text).is_err()));
        assert!(program("/usr/local/bin/announce").is_ok());
        assert!(["/", "announce", "./announce", "/usr/bin/../announce"].iter().all(|text| program(text).is_err()));
        assert!(["h:/p", "[fe80::1]:/p"].iter().all(|text| export(text).is_ok()));
        assert!(["/p", ":/p", "h:p", "h:/a b", "-o:/p"].iter().all(|text| export(text).is_err()));
        assert!(["noatime", "subvol=@pg", "_netdev", "nofail"].iter().all(|text| mount_option(text, false).is_ok()));
        let wrong = ["", "a,b", "a b", "x-systemd.automount", "auto", "bind"];
        assert!(wrong.iter().all(|text| mount_option(text, true).is_err()));
        assert!(mount_option("noauto", true).is_ok() && mount_option("noauto", false).is_err());
        assert_eq!(label("äää", FsType::Xfs), Ok("äää".into()));
        assert!(["", "a/b", "a\nb", "ääääääa"].iter().all(|text| label(text, FsType::Xfs).is_err()));
        assert_eq!(size("10G"), Ok(Bytes(10 << 30)));
        assert!(["0", "-1", "much"].iter().all(|text| size(text).is_err()));
    }
}
