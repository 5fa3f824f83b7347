//! What a boot can do wrong, all in one: eleven volumes, of which half are not as they should be. The machine comes up,
//! each service that has its volume runs, and each other one does not run on the root disk; a person reads why, puts
//! it right and starts the service.

use std::fs;
use std::path::PathBuf;

use crate::node::{self, Volume};
use crate::rig::{MIB, fingerprint, tool};
use crate::table::Table;
use crate::vm::debian::{Image, Machine};

const BLANK: Volume = Volume::new("blank", 0x11, "ext4");
const LATE: Volume = Volume::new("late", 0x12, "xfs");
const NEVER: Volume = Volume { source: ", timeout: 25s", ..Volume::new("never", 0x13, "ext4") };
/// Fails in turns with the one before.
const GONE: Volume = Volume { source: ", timeout: 33s", ..Volume::new("gone", 0x1b, "ext4") };
const WRONG: Volume = Volume::new("wrong", 0x14, "ext4");
const FOREIGN: Volume = Volume::new("foreign", 0x15, "ext4");
const DIRTY: Volume = Volume::new("dirty", 0x16, "ext4");
const BROKEN: Volume = Volume::new("broken", 0x17, "ext4");
const TWIN: Volume = Volume::new("twin", 0x18, "xfs");
/// The same filesystem once more, as a volume from the twin's snapshot has it.
const COPY: Volume = Volume { options: ", options: [nouuid]", ..Volume::new("copy", 0x19, "xfs") };
const PULLED: Volume = Volume::new("pulled", 0x1a, "ext4");

const ALL: [Volume; 11] = [BLANK, LATE, NEVER, GONE, WRONG, FOREIGN, DIRTY, BROKEN, TWIN, COPY, PULLED];

/// After how many seconds of the boot it comes.
const LATE_COMES: u32 = 20;

pub fn story(image: &Image, table: &Table) {
    let payload = image.payload("wrong");
    node::install(&payload, &ALL);
    // A scheduler that is told of them, and starts after all of their first attempts.
    payload.write("/etc/volinit/conf.d/told.yaml", "publish: [fleet]\n");
    payload.unit("fleet.service", "multi-user.target", "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n");
    let files: Vec<PathBuf> = ALL.iter().map(|volume| fill(image, volume)).collect();
    let file = |of: &Volume| &files[ALL.iter().position(|volume| volume.name == of.name).unwrap()];
    let before = [&WRONG, &FOREIGN].map(|volume| fingerprint(file(volume)));
    let there = ALL.iter().filter(|volume| ![LATE.name, NEVER.name, GONE.name].contains(&volume.name));
    let disks: Vec<_> = there.map(|volume| volume.disk(file(volume))).collect();

    let mut machine = Machine::boot(image, "wrong", &payload, &disks, "");
    let machine = &mut machine;
    machine
        .shell(&format!("while read -r up _ </proc/uptime && [ \"${{up%.*}}\" -lt {LATE_COMES} ]; do sleep 0.2; done"));
    machine.plug(file(&LATE), &LATE.serial());
    table.case("wrong: the machine comes up, with half of its volumes broken", || machine.settled());

    table.case("wrong: a scheduler starts, though two volumes fail in turns", || {
        machine.shell("until systemctl is-active --quiet fleet; do sleep 0.2; done");
        node::waits(machine, GONE.name);
        let started = |unit: &str| machine.shell(&format!("systemctl show -P ActiveEnterTimestampMonotonic {unit}"));
        let [fleet, told] = ["fleet.service", "volinit-told@gone.target"].map(started);
        assert!(fleet.trim().parse::<u64>().unwrap() >= told.trim().parse().unwrap(), "{fleet}{told}");
    });

    let lines = "Reached target (local-fs|multi-user)|volinit@(late|never)|volinit-told|data-(late|never)|late: |never: |Reloading";
    let told = format!("journalctl -b --no-pager -o short-monotonic | grep -E '{lines}'");
    table.note(format!("== A boot with a volume that is late and one that never comes\n{}", machine.run(&told).1));

    for (volume, what) in [
        (BLANK, "a blank disk is formatted"),
        (LATE, "a disk that comes 20 s late is waited for"),
        (DIRTY, "an ext4 with errors that fsck can mend is mended"),
        (PULLED, "a disk of which more is asked below"),
    ] {
        table.case(&format!("wrong: {what}, its service runs"), || node::runs(machine, &volume));
    }
    table.case("wrong: two disks with one UUID: each is mounted where it belongs", || {
        for twin in [TWIN, COPY] {
            node::runs(machine, &twin);
            assert_eq!(machine.shell(&format!("cat /data/{}/who", twin.name)).trim(), twin.name);
        }
    });
    for (volume, what, code, words) in [
        (NEVER, "a disk that does not come is told", 4, "is not there after 25 s"),
        (WRONG, "another filesystem is refused", 3, "carries xfs"),
        (FOREIGN, "a disk with somebody's data is refused", 3, "carries a filesystem (vfat"),
        (BROKEN, "an ext4 that takes a person is refused", 3, "UNEXPECTED INCONSISTENCY"),
    ] {
        table.case(&format!("wrong: {what}, its service waits"), || broken(machine, &volume, code, words));
    }
    table.case("wrong: what was refused is as it was, byte for byte", || {
        assert_eq!([&WRONG, &FOREIGN].map(|volume| fingerprint(file(volume))), before);
    });

    table.case("wrong: the disk comes after all, the service starts", || {
        machine.plug(file(&NEVER), &NEVER.serial());
        machine.shell(&format!("udevadm wait --timeout=60 {}", NEVER.device()));
        node::starts(machine, &NEVER);
    });
    table.case("wrong: the config is put right, the service starts", || {
        let right = Volume { kind: "xfs", ..WRONG };
        machine.shell("sed -i '/^  wrong:/,/^  foreign:/s/ext4/xfs/' /etc/volinit/volinit.yaml");
        machine.shell("systemctl daemon-reload");
        node::starts(machine, &right);
        assert_eq!(machine.shell("cat /data/wrong/who"), "wrong\n");
    });
    table.case("wrong: a person gives the data up with --erase, the service starts", || {
        machine.shell(&format!("volinit up foreign --erase {}", FOREIGN.id()));
        node::starts(machine, &FOREIGN);
    });
    table.case("wrong: a person runs e2fsck, the service starts", || {
        // 1: it mended what it found.
        machine.shell(&format!("e2fsck -fy {}; [ $? = 1 ]", BROKEN.device()));
        node::starts(machine, &BROKEN);
    });
    table.case("wrong: a disk is pulled while it is mounted, and comes back", || pulled(machine, file(&PULLED)));
}

