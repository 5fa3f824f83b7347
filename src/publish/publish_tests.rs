//! A machine's tree: what a run writes, what it leaves alone, and that a second run does nothing.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;
use crate::bytes::Bytes;
use crate::config::{Filesystem, Format, FsType, Mount, MountPoint};

pub(super) fn volume(name: &str, at: &str, metadata: &[(&str, &str)]) -> Volume {
    Volume {
        name: name.into(),
        source: Source::Device { path: "/dev/sdf".into(), timeout: Duration::ZERO },
        filesystem: Filesystem { kind: FsType::Ext4, label: None, mkfs_options: Vec::new(), format: Format::default() },
        mount: Mount {
            at: MountPoint::parse(at).unwrap(),
            options: Vec::new(),
            owner: None,
            mode: None,
            nonempty: false,
        },
        metadata: metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
    }
}

pub(super) fn mounted(volume: &Volume) -> Published<'_> {
    Published {
        volume,
        what: "/dev/disk/by-id/nvme-vol5afc0745".into(),
        words: Words {
            volume_id: Some("vol-5afc0745".into()),
            uuid: None,
            name: volume.name.clone(),
            size: Some(Bytes::mib(1)),
            mount: volume.mount.at.clone(),
            cloud: CloudWords::default(),
        },
        network: volume.needs_network(&[]),
        stands: true,
    }
}

pub(super) struct Machine(tempfile::TempDir);

impl Machine {
    pub(super) fn new() -> Machine {
        Machine(tempfile::tempdir().unwrap())
    }

    pub(super) fn root(&self) -> Root {
        Root::new(self.0.path())
    }

    pub(super) fn put(&self, path: &str, text: &str) {
        let path = self.root().path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Every file and link: its path, what it says, and when that was written.
    pub(super) fn tree(&self) -> BTreeMap<PathBuf, (String, SystemTime)> {
        fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, (String, SystemTime)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let text = if metadata.is_dir() {
                    walk(root, &path, found);
                    continue;
                } else if metadata.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                found.insert(path.strip_prefix(root).unwrap().to_owned(), (text, metadata.modified().unwrap()));
            }
        }
        let mut found = BTreeMap::new();
        walk(self.0.path(), self.0.path(), &mut found);
        found
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.tree().remove(Path::new(path)).map(|(text, _)| text)
    }
}

const UNIT: &str = "etc/systemd/system/data-postgres.mount";
const LOCAL: &str = "etc/systemd/system/local-fs.target.wants/data-postgres.mount";
const NETWORK: &str = "etc/systemd/system/remote-fs.target.wants/data-postgres.mount";

