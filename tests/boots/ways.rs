//! The ways in, other than the generator: a line in a service, cloud-init's bootcmd and runcmd, a unit as CoreOS's
//! cloud-config has it, and an image into which it was baked.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::node::{self, Volume};
use crate::rig::{MIB, VOLINIT, tool};
use crate::table::Table;
use crate::vm::debian::{Disk, Image, Machine};

/// `ExecStartPre=`, without a config.
const LINE: Volume = Volume::new("line", 0x31, "ext4");
const INSIDE: Volume = Volume::new("inside", 0x36, "ext4");
const OUTSIDE: Volume = Volume::new("outside", 0x37, "ext4");
const BOOTCMD: Volume = Volume::new("bootcmd", 0x32, "xfs");
const RUNCMD: Volume = Volume::new("runcmd", 0x33, "ext4");
const COREOS: Volume = Volume::new("coreos", 0x34, "btrfs");
const BAKED: Volume = Volume::new("baked", 0x35, "ext4");

const SIZE: u64 = 320 * MIB;

/// Three ways in one boot: none of them has anything in it before.
pub fn story(image: &Image, table: &Table) {
    let volumes = [LINE, INSIDE, OUTSIDE, BOOTCMD, RUNCMD, COREOS];
    let payload = image.payload("ways");
    payload.package();
    let line = |volume: &Volume, before: &str| {
        let (device, name) = (volume.device(), volume.name);
        format!("ExecStartPre=+{before}/usr/bin/volinit up --device {device} --mount /data/{name}\n")
    };
    // `+`: with all that the service itself has not.
    let locked = format!("CapabilityBoundingSet=CAP_KILL\nNoNewPrivileges=yes\n{}", line(&LINE, ""));
    node::service(&payload, "line", &locked);
    // systemd 252 gives it the mount namespace of the service all the same.
    node::service(&payload, "inside", &format!("PrivateTmp=yes\n{}", line(&INSIDE, "")));
    let host = "/usr/bin/nsenter --mount=/proc/1/ns/mnt ";
    node::service(&payload, "outside", &format!("PrivateTmp=yes\n{}", line(&OUTSIDE, host)));
    let mut disks: Vec<Disk> = volumes.iter().map(|volume| volume.disk(&image.file(&volume.serial(), SIZE))).collect();
    disks.push(seed(image, "ways", &user_data()));

    let mut machine = Machine::boot(image, "ways", &payload, &disks, "cloud-init=enabled");
    let machine = &mut machine;
    table.case("ways: cloud-init comes to its end, and the machine up", || {
        machine.settled();
        let said = machine.run("cloud-init status --wait --long; cat /var/log/cloud-init-output.log").1;
        assert!(said.contains("status: done"), "{said}");
        // The seed was read, and not passed over.
        assert!(said.contains("DataSourceNoCloud"), "{said}");
    });
    table.case("ways: ExecStartPre=+ in a service that may do little, without a config", || node::runs(machine, &LINE));
    table.case("ways: where nobody else would see its mount, it says so and does nothing", || {
        node::waits(machine, "inside");
        let said = machine.shell("journalctl --no-pager -o cat -u svc-inside");
        assert!(said.contains("has a mount namespace of its own"), "{said}");
    });
    table.case("ways: the same service, with volinit in the machine's own namespace", || {
        node::runs(machine, &OUTSIDE);
    });
    table.case("ways: bootcmd, without a config", || {
        machine.shell("systemctl start svc-bootcmd");
        node::runs(machine, &BOOTCMD);
    });
    table.case("ways: runcmd, with a config by write_files", || node::runs(machine, &RUNCMD));
    table.case("ways: a unit of CoreOS's cloud-config", || {
        // What coreos-cloudinit does with `coreos: units: [{ name, command: start, content }]`.
        let unit = format!(
            "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/usr/bin/volinit up --device {} \
             --mount /data/coreos --fs btrfs --label PostgreSQL\\n",
            COREOS.device()
        );
        machine.shell(&format!("printf '{unit}' >/etc/systemd/system/volume.service && systemctl daemon-reload"));
        machine.shell("systemctl start volume.service");
        let wants = "[Unit]\\nRequires=volume.service\\nAfter=volume.service\\nRequiresMountsFor=/data/coreos\\n";
        let service = "[Service]\\nExecStart=sh -c \"echo row >>/data/coreos/rows && exec sleep infinity\"\\n";
        machine.shell(&format!("printf '{wants}{service}' >/etc/systemd/system/svc-coreos.service"));
        machine.shell("systemctl daemon-reload && systemctl start svc-coreos");
        machine.shell("until [ -s /data/coreos/rows ]; do sleep 0.2; done");
        node::runs(machine, &COREOS);
        assert_eq!(machine.shell(&format!("blkid -o value -s LABEL {}", COREOS.device())), "PostgreSQL\n");
    });
}

