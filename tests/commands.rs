//! The commands as a person uses them: late and absent devices, images, several volumes, JSON, exit codes.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::{fs, thread};

use rig::{MIB, Rig, tool};
use serde_json::Value;

const SIZE: u64 = 320 * MIB;

#[test]
fn a_late_device_is_waited_for() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let links = rig.links();
    let link = links.path().join("by-id/late");
    rig.config(&format!("volumes:\n  pg:\n    source: {{ device: {} }}\n    mount: /data/pg\n", link.display()));
    let mut up = rig.command();
    let running = up.args(["up"]).stdout(Stdio::piped()).spawn().unwrap();
    // It is waiting once it watches; the folder on the way comes first, as with udev.
    let watches = format!("/proc/{}/fdinfo", running.id());
    while !fs::read_dir(&watches)
        .unwrap()
        .any(|fd| fs::read_to_string(fd.unwrap().path()).is_ok_and(|info| info.contains("inotify")))
    {
        thread::yield_now();
    }
    fs::create_dir(link.parent().unwrap()).unwrap();
    symlink(&disk.device, &link).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(rig.mount_at("/data/pg").is_some());
    let unit = rig.read("/etc/systemd/system/data-pg.mount");
    assert!(
        unit.contains(&format!("What={}\n", link.display())),
        "the path that was said is the one that lasts: {unit}"
    );
}

#[test]
fn an_absent_device_is_exit_4_and_says_what_was_awaited() {
    let rig = Rig::new();
    rig.config("volumes:\n  pg:\n    source: { device: /dev/disk/by-id/no-such, timeout: 1s }\n    mount: /data/pg\n");
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(4), "{up:?}");
    assert!(up.out.contains("pg: absent: /dev/disk/by-id/no-such is not there after 1 s"), "{}", up.out);
    let plan = rig.volinit(&["plan"]);
    assert_eq!(plan.code, Some(4), "{plan:?}");
    assert!(!rig.path("/data").exists() && !rig.path("/etc/systemd").exists());
}

