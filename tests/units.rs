//! The units that ship and those that the generator makes of a config, read by systemd itself: no unknown key, no unit
//! that is missing, no ordering cycle, in any mixture of volumes. Nothing is started.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use volinit::generator;
use volinit::publish::files;
use volinit::root::Root;

/// A machine's units: those that ship, and those that the generator gives for a config.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(config: &str) -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        for unit in ["volinit.service", "volinit@.service", "volinit-grow.service", "volinit-grow.timer"] {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit)).unwrap();
            assert_eq!(text.contains("ExecStart=/usr/bin/volinit "), unit.ends_with(".service"), "{unit}");
            // systemd looks whether the program is there.
            machine.write(&format!("units/{unit}"), &text.replace("/usr/bin/volinit", env!("CARGO_BIN_EXE_volinit")));
        }
        // A network such as every machine has; where these tests run there may be none.
        let network = "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n";
        machine.write("units/net.service", network);
        let wants = machine.path("units/network-online.target.wants");
        fs::create_dir(&wants).unwrap();
        symlink(machine.path("units/net.service"), wants.join("net.service")).unwrap();
        // What may be told of the volumes, as its packages order it.
        for name in SERVICES {
            machine.write(
                &format!("units/{name}"),
                "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nExecStart=/bin/true\n",
            );
            let wants = machine.path("units/multi-user.target.wants");
            fs::create_dir_all(&wants).unwrap();
            symlink(machine.path(&format!("units/{name}")), wants.join(name)).unwrap();
        }
        machine.write("etc/volinit/volinit.yaml", config);
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn root(&self) -> Root {
        Root::new(self.folder.path())
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// What the generator writes, and what it complains of. Its links lead to the package's units: here to ours.
    fn generate(&self) -> (Vec<String>, Vec<String>) {
        let folder = self.path("units");
        let (files, problems) = generator::units(&self.root(), &folder);
        let mut names = Vec::new();
        for mut file in files {
            names.push(file.path.strip_prefix(&folder).unwrap().display().to_string());
            if let files::Content::Link(target) = &mut file.content
                && let Ok(vendor) = target.strip_prefix("/usr/lib/systemd/system")
            {
                *target = folder.join(vendor);
            }
            files::write(&Root::default(), &[file]).unwrap();
        }
        (names, problems)
    }

    fn analyze(&self, words: &[&str]) -> (bool, String) {
        let output = Command::new("systemd-analyze")
            .args(words)
            // Ours before the machine's own; the empty end stands for those.
            .env("SYSTEMD_UNIT_PATH", format!("{}:", self.path("units").display()))
            .output()
            .expect("this test needs systemd-analyze");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    }

    fn verify(&self) -> String {
        let units: Vec<String> = fs::read_dir(self.path("units"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "mount"))
            .collect();
        let mut words = vec!["verify", "--man=no", "volinit.service", "multi-user.target"];
        words.extend(units.iter().map(String::as_str));
        let (clean, said) = self.analyze(&words);
        if clean { said } else { format!("{said}systemd-analyze failed") }
    }
}

/// Every service that a target of `publish` names.
const SERVICES: [&str; 9] = [
    "fleet.service",
    "docker.service",
    "dcos-mesos-slave.service",
    "dcos-mesos-slave-public.service",
    "mesos-slave.service",
    "nomad.service",
    "consul.service",
    "ecs.service",
    "kubelet.service",
];

const NETWORK: &str = "volumes:
  postgres:
    source: { ebs: vol-5afc0745, attach: true }
    mount: /data/postgres
";