pub(super) fn said(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_volume_is_published_once_and_taken_back() {
    let machine = Machine::new();
    let root = machine.root();
    machine.put("/etc/fleet/fleet.conf", "# ours\nmetadata=\"region=us-west\"\nverbosity=1\n");
    let postgres = volume("postgres", "/data/postgres", &[("postgres", "{volume-id}")]);
    let publish = |mounted: &[Published<'_>], withdrawn: &[&Volume]| {
        super::publish(&root, &[Target::Fleet], mounted, withdrawn).unwrap()
    };

    let changes = publish(&[mounted(&postgres)], &[]);
    assert_eq!(
        said(&changes),
        [
            "created /etc/systemd/system/data-postgres.mount",
            "created /etc/systemd/system/local-fs.target.wants/data-postgres.mount",
            "created /run/systemd/system/fleet.service.d/50-volinit.conf",
            "changed /etc/fleet/fleet.conf",
        ]
    );
    assert!(machine.text(UNIT).unwrap().contains("\nWhat=/dev/disk/by-id/nvme-vol5afc0745\n"));
    assert_eq!(machine.text(LOCAL).unwrap(), "-> /etc/systemd/system/data-postgres.mount");
    assert_eq!(
        machine.text("etc/fleet/fleet.conf").unwrap(),
        "# ours\nmetadata=\"region=us-west,postgres=vol-5afc0745\"\nverbosity=1\n"
    );

    let before = machine.tree();
    assert!(publish(&[mounted(&postgres)], &[]).is_empty());
    assert_eq!(machine.tree(), before, "a second run writes nothing, not even its lock");

    let changes = publish(&[], &[&postgres]);
    assert_eq!(
        said(&changes),
        ["removed /run/systemd/system/fleet.service.d/50-volinit.conf", "changed /etc/fleet/fleet.conf"]
    );
    assert!(machine.text(UNIT).is_some(), "the unit stays");
    assert!(machine.text("etc/fleet/fleet.conf").unwrap().contains("metadata=\"region=us-west\"\n"));
}

#[test]
fn volumes_published_by_separate_runs_stand_side_by_side() {
    let machine = Machine::new();
    let (a, b) = (volume("a", "/data/a", &[("a", "1")]), volume("b", "/data/b", &[("b", "2")]));
    for volume in [&a, &b] {
        publish(&machine.root(), &[Target::Fleet], &[mounted(volume)], &[]).unwrap();
    }
    let drop_in = machine.text("run/systemd/system/fleet.service.d/50-volinit.conf").unwrap();
    assert!(drop_in.ends_with("Environment=\"FLEET_METADATA=a=1,b=2\"\n"), "{drop_in}");
    assert_eq!(machine.text("etc/fleet/fleet.conf").unwrap(), "metadata=\"a=1,b=2\"\n");
}

#[test]
fn without_fleet_there_are_only_units() {
    let machine = Machine::new();
    let postgres = volume("postgres", "/data/postgres", &[("postgres", "{uuid}")]);
    publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap();
    let paths: Vec<_> = machine.tree().into_keys().collect();
    assert_eq!(paths, [UNIT, LOCAL, "run/volinit/publish.lock"].map(PathBuf::from));
}

#[test]
fn a_volume_that_goes_to_the_network_is_wanted_there_alone() {
    let machine = Machine::new();
    let mut postgres = volume("postgres", "/data/postgres", &[]);
    publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap();
    publish(&machine.root(), &[], &[Published { network: true, ..mounted(&postgres) }], &[]).unwrap();
    assert_eq!(machine.text(LOCAL), None);
    assert!(machine.text(NETWORK).is_some());
    assert!(machine.text(UNIT).unwrap().contains("\nOptions=_netdev\n\n[Install]\nWantedBy=remote-fs.target\n"));
    publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap();
    assert!(machine.text(LOCAL).is_some() && machine.text(NETWORK).is_none());

    // The option says it as well as the source does.
    postgres.mount.options = vec!["_netdev".into()];
    publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap();
    assert!(machine.text(LOCAL).is_none() && machine.text(NETWORK).is_some());
}

#[test]
fn an_administrator_s_unit_and_links_are_left_alone() {
    let postgres = volume("postgres", "/data/postgres", &[]);
    let machine = Machine::new();
    machine.put(UNIT, "[Mount]\nWhat=/dev/sdb\nWhere=/data/postgres\n");
    let before = machine.tree();
    let error = publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap_err().to_string();
    assert!(error.contains("data-postgres.mount is not volinit's"), "{error}");
    assert!(error.contains("`systemctl cat data-postgres.mount`"), "{error}");
    assert_eq!(machine.tree(), before);

    // Masked.
    let machine = Machine::new();
    fs::create_dir_all(machine.root().path("/etc/systemd/system/")).unwrap();
    symlink("/dev/null", machine.root().path(UNIT)).unwrap();
    let error = format!("{:#}", publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap_err());
    assert!(error.contains("it is a symbolic link to /dev/null"), "{error}");

    // Kept from being mounted at boot, and another's link in the other target.
    let machine = Machine::new();
    for link in [LOCAL, NETWORK] {
        fs::create_dir_all(machine.root().path(link).parent().unwrap()).unwrap();
        symlink("/dev/null", machine.root().path(link)).unwrap();
    }
    assert_eq!(publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap().len(), 1);
    assert_eq!([LOCAL, NETWORK].map(|link| machine.text(link).unwrap()), ["-> /dev/null", "-> /dev/null"]);
}

#[test]
fn one_key_has_one_value() {
    let machine = Machine::new();
    let (a, b) = (volume("a", "/data/a", &[("pg", "{name}")]), volume("b", "/data/b", &[("pg", "{name}")]));
    let error = files(&machine.root(), &[Target::Fleet], &[mounted(&a), mounted(&b)], &[]).unwrap_err();
    assert_eq!(error.to_string(), "the metadata \"pg\" is \"a\" for one volume and \"b\" for `b`: use two keys");
}

#[test]
fn a_reload_that_a_killed_run_owes_is_made_good() {
    let machine = Machine::new();
    let (root, postgres) = (machine.root(), volume("postgres", "/data/postgres", &[]));
    publish(&root, &[], &[mounted(&postgres)], &[]).unwrap();
    assert_eq!(machine.text("run/volinit/publish.lock").unwrap(), "");
    machine.put("/run/volinit/publish.lock", "systemd\nfleet\n");
    assert!(publish(&root, &[], &[mounted(&postgres)], &[]).unwrap().is_empty());
    assert_eq!(machine.text("run/volinit/publish.lock").unwrap(), "");
}

#[test]
fn an_image_is_mounted_by_its_file() {
    let machine = Machine::new();
    let mut postgres = volume("postgres", "/data/postgres", &[]);
    postgres.source = Source::Image { path: "/var/lib/pg.img".into(), size: Bytes::mib(64) };
    let published = Published { what: "/var/lib/pg.img".into(), ..mounted(&postgres) };
    publish(&machine.root(), &[], &[published], &[]).unwrap();
    let unit = machine.text(UNIT).unwrap();
    assert!(unit.contains("\nWhat=/var/lib/pg.img\nWhere=/data/postgres\nType=ext4\nOptions=loop\n"), "{unit}");
}

#[test]
fn what_the_generator_gave_systemd_is_not_written_again() {
    let machine = Machine::new();
    let postgres = volume("postgres", "/data/postgres", &[]);
    let text = mounted(&postgres).unit().text().unwrap();
    machine.put("/run/systemd/generator/data-postgres.mount", &text);
    assert!(publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap().is_empty());
    // By another name it is another unit.
    machine.put("/run/systemd/generator/data-postgres.mount", &text.replace("vol5afc0745", "vol5afc0746"));
    assert_eq!(publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap().len(), 2);
    // What stands in /etc wins over the generator's, so it is kept right.
    machine.put("/run/systemd/generator/data-postgres.mount", &text);
    machine.put(UNIT, &text.replace("ext4", "xfs"));
    assert_eq!(publish(&machine.root(), &[], &[mounted(&postgres)], &[]).unwrap().len(), 1);
}
