//! The drop-in that binds a service to its volume: it starts when the volume is mounted, only then, and has a folder of its
//! own on it. Reads which units the machine has; writes nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::environment::FOLDERS;
use super::escape::quote;
use super::files::{self, Content, File};
use super::order;
use super::unit::{MARKER, UNITS, Unsayable, value};
use crate::config::Volume;
use crate::root::Root;

/// A service whose user and data folder are well known.
struct Preset {
    /// What people call it.
    names: &'static [&'static str],
    /// Its unit, as one distribution or another has it; the last where the machine has none of them.
    units: &'static [&'static str],
    /// The owner of its data, user and group.
    owner: &'static str,
    mode: &'static str,
    /// What else the unit has to say, `{data}` and `{mount}` replaced.
    settings: &'static [(&'static str, &'static str)],
    /// Where the service is told where its data is, `{data}` replaced; nothing where the settings do.
    told: Option<&'static str>,
}

/// From the packages of Debian 12 (postgresql-common, redis-server, etcd-server, mariadb-server), of Fedora, and for Kafka
/// from Confluent's.
const PRESETS: [Preset; 5] = [
    Preset {
        names: &["postgres", "postgresql"],
        units: &["postgresql@.service", "postgresql.service"],
        owner: "postgres",
        // initdb makes it so, and postgres does not start with more.
        mode: "0700",
        // Fedora's postgresql.service reads it, and initdb; Debian's postgresql@.service does not.
        settings: &[("Environment", "PGDATA={data}")],
        told: Some("postgresql.conf: data_directory = '{data}'"),
    },
    Preset {
        names: &["redis"],
        units: &["redis-server.service", "redis.service"],
        owner: "redis",
        mode: "0750",
        // Debian's unit has ProtectSystem=strict.
        settings: &[("ReadWritePaths", "{mount}")],
        told: Some("redis.conf: dir {data}"),
    },
    Preset {
        names: &["kafka"],
        units: &["confluent-kafka.service", "kafka.service"],
        owner: "kafka",
        mode: "0750",
        settings: &[],
        told: Some("server.properties: log.dirs={data}"),
    },
    Preset {
        names: &["etcd"],
        units: &["etcd.service"],
        owner: "etcd",
        // etcd warns of any other.
        mode: "0700",
        settings: &[("Environment", "ETCD_DATA_DIR={data}")],
        told: None,
    },
    Preset {
        names: &["mysql", "mariadb"],
        units: &["mariadb.service", "mysqld.service", "mysql.service"],
        owner: "mysql",
        mode: "0750",
        settings: &[],
        told: Some("my.cnf, [mysqld]: datadir = {data}"),
    },
];

/// Whether `service` could be a unit's name (systemd.unit(5)).
pub fn is_name(service: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    service.chars().all(good) && service.len() < 250 && !service.trim_end_matches(".service").is_empty()
}

/// The drop-in of `service`, which is one of the presets' names or a unit of its own.
pub fn drop_in(root: &Root, service: &str, volume: &Volume) -> Result<File> {
    let preset = PRESETS.iter().find(|preset| preset.names.contains(&service));
    let unit = match preset {
        Some(preset) => unit(root, preset)?.to_owned(),
        None if service.ends_with(".service") => service.to_owned(),
        None => format!("{service}.service"),
    };
    let path = Path::new(UNITS).join(format!("{unit}.d/50-volinit.conf"));
    Ok(File { path, content: Content::Text(text(preset, volume)?) })
}

/// Which of the preset's units the machine has.
fn unit(root: &Root, preset: &Preset) -> Result<&'static str> {
    for unit in preset.units {
        for folder in FOLDERS {
            if files::read(root, &Path::new(folder).join(unit))?.is_some() {
                return Ok(unit);
            }
        }
    }
    Ok(preset.units.last().expect("a preset has a unit"))
}

