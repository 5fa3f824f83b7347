//! A volume's life on a real block device, for each filesystem: blank, up, up again, larger, larger again.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rig::{Disk, MIB, Rig, tool};

fn config(rig: &Rig, disk: &Disk, kind: &str) {
    rig.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\npostgres:x:999:998::/:/bin/sh\n");
    rig.write("/etc/group", "root:x:0:\npostgres:x:997:\n");
    rig.write("/etc/fleet/fleet.conf", "# ours\netcd_servers=http://127.0.0.1:4001\nmetadata=\"region=us-west\"\n");
    rig.config(&format!(
        "volumes:\n  \
           postgres:\n    \
             source: {{ device: {} }}\n    \
             filesystem: {{ type: {kind}, label: PostgreSQL }}\n    \
             mount: {{ at: /data/postgres, options: [noatime], owner: \"postgres:postgres\", mode: \"0700\" }}\n    \
             metadata: {{ postgres: \"{{uuid}}\" }}\n\
         publish: [fleet]\n",
        disk.name()
    ));
}

#[test]
fn ext4() {
    life("ext4");
}

#[test]
fn xfs() {
    life("xfs");
}

#[test]
fn btrfs() {
    life("btrfs");
}

fn life(kind: &str) {
    let mut rig = Rig::new();
    let disk = rig.disk(512 * MIB);
    config(&rig, &disk, kind);
    planned_blank(&rig, &disk, kind);
    formatted(&rig, &disk, kind);
    published(&rig, &disk, kind);
    unchanged(&rig);
    grown(&rig, &disk, kind);
    unchanged(&rig);
    kept(&rig, &disk, kind);
}

/// `plan` says what `up` will do, and touches nothing.
fn planned_blank(rig: &Rig, disk: &Disk, kind: &str) {
    let (bytes, files) = (disk.fingerprint(), rig.snapshot());
    let plan = rig.volinit(&["plan"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let steps =
        [&format!("1. format as {kind}"), "2. mount at ROOT/data/postgres", "3. set owner 999 group 997 mode 0700"];
    for (line, step) in plan.out.lines().skip(1).zip(steps) {
        assert!(line.trim_start().starts_with(step), "{line}");
    }
    for file in ["data-postgres.mount", "fleet.conf", "50-volinit.conf"] {
        assert!(plan.out.contains(file), "{}", plan.out);
    }
    assert_eq!(disk.fingerprint(), bytes, "plan wrote to the disk");
    assert_eq!(rig.snapshot(), files, "plan wrote a file");
    assert_eq!(rig.mount_at("/data/postgres"), None);
}

fn formatted(rig: &Rig, disk: &Disk, kind: &str) {
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.out.contains(&format!("(blank, 512 MiB): formatted as {kind}, mounted at ")), "{}", up.out);
    let (source, fstype, options) = rig.mount_at("/data/postgres").expect("it is mounted");
    assert_eq!((source.as_str(), fstype.as_str()), (disk.name(), kind));
    assert!(options.split(',').any(|option| option == "noatime"), "{options}");
    assert_eq!(tag(disk, "LABEL"), "PostgreSQL");
    assert_eq!(tag(disk, "TYPE"), kind);
    let top = fs::metadata(rig.path("/data/postgres")).unwrap();
    assert_eq!((top.uid(), top.gid(), top.permissions().mode() & 0o7777), (999, 997, 0o700));
    fs::write(rig.path("/data/postgres/PG_VERSION"), "15\n").unwrap();
}

/// systemd and fleet know it.
fn published(rig: &Rig, disk: &Disk, kind: &str) {
    let unit = rig.read("/etc/systemd/system/data-postgres.mount");
    for line in [
        &format!("What={}", disk.name()),
        "Where=/data/postgres",
        &format!("Type={kind}"),
        "Options=noatime",
        "WantedBy=local-fs.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line} is not in\n{unit}");
    }
    let link = fs::read_link(rig.path("/etc/systemd/system/local-fs.target.wants/data-postgres.mount")).unwrap();
    assert_eq!(link.to_str(), Some("/etc/systemd/system/data-postgres.mount"));
    let unit = rig.path("/etc/systemd/system/data-postgres.mount");
    // The man page that Documentation= names is not installed in the test's root.
    tool(["systemd-analyze", "verify", "--man=no", unit.to_str().unwrap()]);

    let pairs = format!("region=us-west,postgres={}", tag(disk, "UUID"));
    let conf = format!("# ours\netcd_servers=http://127.0.0.1:4001\nmetadata=\"{pairs}\"\n");
    assert_eq!(rig.read("/etc/fleet/fleet.conf"), conf);
    let dropin = rig.read("/run/systemd/system/fleet.service.d/50-volinit.conf");
    assert!(dropin.contains(&format!("Environment=\"FLEET_METADATA={pairs}\"")), "{dropin}");
}