#[test]
fn a_config_is_all_that_a_boot_needs() {
    let machine = Machine::new("volumes: { postgres: { source: { device: /dev/xvdb }, mount: /data/postgres } }\n");
    let (files, problems) = machine.generate();
    assert_eq!(
        files,
        [
            "data-postgres.mount",
            "local-fs.target.wants/data-postgres.mount",
            "volinit@postgres.service.d/50-volinit.conf",
            "data-postgres.mount.requires/volinit@postgres.service",
        ]
    );
    assert!(problems.is_empty());
    assert_eq!(machine.verify(), "");

    let machine = Machine::new(NETWORK);
    let (files, _) = machine.generate();
    assert_eq!(files[1], "remote-fs.target.wants/data-postgres.mount");
    assert_eq!(machine.verify(), "");
    let drop_in = machine.path("units/volinit@postgres.service.d/50-volinit.conf");
    assert!(fs::read_to_string(&drop_in).unwrap().contains("After=network-online.target\n"));

    // The check has teeth: a volume that waits for the network cannot be there before local-fs.target.
    let text = fs::read_to_string(&drop_in).unwrap();
    fs::write(&drop_in, text.replace("[Unit]\n", "[Unit]\nBefore=local-fs.target\n")).unwrap();
    let said = machine.verify();
    assert!(said.contains("ordering cycle"), "{said}");
}

/// Local ones, images, attached ones, those of a pool and of a server; below one another, with and without `_netdev`, with what
/// belongs to all.
#[test]
fn no_mixture_of_volumes_is_a_cycle() {
    let sources = [
        "{ device: /dev/xvdb }",
        "{ image: /var/lib/a.img, size: 1G }",
        "{ ebs: vol-5afc0745, attach: true }",
        "{ ebs: vol-5afc0745 }",
        "{ ebs: { pool: { tags: { a: b } }, slot-tag: slot } }",
        "{ image: /data/one/a.img, size: 1G }",
        "{ image: /data/three/a.img, size: 1G }",
        "{ device: /dev/xvdc, timeout: 10min }",
        "{ nfs: '[fe80::1]:/mnt/default' }",
    ];
    let mounts = [
        ["/data/one", "/data/two", "/data/three"],
        ["/data/one", "/data/one/two", "/data/one/two/three"],
        ["/data/one/two/three", "/data/one", "/data/one/two"],
        ["/data/three/one", "/data/three/two", "/data/three"],
    ];
    let mut checked = 0;
    for (n, mounts) in mounts.iter().enumerate() {
        // Three of the sources, each time others beside each other: enough that all pairs have met.
        for first in 0..sources.len() {
            let chosen = [first, (first + n + 1) % sources.len(), (first + 2 * n + 3) % sources.len()];
            let mut config = "volumes:\n".to_owned();
            for (name, (source, at)) in ["va", "vb", "vc"].iter().zip(chosen.iter().zip(mounts)) {
                let source = sources[*source].replace("5afc0745", &format!("5afc074{}", &name[1..]));
                let source = source.replace("xvdb", &format!("xvdb{name}")).replace("a.img", &format!("{name}.img"));
                let options = match (first, *name) {
                    (3, "vb") => "[_netdev]",
                    (8, "va") => "[vers=3, sec=sys, noauto]",
                    _ => "[]",
                };
                writeln!(config, "  {name}: {{ source: {source}, mount: {{ at: {at}, options: {options} }} }}")
                    .unwrap();
            }
            if (first + n) % 4 != 1 {
                config +=
                    "publish: [fleet, swarm, mesos, nomad, consul, ecs, kubernetes, env, { script: /bin/true }]\n";
            }
            if first % 2 == 0 {
                config += "interfaces: { eth1: { eni: eni-5afc0745 } }\nsignal: { stack: prod, resource: Node1 }\n";
            }
            let machine = Machine::new(&config);
            if volinit::config::load(&machine.root(), &[]).is_err() {
                continue;
            }
            let (_, problems) = machine.generate();
            assert!(problems.is_empty(), "{config}{problems:?}");
            assert_eq!(machine.verify(), "", "{config}");
            checked += 1;
        }
    }
    // An image below its own mount point, or two that lie on each other, are no configs.
    assert!(checked >= 20, "{checked}");
    println!("{checked} mixtures");
}

