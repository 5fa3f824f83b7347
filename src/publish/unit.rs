//! A volume's mount unit as text, and where it and the link that enables it belong.
//! Pure: reads and writes no file, asks systemd nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::escape::unit_name;
use crate::config::MountPoint;

/// How the first line of each unit that is volinit's begins. A unit without it is an administrator's.
pub const MARKER: &str = "# Written by volinit";

/// Where an administrator's units are, and so ours: what is said here wins over a package's files.
pub const UNITS: &str = "/etc/systemd/system";

/// The unit of the mount point `at`.
pub fn name(at: &MountPoint) -> String {
    unit_name(at.as_path(), "mount")
}

/// Its file.
pub fn path(at: &MountPoint) -> PathBuf {
    Path::new(UNITS).join(name(at))
}

/// What the unit mounts; it decides when in the boot systemd would mount it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device that needs no network.
    Device,
    /// A file, through a loop device that mount(8) sets up.
    Image,
    /// What comes over the network, or by a call to the cloud's API: after network-online.target.
    Network,
    /// An NFS export, of which systemd knows by its type that it needs the network (systemd.mount(5)).
    Export {
        /// Whether it is mounted only when something asks for it.
        on_demand: bool,
    },
}

/// Those that a mount may be enabled for.
const TARGETS: [&str; 2] = ["local-fs.target", "remote-fs.target"];

impl Kind {
    /// The target that wants the mount, if any does.
    fn target(self) -> Option<&'static str> {
        match self {
            Kind::Device | Kind::Image => Some("local-fs.target"),
            Kind::Network | Kind::Export { on_demand: false } => Some("remote-fs.target"),
            Kind::Export { on_demand: true } => None,
        }
    }

    /// The mount option that says it.
    fn option(self) -> Option<&'static str> {
        match self {
            Kind::Device | Kind::Export { .. } => None,
            Kind::Image => Some("loop"),
            Kind::Network => Some("_netdev"),
        }
    }
}

/// What a mount unit says.
#[derive(Clone, Copy, Debug)]
pub struct MountUnit<'a> {
    /// The volume's name.
    pub volume: &'a str,
    /// The device by a name that lasts, or the image's file.
    pub what: &'a str,
    /// Where it is mounted.
    pub at: &'a MountPoint,
    /// The filesystem's type.
    pub fstype: &'a str,
    /// The config's mount options.
    pub options: &'a [String],
    /// What it is.
    pub kind: Kind,
}

/// A value that no systemd unit can carry: systemd drops white space at its ends, and a line ends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be written in a systemd unit: leave out white space at its ends, and control characters")]
pub struct Unsayable(String);

impl MountUnit<'_> {
    /// Its name, which must be the escaped mount point.
    pub fn name(&self) -> String {
        name(self.at)
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        path(self.at)
    }

    /// The link that enables it, as `systemctl enable` makes it: to [`Self::path`].
    pub fn link(&self) -> Option<PathBuf> {
        self.kind.target().map(|target| self.link_of(target))
    }

    /// Where that link was, if the mount has gone from local to network or back, or waits to be asked for now.
    pub fn stale_links(&self) -> impl Iterator<Item = PathBuf> {
        TARGETS.into_iter().filter(|target| Some(*target) != self.kind.target()).map(|target| self.link_of(target))
    }

    fn link_of(&self, target: &str) -> PathBuf {
        Path::new(UNITS).join(format!("{target}.wants")).join(self.name())
    }

    /// The file's text.
    ///
    /// `After=` volinit only orders: were systemd to mount the volume at boot, it must not do so before volinit
    /// has looked at it ([`super::order`] has it require volinit's word). Where that unit does not run, it says nothing.
    /// `WantedBy=`, not `RequiredBy=`: a boot goes on without the volume, and does not end in the emergency shell; the
    /// mount's own, implicit `Before=local-fs.target` stays, so that what starts after it finds the volume
    /// (systemd.mount(5)).
    pub fn text(&self) -> Result<String, Unsayable> {
        let volume = value(self.volume)?;
        let mut text = format!(
            "{MARKER} for the volume `{volume}`. Changes are overwritten by `volinit up`;\n\
             # put them in {name}.d/*.conf.\n\
             [Unit]\n\
             Description=Volume {volume}\n\
             Documentation=man:volinit(8)\n\
             After=volinit@{volume}.service\n\
             \n\
             [Mount]\n\
             What={what}\n\
             Where={at}\n\
             Type={fstype}\n",
            name = self.name(),
            what = value(self.what)?,
            at = value(&self.at.to_string())?,
            fstype = self.fstype,
        );
        let options = self.options();
        if !options.is_empty() {
            writeln!(text, "Options={}", value(&options)?).expect("a String takes what is written to it");
        }
        if let Some(target) = self.kind.target() {
            write!(text, "\n[Install]\nWantedBy={target}\n").expect("as above");
        }
        Ok(text)
    }

    /// The config's options and what the kind adds, once. `noauto` is fstab's word: a unit says it by having no
    /// `[Install]`.
    fn options(&self) -> String {
        let mut options: Vec<&str> = self.options.iter().map(String::as_str).filter(|said| *said != "noauto").collect();
        options.extend(self.kind.option().filter(|own| !options.contains(own)));
        options.join(",")
    }
}