/// An image in which all was there before its first boot, and no generator.
pub fn baked(image: &Image, table: &Table) {
    let payload = image.payload("baked");
    node::package_and_config(&payload, &[BAKED]);
    payload.without_generator();
    node::service(&payload, "baked", "");
    let root = payload.folder.to_str().unwrap();
    tool([VOLINIT, "render", "--root", root]);
    tool(["systemctl", "--root", root, "enable", "volinit@baked"]);
    let disks = [BAKED.disk(&image.file(&BAKED.serial(), SIZE))];

    let mut machine = Machine::boot(image, "baked", &payload, &disks, "");
    table.case("baked: the first boot formats, and the service runs", || {
        machine.settled();
        node::runs(&mut machine, &BAKED);
        let [_, journal] = node::told(&mut machine, "baked");
        assert!(journal.contains("formatted as ext4, mounted at /data/baked"), "{journal}");
    });
    table.case("baked: and is shut down", || machine.power_off());
    let mut machine = Machine::boot(image, "baked", &image.payload("nothing"), &disks, "");
    table.case("baked: the second boot formats nothing, and the service has its data", || {
        machine.settled();
        node::runs(&mut machine, &BAKED);
        assert_eq!(machine.shell("grep -c row /data/baked/rows"), "2\n");
        let [_, journal] = node::told(&mut machine, "baked");
        assert!(!journal.contains("formatted"), "{journal}");
    });
    table.case("baked: Debian's Redis has its data on a volume, by `render --service`", || redis(&mut machine));
}

/// The real unit, which may write to its own folders only.
fn redis(machine: &mut Machine) {
    let volume = "volumes: { redis: { source: { image: /var/lib/redis.img, size: 128M }, mount: /data/redis } }";
    machine.shell(&format!(
        "mkdir /etc/volinit/conf.d; echo '{volume}' >/etc/volinit/conf.d/redis.yaml && volinit up redis"
    ));
    let said = machine.shell("volinit render --service redis --root /");
    assert_eq!(said, "created /etc/systemd/system/redis-server.service.d/50-volinit.conf\n");
    machine.shell("sed -i 's,^dir .*,dir /data/redis/data,' /etc/redis/redis.conf && systemctl daemon-reload");
    let (code, said) = machine.run("systemctl start redis-server");
    assert_eq!(code, 0, "{said}{}", machine.run("systemctl status --no-pager --full redis-server").1);
    machine.shell("redis-cli set foo bar && redis-cli save");
    assert_eq!(machine.shell("stat -c '%U %a' /data/redis/data /data/redis/data/dump.rdb"), "redis 750\nredis 660\n");
    assert!(machine.shell("ls /data/redis").contains("lost+found"));

    // Its volume goes, and it with it; on the root disk it does not start.
    machine.shell("systemctl stop data-redis.mount");
    assert_ne!(machine.run("systemctl is-active redis-server").0, 0);
    machine.shell("mv /var/lib/redis.img /var/lib/gone.img");
    assert_ne!(machine.run("systemctl start redis-server").0, 0);
    assert_eq!(machine.shell("find /data/redis -mindepth 1"), "");
    machine.shell("mv /var/lib/gone.img /var/lib/redis.img && systemctl start redis-server");
    assert_eq!(machine.shell("redis-cli get foo"), "bar\n");
}

fn user_data() -> String {
    let service = |name: &str| {
        format!(
            "  - path: /etc/systemd/system/svc-{name}.service\n    content: |\n      [Unit]\n      \
             RequiresMountsFor=/data/{name}\n      [Service]\n      ExecStart=sh -c 'echo row >>/data/{name}/rows && \
             exec sleep infinity'\n"
        )
    };
    let config = node::config(&[RUNCMD]).replace('\n', "\n      ");
    format!(
        "#cloud-config\n\
         locale: false\nssh_genkeytypes: []\n\
         bootcmd:\n  - [volinit, up, --device, {bootcmd}, --mount, /data/bootcmd, --fs, xfs]\n\
         write_files:\n  - path: /etc/volinit/volinit.yaml\n    content: |\n      {config}\n{}{}\
         runcmd:\n  - [volinit, up]\n  - [systemctl, start, svc-runcmd]\n",
        service("bootcmd"),
        service("runcmd"),
        bootcmd = BOOTCMD.device(),
    )
}

/// A disk with user-data as cloud-init's `NoCloud` takes it.
pub fn seed(image: &Image, name: &str, user_data: &str) -> Disk {
    let folder = image.payload(&format!("{name}-seed")).folder;
    fs::write(folder.join("user-data"), user_data).unwrap();
    fs::write(folder.join("meta-data"), format!("instance-id: {name}\nlocal-hostname: node\n")).unwrap();
    fs::write(folder.join("network-config"), "version: 2\nethernets: {}\n").unwrap();
    let file: PathBuf = image.file(&format!("{name}.seed"), 0);
    let made = Command::new("genisoimage")
        .args(["-quiet", "-volid", "CIDATA", "-joliet", "-rock", "-o"])
        .args([&file, &folder])
        .status()
        .expect("this test needs genisoimage (`make deps` installs all)");
    assert!(made.success(), "genisoimage: {made}");
    Disk { serial: "seed".into(), file, nvme: false }
}