/// At once, or by what asks for it: in both cases its mount requires volinit's word.
#[test]
fn an_export_comes_at_once_or_when_it_is_asked_for() {
    let config = "volumes:\n  data:\n    source: { nfs: 172.17.8.200:/mnt/default/data }\n    \
                  mount: { at: /mnt/data, options: [vers=3, sec=sys, noauto] }\n";
    let asked =
        ["mnt-data.mount", "volinit@data.service.d/50-volinit.conf", "mnt-data.mount.requires/volinit@data.service"];
    let machine = Machine::new(config);
    assert_eq!(machine.generate(), (asked.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(machine.verify(), "");
    let drop_in = fs::read_to_string(machine.path(&format!("units/{}", asked[1]))).unwrap();
    assert!(drop_in.contains("Wants=network-online.target\nAfter=network-online.target\n"), "{drop_in}");
    // What an earlier run wrote names the export that the config had then.
    let unit = fs::read_to_string(machine.path("units/mnt-data.mount")).unwrap();
    machine.write("etc/systemd/system/mnt-data.mount", &unit.replace("172.17.8.200", "172.17.8.1"));
    machine.generate();
    assert_eq!(fs::read_to_string(machine.path("units/mnt-data.mount")).unwrap(), unit);

    let machine = Machine::new(&config.replace(", noauto", ""));
    assert!(machine.generate().0.contains(&"remote-fs.target.wants/mnt-data.mount".to_owned()));
    assert_eq!(machine.verify(), "");
    // A service that asks for it waits for volinit, and for the network.
    machine.write("units/redis.service", "[Unit]\nRequiresMountsFor=/mnt/data\n[Service]\nExecStart=/bin/true\n");
    let (clean, said) = machine.analyze(&["verify", "--man=no", "redis.service"]);
    assert!(clean && said.is_empty(), "{said}");
}

#[test]
fn what_needs_all_volumes_is_started_too() {
    let wanted = "multi-user.target.wants/volinit.service".to_owned();
    assert!(!Machine::new(NETWORK).generate().0.contains(&wanted));
    for more in ["interfaces: { eth1: { eni: eni-5afc0745 } }\n", "signal: { stack: prod, resource: Node1 }\n"] {
        let machine = Machine::new(&format!("{NETWORK}{more}"));
        assert!(machine.generate().0.contains(&wanted), "{more}");
        assert_eq!(machine.verify(), "");
    }
    // A config that cannot be read is a failed unit, which a person sees.
    let (files, problems) = Machine::new("volumes: { postgres: { sauce: x } }\n").generate();
    assert_eq!(files, [wanted]);
    assert!(problems[0].contains("unknown key `sauce`"), "{problems:?}");
}

#[test]
fn a_unit_of_the_administrator_s_stays_as_it_is_and_the_next_volume_has_its_own() {
    let machine = Machine::new(
        "volumes:\n  a: { source: { device: /dev/xvdb }, mount: /data/a }\n  b: { source: { device: /dev/xvdc }, mount: /data/b }\n",
    );
    machine.write("etc/systemd/system/data-a.mount", "[Mount]\nWhat=/dev/xvdb\nWhere=/data/a\n");
    let (files, problems) = machine.generate();
    assert!(files.iter().all(|file| !file.contains("data-a")), "{files:?}");
    assert!(files.contains(&"data-b.mount".to_owned()));
    assert!(problems[0].starts_with("a: ") && problems[0].contains("is not volinit's"), "{problems:?}");
}

#[test]
fn the_device_is_the_one_that_an_earlier_run_found() {
    let machine =
        Machine::new("volumes: { kafka: { source: { ebs: { pool: { tags: { a: b } } } }, mount: /data/kafka } }\n");
    machine.generate();
    let unit = machine.path("units/data-kafka.mount");
    assert!(fs::read_to_string(&unit).unwrap().contains("\nWhat=volinit:kafka\n"));
    let known = fs::read_to_string(&unit).unwrap().replace("volinit:kafka", "/dev/disk/by-id/nvme-x");
    machine.write("etc/systemd/system/data-kafka.mount", &known);
    let (files, _) = machine.generate();
    assert_eq!(fs::read_to_string(&unit).unwrap(), known);
    assert!(files.contains(&r"dev-disk-by\x2did-nvme\x2dx.device.d/50-volinit.conf".to_owned()), "{files:?}");
}

/// Who is told starts after the volumes, those that do not come too, and after what brings up all of them.
#[test]
fn who_is_told_starts_after_volinit() {
    let told = "publish: [mesos, { script: [/bin/true, --flag] }, fleet]\nsignal: { stack: prod, resource: Node1 }\n";
    let machine = Machine::new(&format!("{NETWORK}{told}"));
    let (files, problems) = machine.generate();
    assert!(problems.is_empty(), "{problems:?}");
    let before = "Before=dcos-mesos-slave.service dcos-mesos-slave-public.service mesos-slave.service fleet.service\n";
    for file in ["volinit-told@postgres.target", "volinit-told.target"] {
        assert!(files.contains(&file.to_owned()), "{files:?}");
        let text = fs::read_to_string(machine.path("units").join(file)).unwrap();
        assert!(text.contains(&format!("\n{before}")), "{file}: {text}");
    }
    assert!(files.contains(&"multi-user.target.wants/volinit-told@postgres.target".to_owned()), "{files:?}");
    assert_eq!(machine.verify(), "");

    let machine = Machine::new(&format!("{NETWORK}signal: {{ stack: prod, resource: Node1 }}\n"));
    let (files, _) = machine.generate();
    assert!(files.iter().all(|file| !file.contains("told")), "{files:?}");
    for file in files.iter().filter(|file| !file.contains("wants/") && !file.contains("requires/")) {
        assert!(!fs::read_to_string(machine.path("units").join(file)).unwrap().contains("Before="), "{file}");
    }
}

/// An image without the generator: what `render` writes, and `systemctl enable`.
#[test]
fn systemctl_enables_a_volume_of_an_image() {
    let machine = Machine::new(&format!("{NETWORK}publish: [fleet]\n"));
    fs::create_dir_all(machine.path("usr/lib/systemd/system")).unwrap();
    fs::rename(machine.path("units/volinit@.service"), machine.path("usr/lib/systemd/system/volinit@.service"))
        .unwrap();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    };
    run(Command::new(env!("CARGO_BIN_EXE_volinit")).arg("--root").arg(machine.folder.path()).arg("render"));
    run(Command::new("systemctl").arg("--root").arg(machine.folder.path()).args(["enable", "volinit@postgres"]));
    let requires = machine.path("etc/systemd/system/data-postgres.mount.requires/volinit@postgres.service");
    assert!(requires.is_symlink(), "{}", requires.display());
    let told = machine.path("etc/systemd/system/multi-user.target.wants/volinit-told@postgres.target");
    assert!(told.is_symlink(), "{}", told.display());
}

/// The binary itself, under its other name: it looks at the machine's own config, which a test's machine has not.
#[test]
fn under_its_other_name_volinit_is_a_generator() {
    let folder = tempfile::tempdir().unwrap();
    let generator = folder.path().join("volinit-generator");
    symlink(env!("CARGO_BIN_EXE_volinit"), &generator).unwrap();
    let etc = folder.path().join("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("volinit.yaml"), NETWORK).unwrap();
    let out = folder.path().join("normal");
    fs::create_dir(&out).unwrap();
    // In a mount namespace of its own, where the folder stands for /etc/volinit.
    let script = "mkdir -p /run/volinit-units && mount -t tmpfs none /run/volinit-units && mkdir /run/volinit-units/u \
                  /run/volinit-units/w && mount -t overlay -o lowerdir=/etc,upperdir=/run/volinit-units/u,workdir=/run/volinit-units/w none /etc \
                  && mkdir -p /etc/volinit && cp \"$0\"/* /etc/volinit/ && exec \"$@\"";
    let ran = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([&etc, &generator, &out, &out, &out])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(out.join("data-postgres.mount").exists(), "{ran:?}");
}

/// Systemd finds nothing wrong with a service that has the drop-in, whatever the mount point is called.
#[test]
fn the_drop_in_of_a_service_is_one_that_systemd_takes() {
    for at in ["/data/pg", "/data/two words", "/data/50%", "/data/$HOME", r"/data/a\\b", "/data/größe"] {
        let machine =
            Machine::new(&format!("volumes:\n  pg: {{ source: {{ device: /dev/xvdb }}, mount: \"{at}\" }}\n"));
        machine.generate();
        for (service, unit) in [
            ("postgres", "postgresql.service"),
            ("redis", "redis.service"),
            ("kafka", "kafka.service"),
            ("etcd", "etcd.service"),
            ("mysql", "mysql.service"),
            ("app", "app.service"),
            ("some.service", "some.service"),
        ] {
            machine.write(
                &format!("units/{unit}"),
                "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
            );
            let volinit = |arguments: &[&str]| {
                let root = machine.folder.path();
                let ran = Command::new(env!("CARGO_BIN_EXE_volinit")).arg("--root").arg(root).args(arguments).output();
                let ran = ran.unwrap();
                assert!(ran.status.success(), "{ran:?}");
                String::from_utf8(ran.stdout).unwrap()
            };
            let drop_in = format!("etc/systemd/system/{unit}.d/50-volinit.conf");
            assert_eq!(volinit(&["render", "--service", service]), format!("created /{drop_in}\n"));
            let text = fs::read_to_string(machine.path(&drop_in)).unwrap();
            machine.write(&format!("units/{unit}.d/50-volinit.conf"), &text);
            let (clean, said) = machine.analyze(&["verify", "--man=no", unit]);
            assert!(clean && said.is_empty(), "{at}, {unit}: {said}\n{text}");
        }
    }
    // The check has teeth.
    let machine = Machine::new("volumes: {}\n");
    machine.write("units/app.service", "[Service]\nExecStart=/bin/true\n");
    machine.write("units/app.service.d/50-volinit.conf", "[Unit]\nRequiresMountsFor=/data/two words\n");
    assert!(!machine.analyze(&["verify", "--man=no", "app.service"]).1.is_empty());
}

#[test]
fn which_volume_a_service_has_its_data_on() {
    let machine = Machine::new(
        "volumes:\n  kafka: { source: { device: /dev/xvdb }, mount: /data/kafka }\n  wal: { source: { device: /dev/xvdc }, mount: /data/wal }\n",
    );
    let volinit = |arguments: &[&str]| {
        let config = machine.path("etc/volinit/volinit.yaml");
        let ran =
            Command::new(env!("CARGO_BIN_EXE_volinit")).arg("--config").arg(config).args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ran.status.code(), text(ran.stdout) + &text(ran.stderr))
    };
    let (code, said) = volinit(&["render", "--service", "kafka"]);
    assert!(code == Some(0) && said.starts_with("# /etc/systemd/system/kafka.service.d/50-volinit.conf\n"), "{said}");
    assert!(said.contains("install -d -o kafka -g kafka -m 0750 /data/kafka/data\n"), "{said}");
    let (code, said) = volinit(&["render", "wal", "--service", "postgres"]);
    assert!(code == Some(0) && said.contains("\nRequiresMountsFor=/data/wal\n"), "{said}");
    for (arguments, words) in [
        (&["render", "--service", "postgres"][..], "Name it: `volinit render NAME --service postgres`"),
        (&["render", "wal", "kafka", "--service", "postgres"], "which volume has the data of `postgres`?"),
        (&["render", "lost", "--service", "postgres"], "there is no volume `lost`"),
        (&["render", "wal", "--service", "../x"], "is no unit's name"),
    ] {
        let (code, said) = volinit(arguments);
        assert!(code == Some(2) && said.contains(words), "{words} is not in {said}");
    }
}
