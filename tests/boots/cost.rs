//! What volinit adds to a boot, beside a line of fstab and beside cloud-init's `mounts:`, for one volume that was
//! formatted before: printed, and not judged, since a busy machine has times of its own.

use crate::node::{self, Volume};
use crate::rig::{MIB, tool};
use crate::table::Table;
use crate::vm::debian::{Image, Machine, Payload};
use crate::ways;

const VOLUME: Volume = Volume::new("cost", 0x41, "ext4");

pub fn story(image: &Image, table: &Table) {
    let disk = image.file(&VOLUME.serial(), 320 * MIB);
    tool(["mkfs.ext4", "-q", disk.to_str().unwrap()]);
    let fields =
        [VOLUME.device(), "/data/cost".into(), "ext4".into(), "defaults,nofail".into(), "0".into(), "2".into()];
    let mut lines: Vec<String> = Vec::new();
    for (way, begins) in [
        // The first boot of an image, and each after it.
        ("volinit", "volinit@cost.service"),
        ("volinit again", "volinit@cost.service"),
        ("fstab", "$(systemd-escape --template=systemd-fsck@.service --path DEVICE)"),
        ("cloud-init", "cloud-init-local.service"),
    ] {
        let payload: Payload = image.payload(&format!("cost-{way}"));
        let name = format!("cost-{}", way.split(' ').next().unwrap_or_default());
        let mut disks = vec![VOLUME.disk(&disk)];
        let mut words = "";
        match way {
            "volinit again" => {}
            "volinit" => node::install(&payload, &[VOLUME]),
            "fstab" => drop(payload.package().write("/etc/fstab", &format!("{}\n", fields.join(" ")))),
            _ => {
                payload.package();
                let data = format!("#cloud-config\nlocale: false\nssh_genkeytypes: []\nmounts:\n  - {fields:?}\n");
                disks.push(ways::seed(image, "cost", &data));
                words = "cloud-init=enabled";
            }
        }
        let mut machine = Machine::boot(image, &name, &payload, &disks, words);
        table.case(&format!("cost: a boot with {way}"), || {
            machine.settled();
            machine.shell("findmnt /data/cost");
            let begins = begins.replace("DEVICE", &VOLUME.device());
            let at = |machine: &mut Machine, unit: &str, what: &str| -> f64 {
                let line = format!("systemctl show --value -p {what}TimestampMonotonic \"{unit}\"");
                machine.shell(&line).trim().parse::<f64>().unwrap() / 1e6
            };
            let began = at(&mut machine, &begins, "InactiveExit");
            let mounted = at(&mut machine, "data-cost.mount", "ActiveEnter");
            lines.push(format!(
                "{way:<13} begins at {began:6.2} s, has the volume mounted at {mounted:6.2} s: {:.2} s",
                mounted - began
            ));
            let told = machine.shell(
                "systemd-analyze time; systemd-analyze --no-pager blame | head -n 12; \
                 systemd-analyze --no-pager critical-chain data-cost.mount",
            );
            table.note(format!("== A boot with {way}\n{told}"));
        });
        machine.power_off();
    }
    table.note(format!(
        "== One formatted ext4 volume: from the first unit of each way to the mount\n{}",
        lines.join("\n")
    ));
}
