//! fstab's options as the kernel takes them, by mount(2) or by fsconfig(2) and fsmount(2). Pure.
//! What only mount(8) and systemd read is left out here and stays in the unit.

use rustix::mount::MountAttrFlags;
use sys_mount::MountFlags;

/// mount(2)'s flags, and what is left for the filesystem itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Options<'a> {
    flags: MountFlags,
    own: Vec<&'a str>,
}

/// What is true of the mount, not of the filesystem: the flag of mount(2), and that of fsmount(2).
const OF_MOUNT: [(MountFlags, MountAttrFlags); 7] = [
    (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    (MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    (MountFlags::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    (MountFlags::STRICTATIME, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
];

/// What is true of the filesystem, wherever it is mounted: the flag of mount(2), and the parameter of fsconfig(2).
const OF_FILESYSTEM: [(MountFlags, &str); 3] =
    [(MountFlags::RDONLY, "ro"), (MountFlags::SYNCHRONOUS, "sync"), (MountFlags::DIRSYNC, "dirsync")];

impl<'a> Options<'a> {
    pub fn split(options: &'a [String]) -> Options<'a> {
        let mut flags = MountFlags::empty();
        let mut own: Vec<&str> = Vec::new();
        for option in options {
            match option.as_str() {
                "ro" => flags |= MountFlags::RDONLY,
                "rw" => flags -= MountFlags::RDONLY,
                "nosuid" => flags |= MountFlags::NOSUID,
                "suid" => flags -= MountFlags::NOSUID,
                "nodev" => flags |= MountFlags::NODEV,
                "dev" => flags -= MountFlags::NODEV,
                "noexec" => flags |= MountFlags::NOEXEC,
                "exec" => flags -= MountFlags::NOEXEC,
                "sync" => flags |= MountFlags::SYNCHRONOUS,
                "async" => flags -= MountFlags::SYNCHRONOUS,
                "dirsync" => flags |= MountFlags::DIRSYNC,
                "noatime" => flags |= MountFlags::NOATIME,
                "atime" => flags -= MountFlags::NOATIME,
                "nodiratime" => flags |= MountFlags::NODIRATIME,
                "diratime" => flags -= MountFlags::NODIRATIME,
                "relatime" => flags |= MountFlags::RELATIME,
                "norelatime" => flags -= MountFlags::RELATIME,
                "strictatime" => flags |= MountFlags::STRICTATIME,
                "nostrictatime" => flags -= MountFlags::STRICTATIME,
                "silent" => flags |= MountFlags::SILENT,
                "loud" => flags -= MountFlags::SILENT,
                other if is_for_fstab(other) => {}
                other => own.push(other),
            }
        }
        Options { flags, own }
    }

    /// For mount(2): the flags, and the text for the filesystem.
    pub fn classic(&self) -> (MountFlags, String) {
        (self.flags, self.own.join(","))
    }

    /// For fsmount(2). `relatime` is what it does where nothing is said; of two words for times mount(2) heeds
    /// `strictatime`, and fsmount(2) takes but one.
    pub fn attributes(&self) -> MountAttrFlags {
        let said = OF_MOUNT.iter().filter(|(flag, _)| self.flags.contains(*flag));
        let mut attributes: MountAttrFlags = said.map(|(_, attribute)| *attribute).collect();
        if self.flags.contains(MountFlags::STRICTATIME) {
            attributes -= MountAttrFlags::MOUNT_ATTR_NOATIME;
        }
        attributes
    }

    /// For fsconfig(2): each parameter, and its value where it has one. mount(2) and its security modules want quotes around
    /// some values, which are none of them.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let of_filesystem = OF_FILESYSTEM.iter().filter(|(flag, _)| self.flags.contains(*flag));
        let own = self.own.iter().map(|option| match option.split_once('=') {
            Some((key, value)) => (key, Some(value.trim_matches('"'))),
            None => (*option, None),
        });
        of_filesystem.map(|(_, word)| (*word, None)).chain(own)
    }
}

/// What only mount(8) and systemd read.
pub fn is_for_fstab(option: &str) -> bool {
    const WORDS: [&str; 12] = [
        "defaults", "auto", "noauto", "nofail", "fail", "_netdev", "user", "nouser", "users", "owner", "group", "loop",
    ];
    WORDS.contains(&option) || option.starts_with("x-") || option.starts_with("comment=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn options_are_split_as_mount_8_would() {
        let list = said(&["noatime", "nodev", "ro", "rw", "nofail", "_netdev", "x-foo", "compress=zstd", "commit=5"]);
        let (flags, data) = Options::split(&list).classic();
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::NODEV);
        assert_eq!(data, "compress=zstd,commit=5");
        assert_eq!(Options::split(&[]).classic(), (MountFlags::empty(), String::new()));
    }

    #[test]
    fn both_ways_to_mount_are_told_the_same() {
        let list = said(&["ro", "sync", "nosuid", "nodiratime", "noatime", "nouuid", "context=\"a:b\"", "subvol="]);
        let options = Options::split(&list);
        assert_eq!(
            options.attributes(),
            MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODIRATIME
                | MountAttrFlags::MOUNT_ATTR_NOATIME
        );
        let parameters: Vec<_> = options.parameters().collect();
        let own = [("nouuid", None), ("context", Some("a:b")), ("subvol", Some(""))];
        assert_eq!(parameters, [[("ro", None), ("sync", None)].as_slice(), &own].concat());

        let strict = said(&["noatime", "strictatime", "relatime"]);
        assert_eq!(Options::split(&strict).attributes(), MountAttrFlags::MOUNT_ATTR_STRICTATIME);
    }
}
