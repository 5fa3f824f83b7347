//! What has systemd run volinit for a volume at boot, and when: the drop-in of its `volinit@NAME.service`, and more
//! time for a device that EC2 is yet to attach. Pure: reads and writes no file.
//!
//! Nobody has to know whether a volume needs the network: local ones are there before local-fs.target, the others come
//! after network-online.target. Were all of them one unit, the local ones would wait for the network, or the order would
//! be a cycle.
//!
//! It is the mount that is before local-fs.target or remote-fs.target, and waits for volinit. Were the service before
//! them too, a volume that does not come would hold the boot at each of its attempts, and two that fail in turns for
//! ever.
//!
//! The services that are told of the volumes start when the metadata of one that came has been written, and that of one
//! that did not has been taken back. They wait for a target, and that for volinit's first attempt: were they after volinit
//! itself, two volumes that do not come would hold them until neither is at a further attempt, which may take an hour.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::escape::unit_name;
use super::files::{Content, File};
use super::unit::{Kind, MARKER, MountUnit, UNITS, Unsayable, value};

/// How long systemd waits for a device that a mount needs (`DefaultDeviceTimeoutSec=`, systemd-system.conf(5)). It counts
/// from the beginning of the boot.
const PATIENCE: Duration = Duration::from_secs(90);

/// What volinit may take beyond the volume's timeout: to be started, to format, to mount.
const SLACK: Duration = Duration::from_secs(60);

/// `volinit@NAME.service`
pub fn service(volume: &str) -> String {
    format!("volinit@{volume}.service")
}

/// The drop-ins. `carriers` are the volumes that it lies on, `timeout` is how long volinit may wait for it, `before` are the
/// services that are told of it.
pub fn files(unit: &MountUnit<'_>, carriers: &[&str], timeout: Duration, before: &str) -> Result<Vec<File>, Unsayable> {
    let mut files = vec![drop_in(&service(unit.volume), text(unit, carriers)?)];
    if timeout > PATIENCE && unit.what.starts_with("/dev/") {
        let patience = (timeout + SLACK).as_secs();
        let text = format!(
            "{MARKER}: its volume may take as long as the config says.\n[Unit]\nJobRunningTimeoutSec={patience}\n"
        );
        // Without the `//` and `/./` that a person may have written.
        let device: PathBuf = Path::new(unit.what).components().collect();
        files.push(drop_in(&unit_name(&device, "device"), text));
    }
    files.extend(told(&service(unit.volume), before));
    Ok(files)
}

/// What the services `before` start after: a target of its own, `volinit-told@NAME.target`, for the first attempt of this
/// service of volinit's. Nothing where nobody is told.
pub fn told(service: &str, before: &str) -> Vec<File> {
    if before.is_empty() {
        return Vec::new();
    }
    let name = service.replacen("volinit", "volinit-told", 1).replace(".service", ".target");
    let path = Path::new(UNITS).join(&name);
    let wanted = Path::new(UNITS).join("multi-user.target.wants").join(&name);
    let text = format!(
        "{MARKER}: who is told of the volumes starts after it.\n[Unit]\nDescription=First attempt of {service}\n\
         DefaultDependencies=no\nAfter={service}\nBefore={before}\n"
    );
    vec![File { path: path.clone(), content: Content::Text(text) }, File { path: wanted, content: Content::Link(path) }]
}

fn drop_in(name: &str, text: String) -> File {
    File { path: Path::new(UNITS).join(format!("{name}.d/50-volinit.conf")), content: Content::Text(text) }
}

fn text(unit: &MountUnit<'_>, carriers: &[&str]) -> Result<String, Unsayable> {
    let mut text = format!("{MARKER} for the volume `{}`.\n[Unit]\n", value(unit.volume)?);
    match unit.kind {
        Kind::Device | Kind::Image => {}
        Kind::Network | Kind::Export { .. } => text += "Wants=network-online.target\nAfter=network-online.target\n",
    }
    if !carriers.is_empty() {
        let carriers: Vec<String> = carriers.iter().map(|carrier| service(carrier)).collect();
        writeln!(text, "After={}", carriers.join(" ")).expect("a String takes what is written to it");
    }
    // What volinit refused, systemd does not mount, and what needs the mount does not start on the root disk.
    write!(text, "\n[Install]\nRequiredBy={}\n", unit.name()).expect("as above");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MountPoint;

    fn files_of(what: &str, kind: Kind, carriers: &[&str], seconds: u64, before: &str) -> Vec<(String, String)> {
        let at = MountPoint::parse("/data/my-pg").unwrap();
        let unit = MountUnit { volume: "postgres", what, at: &at, fstype: "ext4", options: &[], kind };
        let files = files(&unit, carriers, Duration::from_secs(seconds), before).unwrap();
        let text = |file: File| match file.content {
            Content::Text(text) => (file.path.display().to_string(), text),
            Content::Link(to) => (file.path.display().to_string(), format!("-> {}", to.display())),
            other @ Content::Absent => panic!("{other:?}"),
        };
        files.into_iter().map(text).collect()
    }

    #[test]
    fn a_local_volume_waits_for_nobody() {
        assert_eq!(
            files_of("/dev/xvdb", Kind::Device, &[], 90, ""),
            [(
                "/etc/systemd/system/volinit@postgres.service.d/50-volinit.conf".to_owned(),
                "# Written by volinit for the volume `postgres`.\n[Unit]\n\n[Install]\n\
                 RequiredBy=data-my\\x2dpg.mount\n"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn one_that_is_attached_comes_after_the_network_and_what_it_lies_on_and_its_device_may_take_as_long() {
        assert_eq!(
            files_of("/dev/disk/by-id/nvme-x", Kind::Network, &["a", "b"], 300, "docker.service nomad.service"),
            [
                (
                    "/etc/systemd/system/volinit@postgres.service.d/50-volinit.conf".to_owned(),
                    "# Written by volinit for the volume `postgres`.\n[Unit]\nWants=network-online.target\n\
                     After=network-online.target\nAfter=volinit@a.service volinit@b.service\n\n\
                     [Install]\nRequiredBy=data-my\\x2dpg.mount\n"
                        .to_owned()
                ),
                (
                    "/etc/systemd/system/dev-disk-by\\x2did-nvme\\x2dx.device.d/50-volinit.conf".to_owned(),
                    "# Written by volinit: its volume may take as long as the config says.\n[Unit]\n\
                     JobRunningTimeoutSec=360\n"
                        .to_owned()
                ),
                (
                    "/etc/systemd/system/volinit-told@postgres.target".to_owned(),
                    "# Written by volinit: who is told of the volumes starts after it.\n[Unit]\n\
                     Description=First attempt of volinit@postgres.service\nDefaultDependencies=no\n\
                     After=volinit@postgres.service\nBefore=docker.service nomad.service\n"
                        .to_owned()
                ),
                (
                    "/etc/systemd/system/multi-user.target.wants/volinit-told@postgres.target".to_owned(),
                    "-> /etc/systemd/system/volinit-told@postgres.target".to_owned()
                )
            ]
        );
    }

    #[test]
    fn what_is_no_device_has_no_device_unit() {
        assert_eq!(files_of("10.0.0.1:/data", Kind::Network, &[], 300, "").len(), 1);
    }
}