#[test]
fn an_image_is_made_attached_once_and_grown() {
    let rig = Rig::new();
    let config = |size: &str| {
        let source = format!("{{ image: /var/lib/volinit/pg.img, size: {size} }}");
        rig.config(&format!(
            "volumes:\n  pg:\n    source: {source}\n    filesystem: {{ type: xfs }}\n    mount: /data/pg\n"
        ));
    };
    config("320M");
    let plan = rig.volinit(&["plan"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(plan.out.contains("1. make ROOT/var/lib/volinit/pg.img, sparse, 320 MiB"), "{}", plan.out);
    assert!(!rig.path("/var/lib").exists(), "plan made something");

    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    let image = rig.path("/var/lib/volinit/pg.img");
    let meta = fs::metadata(&image).unwrap();
    assert_eq!(meta.len(), 320 * MIB);
    assert!(meta.blocks() * 512 < 100 * MIB, "it is not sparse");
    assert_eq!(meta.mode() & 0o777, 0o600);
    fs::write(rig.path("/data/pg/data"), "kept").unwrap();

    // The unit names the file: mount(8) attaches it by itself.
    let unit = rig.read("/etc/systemd/system/data-pg.mount");
    assert!(unit.contains("What=/var/lib/volinit/pg.img\n") && unit.contains("Options=loop\n"), "{unit}");

    // As after a reboot: not mounted, and so not attached. Then attached by a person, but not mounted.
    let attached = || tool(["losetup".as_ref(), "--associated".as_ref(), image.as_os_str()]);
    rig.unmount("/data/pg");
    assert_eq!(attached(), "");
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    rig.unmount("/data/pg");
    tool(["losetup".as_ref(), "--find".as_ref(), image.as_os_str()]);
    let up = rig.volinit(&["up"]);
    assert!(up.out.contains("xfs, 320 MiB): mounted at"), "{}", up.out);
    assert_eq!(attached().lines().count(), 1, "attached more than once:\n{}", attached());

    config("640M");
    let plan = rig.volinit(&["plan"]);
    assert!(plan.out.contains("1. enlarge ROOT/var/lib/volinit/pg.img to 640 MiB"), "{}", plan.out);
    let up = rig.volinit(&["up"]);
    assert!(up.out.contains("enlarged to 640 MiB, grown"), "{}", up.out);
    assert_eq!(rig.read("/data/pg/data"), "kept");
    // A smaller size in the config is no reason to cut anything.
    config("320M");
    let up = rig.volinit(&["up"]);
    assert!(up.out.contains("nothing to do"), "{}", up.out);
    assert_eq!(fs::metadata(&image).unwrap().len(), 640 * MIB);
}

#[test]
fn an_image_that_holds_something_else_is_refused_and_not_made_larger() {
    let rig = Rig::new();
    rig.write("/var/lib/volinit/pg.img", "");
    fs::write(rig.path("/var/lib/volinit/pg.img"), vec![7; 4096]).unwrap();
    rig.config("volumes:\n  pg:\n    source: { image: /var/lib/volinit/pg.img, size: 320M }\n    mount: /data/pg\n");
    for command in ["plan", "up"] {
        let ran = rig.volinit(&[command]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
    }
    assert_eq!(fs::read(rig.path("/var/lib/volinit/pg.img")).unwrap(), vec![7; 4096]);
}

#[test]
fn several_volumes_each_have_an_outcome_of_their_own() {
    let mut rig = Rig::new();
    let (data, wal, broken) = (rig.disk(SIZE), rig.disk(SIZE), rig.disk(SIZE));
    broken.write_at(5 * MIB, b"somebody's");
    let volume = |name: &str, device: &str, at: &str| {
        format!("  {name}:\n    source: {{ device: {device} }}\n    mount: {at}\n")
    };
    // By name the inner one comes first: the order is that of the mount points.
    rig.config(&format!(
        "volumes:\n{}{}{}{}",
        volume("a-wal", wal.name(), "/data/pg/wal"),
        volume("b-data", data.name(), "/data/pg"),
        volume("c-broken", broken.name(), "/data/redis"),
        volume("d-inside-broken", "/dev/null", "/data/redis/aof"),
    ));
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(3), "{up:?}");
    let lines: Vec<&str> = up.out.lines().filter(|line| !line.starts_with(' ')).collect();
    assert!(lines[0].starts_with("a-wal: ") && lines[0].contains("mounted at"), "{}", up.out);
    assert!(lines[1].starts_with("b-data: ") && lines[1].contains("mounted at"), "{}", up.out);
    assert!(lines[2].starts_with("c-broken: refused: "), "{}", up.out);
    assert!(
        lines[3].starts_with("d-inside-broken: failed: it lies on the volume `c-broken`, which is not there"),
        "{}",
        up.out
    );
    assert_eq!(rig.mount_at("/data/pg/wal").unwrap().0, wal.name());
    assert!(!rig.path("/etc/systemd/system/data-redis.mount").exists());

    // A name brings up what it lies on, and nothing else.
    rig.unmount("/data/pg/wal");
    rig.unmount("/data/pg");
    let up = rig.volinit(&["up", "a-wal"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert_eq!(up.out.lines().count(), 2, "{}", up.out);
    let unknown = rig.volinit(&["up", "a-wall"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("there is no volume `a-wall` in the config"), "{}", unknown.err);
}

#[test]
fn twenty_at_once_make_one_filesystem() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    rig.config(&format!("volumes:\n  pg:\n    source: {{ device: {} }}\n    mount: /data/pg\n", disk.name()));
    let ran: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..20).map(|_| scope.spawn(|| rig.volinit(&["up"]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(ran.iter().all(|ran| ran.code == Some(0)), "{ran:#?}");
    let formatted = ran.iter().filter(|ran| ran.out.contains("formatted")).count();
    assert_eq!(formatted, 1, "{ran:#?}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert_eq!(
        mounts.lines().filter(|line| line.starts_with(&format!("{} ", disk.name()))).count(),
        1,
        "mounted more than once"
    );
}

#[test]
fn metadata_is_taken_back_when_the_volume_does_not_come() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let links = rig.links();
    let link = links.path().join("volume");
    symlink(&disk.device, &link).unwrap();
    rig.config(&format!(
        "volumes:\n  pg:\n    source: {{ device: {}, timeout: 1s }}\n    mount: /data/pg\n    metadata: {{ postgres: here }}\npublish: [fleet]\n",
        link.display()
    ));
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    assert_eq!(rig.read("/etc/fleet/fleet.conf"), "metadata=\"postgres=here\"\n");
    rig.unmount("/data/pg");
    fs::remove_file(&link).unwrap();
    assert_eq!(rig.volinit(&["up"]).code, Some(4));
    assert!(
        !rig.read("/etc/fleet/fleet.conf").contains("postgres"),
        "fleet would start the service where its volume is not"
    );
}

#[test]
fn every_json_document_is_as_its_schema_says() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    let schema =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/volinit-json.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let document = |arguments: &[&str], code| -> Value {
        let ran = rig.volinit(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{arguments:?}: {errors:?}\n{document:#}");
        assert_eq!((&document["command"], &document["version"]), (&arguments[0].into(), &1.into()));
        document
    };
    rig.config(&format!("volumes:\n  pg:\n    source: {{ device: {} }}\n    mount: /data/pg\n", disk.name()));
    let plan = document(&["plan"], 0);
    let steps: Vec<&str> =
        plan["volumes"][0]["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(steps, ["format", "mount"]);
    let up = document(&["up"], 0);
    assert_eq!(up["volumes"][0]["outcome"], "changed");
    assert_eq!(up["volumes"][0]["filesystem"]["type"], "ext4");
    assert_eq!(up["files"][0]["path"], "/etc/systemd/system/data-pg.mount");
    assert_eq!(document(&["up"], 0)["volumes"][0]["outcome"], "unchanged");
    document(&["grow"], 0);
    document(&["status"], 0);
    document(&["check"], 0);
    document(&["render"], 0);
    let devices = document(&["devices"], 0);
    let row = devices["devices"].as_array().unwrap().iter().find(|row| row["device"] == disk.name()).unwrap();
    assert_eq!((&row["content"], &row["usable"]), (&"ext4".into(), &false.into()), "{row}");
    // A loop device has no controller to ask, and that is no error.
    assert_eq!((&row["volume_id"], &row["attached_as"]), (&Value::Null, &Value::Null), "{row}");

    assert_eq!(document(&["release"], 0)["volumes"][0]["done"][0], "unmounted from /data/pg");
    assert_eq!(document(&["release"], 0)["volumes"][0]["outcome"], "unchanged");
    disk.write_at(1080, &[0, 0]);
    let refused = document(&["up"], 3);
    assert_eq!(refused["volumes"][0]["outcome"], "refused");
    assert!(
        refused["volumes"][0]["error"].as_str().unwrap().contains("is not blank")
            || refused["volumes"][0]["error"].as_str().unwrap().contains("backup")
    );
    rig.config("volumes: { pg: { sorce: {} } }\n");
    let check = document(&["check"], 2);
    assert_eq!(check["problems"][0]["line"], 1, "{check}");
}

#[test]
fn wrong_usage_and_a_wrong_config_are_exit_2() {
    let rig = Rig::new();
    for arguments in
        [&["upp"][..], &["up", "--device", "/dev/x"], &["up", "--device", "/dev/x", "--mount", "data"], &["up"]]
    {
        let ran = rig.volinit(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{arguments:?}: {ran:?}");
    }
    assert!(rig.volinit(&["upp"]).err.contains("similar subcommand exists: 'up'"));
    rig.config("volumes:\n  pg:\n    source: { device: /dev/xvdb }\n    mount: /data/pg\n");
    let up = rig.volinit(&["up", "--deadline", "soon"]);
    assert!(up.code == Some(2) && up.err.contains("--deadline: `soon` is not a time to wait"), "{up:?}");
}

#[test]
fn a_volume_that_is_not_attached_and_not_to_be_attached_is_waited_for() {
    let rig = Rig::new();
    rig.config("volumes:\n  pg:\n    source: { ebs: vol-5afc0745 }\n    mount: /data/pg\n");
    let up = rig.volinit(&["up", "--deadline", "1s"]);
    assert_eq!(up.code, Some(4), "{up:?}");
    assert!(up.out.contains("the disk of vol-5afc0745 is not there after 1 s"), "{}", up.out);
}

#[test]
fn a_release_unmounts_and_takes_the_metadata_back() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    rig.config(&format!(
        "volumes:
  pg:
    source: {{ device: {} }}
    mount: /data/pg
    metadata: {{ postgres: \"{{uuid}}\" }}
  below:
    source: {{ image: /var/below.img, size: 320M }}
    mount: /data/pg/below
publish: [fleet]
",
        disk.name()
    ));
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    let ran = rig.volinit(&["release", "pg"]);
    assert!(ran.code == Some(1) && ran.out.contains("is in use by the mount ROOT/data/pg/below"), "{ran:?}");
    let ran = rig.volinit(&["release", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.find("unmounted from /data/pg/below").unwrap() < ran.out.find("unmounted from /data/pg\"").unwrap()
    );
    assert_eq!((rig.mount_at("/data/pg"), rig.mount_at("/data/pg/below")), (None, None));
    assert!(!rig.read("/etc/fleet/fleet.conf").contains("postgres="));
    let ran = rig.volinit(&["release"]);
    assert!(ran.code == Some(0) && ran.out.contains("pg: nothing to do"), "{ran:?}");
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
}

#[test]
fn a_failure_is_exit_1_and_names_the_command() {
    let mut rig = Rig::new();
    let disk = rig.disk(SIZE);
    // mkfs.ext4 knows no such feature: it ends before it writes.
    rig.config(&format!(
        "volumes:\n  pg:\n    source: {{ device: {} }}\n    filesystem: {{ mkfs-options: [-O, no_such_feature] }}\n    mount: /data/pg\n",
        disk.name()
    ));
    let up = rig.volinit(&["up"]);
    assert_eq!(up.code, Some(1), "{up:?}");
    let expected = format!("pg: failed: formatting {} as ext4: `mkfs.ext4 -q -O no_such_feature ", disk.name());
    assert!(up.out.starts_with(&expected) && up.out.contains("Invalid filesystem option set"), "{}", up.out);
}

#[test]
fn render_writes_the_units_of_an_image_that_is_baked() {
    let rig = Rig::new();
    rig.config("volumes:\n  pg:\n    source: { device: /dev/xvdb }\n    mount: /data/pg\n    metadata: { postgres: x }\npublish: [fleet]\n");
    let render = rig.volinit(&["render"]);
    assert_eq!(render.code, Some(0), "{render:?}");
    assert!(rig.read("/etc/systemd/system/data-pg.mount").contains("What=/dev/xvdb\n"));
    assert!(rig.path("/etc/systemd/system/local-fs.target.wants/data-pg.mount").is_symlink());
    assert!(!rig.path("/etc/fleet").exists(), "metadata says that the mount stands");
}

/// An image on a volume, and one on that image: whoever asks for the last gets all three, the first one first, and the
/// first goes last.
#[test]
fn volumes_that_lie_on_one_another_come_and_go_in_order() {
    let mut rig = Rig::new();
    let disk = rig.disk(320 * MIB);
    rig.config(&format!(
        "volumes:\n  \
           z: {{ source: {{ device: {} }}, mount: /data/deep/down/z }}\n  \
           b: {{ source: {{ image: /data/deep/down/z/b.img, size: 128M }}, mount: /b }}\n  \
           a: {{ source: {{ image: /b/a.img, size: 32M }}, mount: /a }}\n",
        disk.name()
    ));
    let up = rig.volinit(&["up", "a"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    for at in ["/a", "/b", "/data/deep/down/z"] {
        assert!(rig.mount_at(at).is_some(), "{at}: {up:?}");
    }
    let release = rig.volinit(&["release"]);
    assert_eq!(release.code, Some(0), "{release:?}");
    let order: Vec<&str> =
        release.out.lines().filter_map(|line| line.split_once(": unmounted")).map(|said| said.0).collect();
    assert_eq!(order, ["a", "b", "z"], "{release:?}");
}