/// Its unit has ended with this code and tells the cause, and its service waits.
fn broken(machine: &mut Machine, volume: &Volume, code: u8, words: &str) {
    let name = volume.name;
    node::waits(machine, name);
    let [status, journal] = node::told(machine, name);
    for words in [words, &format!("status={code}")] {
        assert!(journal.contains(words), "{words}: {journal}");
    }
    if code == 4 {
        // What did not come may come yet: the unit tries again after a pause, and says what it waits for.
        machine.shell(&format!("until systemctl status volinit@{name} | grep -q {}; do sleep 0.2; done", volume.id()));
    } else {
        assert!(status.contains(words), "{words}: {status}");
    }
}

/// What happens to a mounted disk that goes away: nothing of it is left but the mount; a restart mounts it anew.
fn pulled(machine: &mut Machine, file: &std::path::Path) {
    machine.unplug(&PULLED.serial());
    machine.shell(&format!("while [ -e {} ]; do sleep 0.2; done", PULLED.device()));
    machine.plug(file, &PULLED.serial());
    machine.shell(&format!("udevadm wait --timeout=60 {}", PULLED.device()));
    let (code, said) = machine.run("systemctl restart volinit@pulled && systemctl restart svc-pulled");
    assert_eq!(code, 0, "{said}{}", node::why(machine, "pulled"));
    node::runs(machine, &PULLED);
    assert_eq!(machine.shell("grep -c row /data/pulled/rows"), "2\n", "from before and after");
}

/// What is on the disk before the boot.
fn fill(image: &Image, volume: &Volume) -> PathBuf {
    let file = image.file(volume.name, 320 * MIB);
    let path = file.to_str().unwrap();
    let debugfs = |request: &str| drop(tool(["debugfs", "-w", "-R", request, path]));
    match volume.name {
        "dirty" | "broken" => {
            tool(["mkfs.ext4", "-q", path]);
            if volume.name == "broken" {
                debugfs("clri <2>");
            }
            // What the kernel leaves after it met an error: EXT4_ERROR_FS.
            debugfs("set_super_value state 3");
        }
        "foreign" => drop(tool(["mkfs.vfat", path])),
        "wrong" | "twin" | "copy" => {
            let (who, files) = (file.with_extension("who"), file.with_extension("files"));
            fs::write(&who, format!("{}\n", volume.name)).unwrap();
            // mkfs.xfs's own list of files: a boot block, the sizes, the root folder.
            fs::write(&files, format!("/\n0 0\nd--755 0 0\nwho ---644 0 0 {}\n$\n", who.display())).unwrap();
            let uuid = if volume.name == "wrong" {
                "5a5a5a5a-0000-4000-8000-000000000001"
            } else {
                "5a5a5a5a-0000-4000-8000-000000000002"
            };
            tool(["mkfs.xfs", "-q", "-p", files.to_str().unwrap(), "-m", &format!("uuid={uuid}"), path]);
        }
        _ => {}
    }
    file
}
