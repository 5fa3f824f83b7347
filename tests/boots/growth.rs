//! Disks that grow under who writes to them, and a machine that is shut down while they still write. The next one, of
//! a fresh image, has the same volumes by the same ids, and finds every record.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::node::{self, Volume};
use crate::rig::{MIB, tool};
use crate::table::Table;
use crate::vm::debian::{Disk, Image, Machine, Payload};

/// QEMU makes only virtio disks larger; the last one is there to be handed over.
const GROW: [Volume; 3] = [
    Volume { virtio: true, ..Volume::new("ext4", 0x21, "ext4") },
    Volume { virtio: true, ..Volume::new("xfs", 0x22, "xfs") },
    Volume { virtio: true, ..Volume::new("btrfs", 0x23, "btrfs") },
];
const NVME: Volume = Volume::new("rows", 0x24, "ext4");

const SIZE: u64 = 384 * MIB;
const GROWN: u64 = 768 * MIB;

pub fn story(image: &Image, table: &Table) {
    let volumes = [GROW[0], GROW[1], GROW[2], NVME];
    let payload = image.payload("growth");
    node::install(&payload, &volumes);
    for volume in &volumes {
        writer(&payload, volume.name);
    }
    let files: Vec<PathBuf> = volumes.iter().map(|volume| image.file(&volume.serial(), SIZE)).collect();
    let disks: Vec<Disk> = volumes.iter().zip(&files).map(|(volume, file)| volume.disk(file)).collect();

    let mut machine = Machine::boot(image, "core1", &payload, &disks, "");
    table.case("growth: the machine comes up", || machine.settled());
    for volume in &GROW {
        table.case(&format!("growth: {} grows under a writer", volume.name), || grows(&mut machine, volume));
    }
    let console = machine.console_file();
    let mut wrote = Vec::new();
    table.case("growth: shut down in order, while all of them write", || {
        for volume in &volumes {
            machine.shell(&format!("systemctl is-active svc-{}", volume.name));
        }
        machine.power_off();
        let said = std::fs::read_to_string(&console).unwrap();
        wrote = volumes.iter().map(|volume| records(&said, volume.name)).collect();
        println!("records: {wrote:?}");
    });
    table.case("growth: each was unmounted, and its checker has nothing to say", || {
        for (volume, file) in volumes.iter().zip(&files) {
            clean(volume.kind, file);
        }
    });

    let mut machine = Machine::boot(image, "core2", &payload, &disks, "");
    table.case("growth: the next machine comes up", || machine.settled());
    table.case("growth: it has the same volumes, and each record is there and whole", || {
        for (volume, wrote) in volumes.iter().zip(&wrote) {
            // The writer itself looks at each.
            machine.shell(&format!("systemctl is-active svc-{}", volume.name));
            let found = machine.shell(&format!("cat /run/{}.found", volume.name));
            assert_eq!(found.trim().parse(), Ok(*wrote), "{}", volume.name);
            let [_, journal] = node::told(&mut machine, volume.name);
            assert!(!journal.contains("formatted"), "{journal}");
        }
    });
    // It has them mounted, and dies with the test.
    machine.kill();
}

/// In place of the service that writes one line.
fn writer(payload: &Payload, name: &str) {
    payload.write("/usr/local/lib/writer.py", include_str!("writer.py"));
    let service = format!("/etc/systemd/system/svc-{name}.service.d/writer.conf");
    let command = format!("/usr/bin/python3 /usr/local/lib/writer.py {name} /data/{name}/records");
    // Its end is its own: a record is whole.
    payload.write(&service, &format!("[Service]\nUser=root\nExecStart=\nExecStart={command}\nKillMode=mixed\n"));
}

/// What a writer told at its end.
fn records(console: &str, name: &str) -> u64 {
    let said = console.lines().find_map(|line| line.trim().strip_prefix(&format!("{name} wrote ")).map(str::to_owned));
    let said = said.unwrap_or_else(|| panic!("{name} said nothing: {console}"));
    said.split(' ').next().unwrap().parse().unwrap()
}

fn grows(machine: &mut Machine, volume: &Volume) {
    let name = volume.name;
    let size = format!("df --block-size=1M --output=size /data/{name} | tail -n 1");
    let count = format!("wc -l </data/{name}/records");
    let number = |text: String| text.trim().parse::<u64>().unwrap();
    machine.shell(&format!("until [ -s /data/{name}/records ]; do sleep 0.2; done"));
    let before = number(machine.shell(&size));
    machine.resize(&volume.serial(), GROWN);
    machine.shell(&format!("until [ $(blockdev --getsize64 {}) = {GROWN} ]; do sleep 0.2; done", volume.device()));
    let written = number(machine.shell(&count));
    // By hand, or as the timer does it.
    let by = if volume.kind == "btrfs" {
        "systemctl start volinit-grow && journalctl --no-pager -o cat -u volinit-grow".to_owned()
    } else {
        format!("volinit grow {name}")
    };
    let said = machine.shell(&by);
    assert!(said.contains("grown to 768 MiB"), "{said}");
    let after = number(machine.shell(&size));
    // What a filesystem keeps for itself is less than a tenth of what came.
    assert!(after > before + (GROWN - SIZE) / MIB * 9 / 10, "{before} MiB, now {after} MiB");
    assert!(machine.shell(&format!("volinit grow {name}")).contains("nothing to do"));
    // It has written all the time, and goes on.
    machine.shell(&format!("until [ $({count}) -gt {} ]; do sleep 0.2; done", written + 10));
    machine.shell(&format!("systemctl is-active svc-{name}"));
}

/// Nothing is left to replay, and the checker, which changes nothing, agrees.
fn clean(kind: &str, file: &Path) {
    match kind {
        "ext4" => {
            // <https://docs.kernel.org/filesystems/ext4/super.html>: `s_feature_incompat`, `INCOMPAT_RECOVER`.
            let mut features = [0; 4];
            File::open(file).unwrap().read_exact_at(&mut features, 1024 + 0x60).unwrap();
            assert_eq!(u32::from_le_bytes(features) & 0x4, 0, "it was not unmounted");
            tool(["e2fsck".as_ref(), "-fn".as_ref(), file.as_os_str()]);
        }
        // It refuses one with a journal to replay.
        "xfs" => drop(tool(["xfs_repair".as_ref(), "-n".as_ref(), file.as_os_str()])),
        _ => drop(tool(["btrfs".as_ref(), "check".as_ref(), file.as_os_str()])),
    }
}
