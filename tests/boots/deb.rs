//! The package, a config of five lines, a reboot: what the README's chapter Install says, and then the boot that a person
//! waits for.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::node::{self, Volume};
use crate::rig::{MIB, VOLINIT, tool};
use crate::table::Table;
use crate::vm::debian::{Image, Machine};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const POSTGRES: Volume = Volume::new("postgres", 0x61, "ext4");

pub fn story(image: &Image, table: &Table) {
    let payload = image.payload("deb");
    let folder = image.payload("packages").folder;
    let binary = folder.join("volinit");
    let stripped = Command::new("strip").args(["-o".as_ref(), binary.as_os_str(), VOLINIT.as_ref()]).status();
    assert!(stripped.unwrap().success(), "strip");
    tool([&format!("{HERE}/packaging/packages.sh"), binary.to_str().unwrap(), folder.to_str().unwrap()]);
    let name = format!("volinit_{}-1_amd64.deb", env!("CARGO_PKG_VERSION"));
    fs::copy(folder.join(&name), payload.path(&format!("/root/{name}"))).unwrap();
    payload.ebs_links();
    let commands = readme().replace("/dev/xvdb", &POSTGRES.device());
    let (before, up) = commands.split_once("\nvolinit up").expect("the README's last command is `volinit up`");
    assert!(!up.contains('\n'), "{up}");
    payload.write("/root/install", &format!("cd /root\n{before}\n"));
    let disks = [POSTGRES.disk(&image.file(&POSTGRES.serial(), 320 * MIB))];

    let mut machine = Machine::boot(image, "deb", &payload, &disks, "");
    table.case("deb: the README's commands, in a Debian that never saw volinit", || {
        machine.settled();
        machine.shell("bash -e /root/install");
        assert_eq!(machine.run("findmnt /data/postgres").0, 1, "nothing is started by the package");
    });
    node::service(&payload, "postgres", "");
    table.case("deb: is shut down", || machine.power_off());
    let mut machine = Machine::boot(image, "deb", &payload, &disks, "");
    table.case("deb: after the reboot the volume is up, and its service runs", || {
        machine.settled();
        node::runs(&mut machine, &POSTGRES);
        let [status, journal] = node::told(&mut machine, "postgres");
        assert!(journal.contains("formatted as ext4, mounted at /data/postgres"), "{journal}");
        assert!(status.contains("active (exited)"), "{status}");
    });
}

/// The lines of the chapter that are typed on the machine.
fn readme() -> String {
    let text = fs::read_to_string(Path::new(HERE).join("README.md")).unwrap();
    let chapter = text.split("\n## Install\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines: Vec<&str> = chapter.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    lines.join("\n").split_once("make packages").unwrap().1.split_once('\n').unwrap().1.to_owned()
}
