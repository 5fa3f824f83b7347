//! Bad surroundings: tools that are missing or lie, files that can't be written, links where there should be folders,
//! limits, signals. Each is a clear error with its exit code; nothing is lost, and the next run comes up by itself.
//!
//! What belongs to the machine (its tools, /sys, /proc) is changed in a mount namespace of the run's own.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rig::{Disk, MIB, Ran, Rig, VOLINIT, tool};

const SIZE: u64 = 320 * MIB;

fn config(rig: &Rig, disk: &Disk, kind: &str) {
    rig.config(&format!(
        "volumes:\n  pg:\n    source: {{ device: {} }}\n    filesystem: {{ type: {kind} }}\n    mount: /data/pg\n    metadata: {{ postgres: here }}\npublish: [fleet]\n",
        disk.name()
    ));
}

fn machine(kind: &str) -> (Rig, Disk) {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    config(&rig, &disk, kind);
    (rig, disk)
}

/// `volinit up` in a mount namespace of its own, which `setup` changes first; mounts that it makes are gone after.
fn up_where(rig: &Rig, setup: &str) -> Ran {
    let script = format!("set -e\n{setup}\nexec {VOLINIT} --root {} up", rig.root().display());
    rig.run(Command::new("unshare").args(["--mount", "--propagation", "private", "bash", "-c", &script]))
}

/// No tool of any filesystem is there.
const GONE: &str = "for at in /usr/local/sbin /usr/sbin; do mount -t tmpfs none $at; done";

fn recovers(rig: &Rig) {
    let next = rig.volinit(&["up"]);
    assert_eq!(next.code, Some(0), "{next:?}");
    assert!(rig.mount_at("/data/pg").is_some());
}

#[test]
fn an_mkfs_that_is_missing_fails_is_killed_or_lies_changes_nothing() {
    let real = |kind: &str, rest: &str| format!("last=${{!#}}; exec /usr/sbin/mkfs.{kind} -q {rest} $last");
    for kind in ["ext4", "xfs", "btrfs"] {
        let (rig, disk) = machine(kind);
        let before = disk.fingerprint();
        let other = if kind == "xfs" { real("ext4", "-F") } else { real("xfs", "-f") };
        let lies = format!("mkfs.{kind} said it was done, but made no {kind}");
        let cases = [
            ("echo no way >&2; exit 7", format!("`mkfs.{kind} ")),
            ("echo no way >&2; exit 7", "ended with exit status: 7: no way".into()),
            ("kill -KILL $$", "ended with signal: 9 (SIGKILL): it said nothing".into()),
            ("kill -ABRT $$", "ended with signal: 6 (SIGABRT)".into()),
            ("exit 0", lies.clone()),
            ("head -c 1M /dev/urandom > ${!#}", "mkfs".into()),
            (&other, lies),
            (
                "truncate --size +1M ${!#}; dd if=/dev/urandom of=${!#} conv=notrunc bs=1M count=1 status=none",
                "mkfs".into(),
            ),
            ("exec /no/such/interpreter", "ended with exit status: 127".into()),
        ];
        for (script, words) in cases {
            let ran = up_where(&rig, &rig.stand_in(&format!("mkfs.{kind}"), script));
            assert_eq!(ran.code, Some(1), "{script}: {ran:?}");
            let start = format!("pg: failed: formatting {} as {kind}: ", disk.name());
            assert!(ran.out.starts_with(&start) && ran.out.contains(&words), "{script}: {}", ran.out);
            assert_eq!(disk.fingerprint(), before, "{kind}, {script}");
            assert!(!rig.path("/etc/fleet/fleet.conf").exists(), "fleet is told of a volume that does not stand");
        }
        let ran = up_where(&rig, GONE);
        assert_eq!((ran.code, disk.fingerprint()), (Some(1), before), "{ran:?}");
        assert!(ran.out.contains(&format!("starting mkfs.{kind} (it is in the package ")), "{}", ran.out);
        recovers(&rig);
    }
}