/// `text` as the right side of a line of a unit. What=, Where= and Options= are taken as they stand, but for
/// specifiers: no quotes, no escapes (`config_parse_unit_string_printf` in systemd's src/core/load-fragment.c).
pub(super) fn value(text: &str) -> Result<String, Unsayable> {
    // Only the ends' ASCII white space goes (strstrip); a no-break space is a character as any other.
    if text.starts_with(' ') || text.ends_with(' ') || text.chars().any(char::is_control) {
        return Err(Unsayable(text.to_owned()));
    }
    let mut value = text.replace('%', "%%");
    if value.ends_with('\\') {
        // Else the next line would be part of this one. The space is dropped again.
        value.push(' ');
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn at(path: &str) -> MountPoint {
        MountPoint::parse(path).unwrap()
    }

    fn unit<'a>(what: &'a str, at: &'a MountPoint, options: &'a [String], kind: Kind) -> MountUnit<'a> {
        MountUnit { volume: "postgres", what, at, fstype: "btrfs", options, kind }
    }

    #[test]
    fn a_local_unit() {
        let (at, options) = (at("/data/my-pg"), ["noatime".to_owned()]);
        let unit = unit("/dev/disk/by-id/nvme-vol0123", &at, &options, Kind::Device);
        assert_eq!(
            unit.text().unwrap(),
            r"# Written by volinit for the volume `postgres`. Changes are overwritten by `volinit up`;
# put them in data-my\x2dpg.mount.d/*.conf.
[Unit]
Description=Volume postgres
Documentation=man:volinit(8)
After=volinit@postgres.service

[Mount]
What=/dev/disk/by-id/nvme-vol0123
Where=/data/my-pg
Type=btrfs
Options=noatime

[Install]
WantedBy=local-fs.target
"
        );
        assert_eq!(unit.path(), Path::new(r"/etc/systemd/system/data-my\x2dpg.mount"));
        let local = PathBuf::from(r"/etc/systemd/system/local-fs.target.wants/data-my\x2dpg.mount");
        let remote = PathBuf::from(r"/etc/systemd/system/remote-fs.target.wants/data-my\x2dpg.mount");
        assert_eq!((unit.link(), unit.stale_links().collect()), (Some(local.clone()), vec![remote.clone()]));
        let asked = MountUnit { kind: Kind::Export { on_demand: true }, ..unit };
        assert_eq!((asked.link(), asked.stale_links().collect()), (None, vec![local, remote]));
    }

    /// Story 2's unit: systemd knows what needs the network.
    #[test]
    fn an_export_s_unit() {
        let (at, options) = (at("/mnt/data"), ["vers=3", "sec=sys", "noauto"].map(str::to_owned));
        let text = |options: &[String], on_demand| {
            let kind = Kind::Export { on_demand };
            MountUnit { fstype: "nfs", ..unit("172.17.8.200:/mnt/default/data", &at, options, kind) }.text().unwrap()
        };
        let asked = "# Written by volinit for the volume `postgres`. Changes are overwritten by `volinit up`;
# put them in mnt-data.mount.d/*.conf.
[Unit]
Description=Volume postgres
Documentation=man:volinit(8)
After=volinit@postgres.service

[Mount]
What=172.17.8.200:/mnt/default/data
Where=/mnt/data
Type=nfs
Options=vers=3,sec=sys
";
        assert_eq!(text(&options, true), asked);
        assert_eq!(text(&options[..2], false), format!("{asked}\n[Install]\nWantedBy=remote-fs.target\n"));
    }

    #[test]
    fn options_are_those_of_the_config_and_of_the_kind() {
        let at = at("/data/a");
        for (options, kind, line) in [
            (&[][..], Kind::Device, None),
            (&["noatime", "discard"], Kind::Device, Some("Options=noatime,discard")),
            (&["ro"], Kind::Image, Some("Options=ro,loop")),
            (&["loop"], Kind::Image, Some("Options=loop")),
            (&[], Kind::Network, Some("Options=_netdev")),
        ] {
            let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
            let text = unit("/dev/x", &at, &options, kind).text().unwrap();
            assert_eq!(text.lines().find(|text| text.starts_with("Options=")), line);
            assert!(text.contains(&format!("\nWantedBy={}\n", kind.target().unwrap())));
        }
    }

    #[test]
    fn what_a_unit_cannot_carry_is_an_error() {
        let at = at("/data/a");
        for what in ["/dev/a ", " /dev/a", "/dev/a\nRequires=evil.service", "/dev/\t"] {
            assert_eq!(unit(what, &at, &[], Kind::Device).text(), Err(Unsayable(what.to_owned())));
        }
    }

    #[test]
    fn a_backslash_at_the_end_does_not_join_the_next_line() {
        let at = at(r"/data/a\");
        let text = unit(r"/dev/a\", &at, &[], Kind::Device).text().unwrap();
        assert!(text.contains("\nWhat=/dev/a\\ \nWhere=/data/a\\ \nType="), "{text}");
    }

    /// systemd reads the text back: a Where= that lost a character would not match the unit's name, and a
    /// What= that swallowed its neighbour would leave it missing. Both are exit 1. The units that After= names
    /// are not there, and need not be.
    #[test]
    fn systemd_takes_the_units() {
        let folder = tempfile::tempdir().unwrap();
        let verify = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            let output = Command::new("systemd-analyze")
                .args(["verify", "--man=no"])
                .arg(&file)
                .output()
                .expect("systemd-analyze");
            std::fs::remove_file(file).unwrap();
            (output.status.success(), String::from_utf8(output.stderr).unwrap())
        };
        for (path, what) in [
            ("/data/postgres", "/dev/disk/by-id/nvme-vol0123"),
            ("/data/with space", "/dev/with space"),
            ("/data/50%", "/dev/50%"),
            ("/data/%n %%", "/dev/%n"),
            ("/data/größe-\u{a0}", "/dev/größe"),
            (r"/data/back\slash", r"/dev/back\slash"),
            (r"/data/ends\", r"/dev/ends\"),
            (r"/data/ends\\", r"/dev/ends\\"),
            ("/data/'q\"", "/dev/\"q'"),
            ("/data/#;", "/srv/#;.img"),
        ] {
            let at = at(path);
            for kind in [Kind::Device, Kind::Image, Kind::Network, Kind::Export { on_demand: true }] {
                let options = ["noatime".to_owned(), "context=\"a,b%\"".to_owned()];
                let unit = unit(what, &at, &options, kind);
                let (clean, stderr) = verify(&unit.name(), &unit.text().unwrap());
                assert!(clean && stderr.is_empty(), "{path}: {stderr}");
            }
        }
        // The check has teeth. (A lone % at the end would be taken as it is.)
        let at = at("/data/50%x");
        let unit = unit("/dev/50%x", &at, &[], Kind::Device);
        let (clean, stderr) = verify(&unit.name(), &unit.text().unwrap().replace("%%", "%"));
        assert!(!clean && stderr.contains("Failed to resolve unit specifiers"), "{stderr}");
    }
}