/// A run with nothing to do starts no process, touches no file and says so.
fn unchanged(rig: &Rig) {
    let files = rig.snapshot();
    let trace = rig.file("trace", 0);
    let mut strace = std::process::Command::new("strace");
    strace.args(["--follow-forks", "--quiet=all", "--trace=execve,fork,vfork,clone,clone3", "--output"]).arg(&trace);
    strace.arg(rig::VOLINIT).arg("--root").arg(rig.root()).arg("up");
    let up = rig.run(&mut strace);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.out.starts_with("postgres: nothing to do: "), "{}", up.out);
    assert_eq!(up.out.lines().count(), 1, "{}", up.out);
    let calls = fs::read_to_string(trace).unwrap();
    assert_eq!(calls.lines().count(), 1, "volinit's own execve should be the only one:\n{calls}");
    assert_eq!(rig.snapshot(), files, "a file was touched");
}

/// The disk becomes larger: the filesystem follows, and its files are there.
fn grown(rig: &Rig, disk: &Disk, kind: &str) {
    // Without CAP_SYS_RESOURCE the kernel grows an ext4 only while it is not mounted.
    let offline = kind == "ext4" && !may_grow_mounted_ext4();
    disk.grow(1024 * MIB);
    if offline {
        let up = rig.volinit(&["up"]);
        assert_eq!(up.code, Some(0), "a volume that can't grow now is still up: {up:?}");
        assert!(up.out.contains("warning: the ext4 on") && up.out.contains("CAP_SYS_RESOURCE"), "{}", up.out);
        let grow = rig.volinit(&["grow"]);
        assert_eq!(grow.code, Some(1), "cfn-hup has to run it again: {grow:?}");
        rig.unmount("/data/postgres");
    }
    let before = disk.fingerprint();
    let plan = rig.volinit(&["plan"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let step = if offline { "grow with resize2fs, before the mount" } else { &format!("grow the {kind}") };
    assert!(plan.out.contains(step), "{}", plan.out);
    assert_eq!(disk.fingerprint(), before, "plan wrote to the disk");

    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.out.contains("grown"), "{}", up.out);
    let size = nix::sys::statvfs::statvfs(&rig.path("/data/postgres")).unwrap();
    let bytes = size.blocks() * size.fragment_size();
    assert!(bytes > 850 * MIB, "{bytes} after growing to 1 GiB");
    assert_eq!(rig.read("/data/postgres/PG_VERSION"), "15\n");
}

/// As after a reboot: mounted again, nothing formatted, the same filesystem.
fn kept(rig: &Rig, disk: &Disk, kind: &str) {
    let uuid = tag(disk, "UUID");
    rig.unmount("/data/postgres");
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    let found = format!("({kind} `PostgreSQL`, 1 GiB): mounted at ");
    assert!(up.out.contains(&found), "{}", up.out);
    assert_eq!(tag(disk, "UUID"), uuid);
    assert_eq!(rig.read("/data/postgres/PG_VERSION"), "15\n");
}

fn tag(disk: &Disk, name: &str) -> String {
    tool(["blkid", "--probe", "--match-tag", name, "--output", "value", disk.name()]).trim().to_owned()
}

fn may_grow_mounted_ext4() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 24) != 0
}