#[test]
fn an_mkfs_that_makes_a_smaller_one_is_told_and_loses_nothing() {
    for (kind, script) in [
        ("ext4", "last=${!#}; exec /usr/sbin/mkfs.ext4 -q -F $last 200M"),
        ("xfs", "last=${!#}; exec /usr/sbin/mkfs.xfs -q -f -d size=310m $last"),
        ("btrfs", "last=${!#}; exec /usr/sbin/mkfs.btrfs -q -f -b 256m $last"),
    ] {
        let (rig, _disk) = machine(kind);
        let ran = up_where(&rig, &rig.stand_in(&format!("mkfs.{kind}"), script));
        // A whole filesystem, and no worse than a disk that grew: it is used, and the next run makes it larger.
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let next = rig.volinit(&["up"]);
        assert!(next.code == Some(0) && next.out.contains("grown"), "{next:?}");
        let third = rig.volinit(&["up"]);
        assert!(third.code == Some(0) && third.out.starts_with("pg: nothing to do: "), "{third:?}");
        assert!(!third.out.contains("warning"), "{third:?}");
    }
}

#[test]
fn an_e2fsck_that_is_missing_fails_or_is_killed_leaves_the_filesystem_to_the_next_run() {
    let (rig, disk) = machine("ext4");
    tool(["mkfs.ext4", "-q", disk.name()]);
    tool(["debugfs", "-w", "-R", "set_super_value state 3", disk.name()]);
    let before = disk.fingerprint();
    for (script, words) in [
        ("", "starting e2fsck (it is in the package e2fsprogs)".to_owned()),
        ("kill -KILL $$", format!("checking {}: `e2fsck -p ", disk.name())),
        ("echo what; exit 16", "ended with exit status: 16: what".into()),
    ] {
        let setup = if script.is_empty() { GONE.to_owned() } else { rig.stand_in("e2fsck", script) };
        let ran = up_where(&rig, &setup);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.out.contains(&words), "{words} is not in {}", ran.out);
        assert_eq!(disk.fingerprint(), before, "{ran:?}");
        assert!(rig.mount_at("/data/pg").is_none());
    }
    recovers(&rig);
    rig.unmount("/data/pg");
    tool(["e2fsck", "-f", "-n", disk.name()]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_the_volume_stands_all_the_same() {
    // (folder, how it is, exit code, what is said)
    let tmpfs = |at: &str, options: &str| format!("mount -t tmpfs -o {options} none $ROOT{at}");
    for (setup, code, words) in [
        (tmpfs("/etc/systemd", "ro"), 1, "ROOT/etc/systemd/system: Read-only file system"),
        (tmpfs("/etc/systemd", "size=4k,nr_inodes=2"), 1, "No space left on device"),
        (tmpfs("/run", "ro"), 1, "ROOT/run/volinit: Read-only file system"),
        (tmpfs("/run", "size=4k,nr_inodes=1"), 1, "No space left on device"),
        (tmpfs("/var", "ro"), 0, "it could not be remembered: "),
        (tmpfs("/var", "size=4k,nr_inodes=1"), 0, "it could not be remembered: "),
    ] {
        let (rig, _disk) = machine("ext4");
        rig.write("/etc/systemd/.keep", "");
        // Mounted there, the volume is in the run's own namespace: it is asked in there whether it stands.
        let root = rig.root();
        let script = format!(
            "ROOT={0}; {setup}; {VOLINIT} --root $ROOT up; code=$?; grep -q ' {0}/data/pg ext4 ' /proc/self/mounts || exit 99; exit $code",
            root.display()
        );
        let ran = rig.run(Command::new("unshare").args(["--mount", "--propagation", "private", "bash", "-c", &script]));
        assert_eq!(ran.code, Some(code), "{setup}: {ran:?}");
        assert!(ran.out.contains(words), "{setup}: {words} is not in {}", ran.out);
        let left = rig.snapshot();
        assert!(!left.keys().any(|path| path.to_string_lossy().contains("/.volinit-")), "{setup}: {left:?}");
        recovers(&rig);
        assert_eq!(rig.read("/etc/fleet/fleet.conf"), "metadata=\"postgres=here\"\n", "{setup}");
    }
}

#[test]
fn folders_that_are_not_there_are_made() {
    let (rig, disk) = machine("xfs");
    for folder in ["etc", "run", "var"] {
        fs::remove_dir_all(rig.root().join(folder)).unwrap();
    }
    let up = ["up", "--device", disk.name(), "--mount", "/data/pg", "--fs", "xfs"];
    let ran = rig.volinit(&up);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(rig.path("/etc/systemd/system/data-pg.mount").exists());
    assert_eq!(rig.volinit(&up).out.matches("nothing to do").count(), 1);
}

#[test]
fn links_in_place_of_what_is_written_are_not_followed_out_of_the_root() {
    let outside = tempfile::tempdir().unwrap();
    // (what is a link, what it leads to, exit code, what is said)
    for (link, target, code, words) in [
        ("/data/pg", "elsewhere", 3, "is reached through the link ROOT/data/pg"),
        ("/data", "elsewhere", 3, "is reached through the link ROOT/data"),
        ("/etc/systemd/system/data-pg.mount", "file", 1, "data-pg.mount"),
        ("/etc/fleet/fleet.conf", "file", 1, "fleet.conf"),
        ("/etc/systemd", "elsewhere", 1, "is a symbolic link to"),
        ("/run/volinit", "elsewhere", 1, "is a symbolic link to"),
        ("/run/volinit/publish.lock", "file", 1, "publish.lock"),
        ("/var/lib/volinit/volumes/pg.json", "file", 0, "it could not be remembered: "),
        ("/var/lib/volinit", "elsewhere", 0, "it could not be remembered: "),
    ] {
        let (rig, disk) = machine("ext4");
        let before = disk.fingerprint();
        let target = outside.path().join(target);
        fs::create_dir_all(rig.path(link).parent().unwrap()).unwrap();
        symlink(&target, rig.path(link)).unwrap();
        fs::create_dir_all(outside.path().join("elsewhere")).unwrap();
        fs::write(outside.path().join("file"), "somebody's").unwrap();
        let ran = rig.volinit(&["up"]);
        let left: Vec<_> = fs::read_dir(outside.path().join("elsewhere")).unwrap().collect();
        assert!(left.is_empty(), "{link}: written outside of the root: {left:?}");
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "somebody's", "{link}");
        assert!(ran.code == Some(code) && ran.out.contains(words), "{link}: {words}, {code}: {ran:?}");
        assert_eq!(disk.fingerprint() == before, code == 3, "{link}: {ran:?}");
        fs::remove_file(rig.path(link)).unwrap();
        recovers(&rig);
    }
}