fn text(preset: Option<&Preset>, volume: &Volume) -> Result<String, Unsayable> {
    let (name, at) = (value(&volume.name)?, volume.mount.at.to_string());
    let mut text = format!(
        "{MARKER}: this service has its data on the volume `{name}`.\n\
         [Unit]\n\
         RequiresMountsFor={mount}\n\
         After={after}\n\
         # Whatever else goes wrong, it does not start on the root disk.\n\
         AssertPathIsMountPoint={at}\n",
        mount = word(&at),
        after = order::service(&name),
        at = value(&at)?,
    );
    let Some(preset) = preset else { return Ok(text) };
    let data = format!("{at}/data");
    write!(
        text,
        "\n\
         [Service]\n\
         # A folder of its own: lost+found is beside it and upsets nobody.\n\
         ExecStartPre=+/usr/bin/install -d -o {owner} -g {owner} -m {mode} {folder}\n",
        owner = preset.owner,
        mode = preset.mode,
        // What an Exec line takes for a variable.
        folder = word(&data).replace('$', "$$"),
    )
    .expect("a String takes what is written to it");
    for (key, template) in preset.settings {
        let setting = template.replace("{data}", &data).replace("{mount}", &at);
        writeln!(text, "{key}={}", word(&setting)).expect("as above");
    }
    if let Some(told) = preset.told {
        writeln!(text, "# The service itself is told in {}", told.replace("{data}", &data)).expect("as above");
    }
    Ok(text)
}

/// A word as systemd's lists, variables and commands take it, in quotes only where it needs them.
fn word(text: &str) -> String {
    let text = text.replace('%', "%%");
    let plain = |c: char| c.is_alphanumeric() || "/-_.=:+@,%".contains(c);
    if text.chars().all(plain) { text } else { quote(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn volume(at: &str) -> Volume {
        config::volume_from_flags(Path::new("/dev/xvdb"), at, None, None).unwrap()
    }

    fn rendered(root: &Root, service: &str, at: &str) -> (String, String) {
        let file = drop_in(root, service, &volume(at)).unwrap();
        let Content::Text(text) = file.content else { panic!("it is a text") };
        (file.path.display().to_string(), text)
    }

    #[test]
    fn the_text() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let (path, text) = rendered(&root, "postgres", "/data/postgres");
        assert_eq!(path, "/etc/systemd/system/postgresql.service.d/50-volinit.conf");
        assert_eq!(
            text,
            "# Written by volinit: this service has its data on the volume `data-postgres`.\n\
             [Unit]\n\
             RequiresMountsFor=/data/postgres\n\
             After=volinit@data-postgres.service\n\
             # Whatever else goes wrong, it does not start on the root disk.\n\
             AssertPathIsMountPoint=/data/postgres\n\
             \n\
             [Service]\n\
             # A folder of its own: lost+found is beside it and upsets nobody.\n\
             ExecStartPre=+/usr/bin/install -d -o postgres -g postgres -m 0700 /data/postgres/data\n\
             Environment=PGDATA=/data/postgres/data\n\
             # The service itself is told in postgresql.conf: data_directory = '/data/postgres/data'\n"
        );
        // Any other service is bound, and has what folders it makes.
        let (path, text) = rendered(&root, "app-redis", "/mnt/data");
        assert_eq!(path, "/etc/systemd/system/app-redis.service.d/50-volinit.conf");
        assert!(text.ends_with("\nAssertPathIsMountPoint=/mnt/data\n"), "{text}");
        assert_eq!(rendered(&root, "a@.service", "/mnt/data").0, "/etc/systemd/system/a@.service.d/50-volinit.conf");
    }

    #[test]
    fn the_unit_is_the_one_that_the_machine_has() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let unit = |preset: &str| {
            let path = rendered(&root, preset, "/data/x").0;
            path.trim_start_matches("/etc/systemd/system/").trim_end_matches(".d/50-volinit.conf").to_owned()
        };
        assert_eq!((unit("redis"), unit("mariadb")), ("redis.service".into(), "mysql.service".into()));
        for there in ["usr/lib/systemd/system/redis-server.service", "lib/systemd/system/mariadb.service"] {
            let path = folder.path().join(there);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "[Service]\n").unwrap();
        }
        assert_eq!((unit("redis"), unit("mysql")), ("redis-server.service".into(), "mariadb.service".into()));
    }

    #[test]
    fn odd_paths_are_one_word_each() {
        for (path, said) in [
            ("/data/a", "/data/a"),
            ("/data/größe", "/data/größe"),
            ("/data/50%", "/data/50%%"),
            ("/data/two words", "\"/data/two words\""),
            (r#"/data/"q"\"#, r#""/data/\"q\"\\""#),
        ] {
            assert_eq!(word(path), said);
        }
    }
}