#[test]
fn an_image_is_not_made_through_a_link_that_leads_out_of_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    symlink(outside.path(), rig.path("/var/lib")).unwrap();
    rig.config("volumes:\n  pg:\n    source: { image: /var/lib/pg.img, size: 320M }\n    mount: /data/pg\n");
    let ran = rig.volinit(&["up"]);
    let made: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
    assert!(made.is_empty(), "made outside of the root: {made:?}, {ran:?}");
    assert!(ran.code == Some(1) && ran.out.contains("ROOT/var/lib is a symbolic link"), "{ran:?}");
    fs::remove_file(rig.path("/var/lib")).unwrap();
    recovers(&rig);
}

#[test]
fn without_sys_or_proc_nothing_is_formatted_that_could_not_be_looked_at() {
    let (rig, disk) = machine("ext4");
    let before = disk.fingerprint();
    let ran = up_where(&rig, "mount -t tmpfs none /proc");
    assert_eq!((ran.code, disk.fingerprint()), (Some(1), before), "{ran:?}");
    assert!(ran.out.contains("reading /proc/self/mountinfo"), "{}", ran.out);
    // Holders and partitions are in /sys, and whose partition it is that the lock is taken of.
    let ran = up_where(&rig, "mount -t tmpfs none /sys");
    assert_eq!((ran.code, disk.fingerprint()), (Some(1), before), "{ran:?}");
    assert!(ran.out.contains("is sysfs mounted (`mount -t sysfs sysfs /sys`)?"), "{}", ran.out);
    recovers(&rig);
}

#[test]
fn little_memory_or_few_descriptors_are_told_before_anything_is_written() {
    let (rig, disk) = machine("xfs");
    let before = disk.fingerprint();
    rig.write("/meminfo", "MemTotal: 90000 kB\nMemAvailable: 20000 kB\n");
    let ran = up_where(&rig, &format!("mount --bind {} /proc/meminfo", rig.path("/meminfo").display()));
    assert_eq!((ran.code, disk.fingerprint()), (Some(1), before), "{ran:?}");
    let words = ["making this xfs takes ", " of memory and 19.5 MiB is available", "nothing was written"];
    assert!(words.iter().all(|words| ran.out.contains(words)), "{}", ran.out);
    for few in 4..10 {
        let ran = up_where(&rig, &format!("ulimit -n {few}"));
        match ran.code {
            Some(0) => break,
            Some(1..=4) => assert_eq!(disk.fingerprint(), before, "{few}: {ran:?}"),
            _ => panic!("{few} descriptors: {ran:?}"),
        }
        assert!(format!("{}{}", ran.out, ran.err).contains("(os error 24)"), "{few}: {ran:?}");
    }
    recovers(&rig);
}

#[test]
fn a_unit_with_a_mount_namespace_of_its_own_is_told_so() {
    let (rig, disk) = machine("ext4");
    let before = disk.fingerprint();
    // Should it go on all the same, what it writes to is not the host's.
    let setup = "for at in /etc /var /run; do mount -t tmpfs none $at; done";
    let script = format!("{setup}; exec {VOLINIT} up --device {} --mount /run/pg", disk.name());
    let mut own = Command::new("unshare");
    own.args(["--mount", "--propagation", "slave", "env", "INVOCATION_ID=1", "bash", "-c", &script]);
    let ran = rig.run(&mut own);
    assert_eq!((ran.code, disk.fingerprint()), (Some(1), before), "{ran:?}");
    for words in ["has a mount namespace of its own", "ProtectSystem=", "RequiresMountsFor="] {
        assert!(ran.err.contains(words), "{words}: {ran:?}");
    }
    // A person's own namespace is their business.
    let ran = up_where(&rig, "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// `volinit up` under its own number, with stand-ins; to be sent a signal.
fn begin(rig: &Rig, setup: &str) -> Child {
    let script = format!("set -e\n{setup}\nexec {VOLINIT} --root {} up", rig.root().display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn appears(path: &Path) {
    while !path.exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

fn signalled(rig: &Rig, child: Child, signal: &str) -> (Ran, Duration) {
    let sent = Instant::now();
    tool(["kill", "-s", signal, &child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(rig.root().to_str().unwrap(), "ROOT");
    (Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }, sent.elapsed())
}

#[test]
fn a_signal_ends_a_wait_at_once() {
    for signal in ["TERM", "INT", "HUP"] {
        let rig = Rig::new();
        rig.config("volumes:\n  pg:\n    source: { device: /dev/disk/by-id/no-such }\n    mount: /data/pg\n");
        let child = begin(&rig, "");
        let watches = format!("/proc/{}/fdinfo", child.id());
        let waits = |fd: fs::DirEntry| fs::read_to_string(fd.path()).is_ok_and(|info| info.contains("inotify"));
        while !fs::read_dir(&watches).unwrap().any(|fd| waits(fd.unwrap())) {
            thread::yield_now();
        }
        let (ran, took) = signalled(&rig, child, signal);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let words = format!("volinit: stopped by SIG{signal} before anything was written; run it again");
        assert!(ran.err.contains(&words) && took < Duration::from_secs(5), "{took:?}: {ran:?}");
    }
}

#[test]
fn a_signal_during_mkfs_ends_at_once_since_it_only_writes_to_memory() {
    let (rig, disk) = machine("ext4");
    let before = disk.fingerprint();
    let note = rig.path("/mkfs.begun");
    let mkfs = format!("touch {}; sleep 3; exec /usr/sbin/mkfs.ext4 \"$@\"", note.display());
    let child = begin(&rig, &rig.stand_in("mkfs.ext4", &mkfs));
    appears(&note);
    let (ran, took) = signalled(&rig, child, "TERM");
    assert_eq!((ran.code, disk.fingerprint()), (Some(1), before), "{ran:?}");
    assert!(ran.err.contains("stopped by SIGTERM before anything was written"), "{ran:?}");
    println!("it ended after {took:?}");
    recovers(&rig);
}

#[test]
fn a_signal_during_e2fsck_waits_for_its_end_and_goes_no_further() {
    let (rig, disk) = machine("ext4");
    tool(["mkfs.ext4", "-q", disk.name()]);
    tool(["debugfs", "-w", "-R", "set_super_value state 3", disk.name()]);
    let (begun, ended) = (rig.path("/fsck.begun"), rig.path("/fsck.ended"));
    // systemd sends it to every process of a unit.
    let fsck = format!(
        "touch {}; kill -TERM $$ $PPID; sleep 1; /usr/sbin/e2fsck \"$@\"; code=$?; touch {}; exit $code",
        begun.display(),
        ended.display()
    );
    let child = begin(&rig, &rig.stand_in("e2fsck", &fsck));
    appears(&begun);
    let (ran, _) = signalled(&rig, child, "TERM");
    assert!(ended.exists(), "e2fsck was cut off: {ran:?}");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let device = disk.name();
    assert!(ran.err.contains("SIGTERM: it ends after check with e2fsck"), "{ran:?}");
    assert!(ran.err.contains("stopped by SIGTERM after check with e2fsck") && ran.err.contains(device), "{ran:?}");
    tool(["e2fsck", "-f", "-n", device]);
    recovers(&rig);
}
