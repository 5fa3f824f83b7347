//! The named volume of Docker's that each volume is: of the same name, of the driver `local`, bound to the mount. Where
//! it is not there, Docker makes an empty one on the root disk for the first service that names it.
//!
//! The driver keeps a volume as a folder with `opts.json`, which is what volinit goes by, and `_data`, on which it mounts
//! (moby's volume/local/local.go; dockerd's own metadata.db has what it shows, not what it mounts). A dockerd that runs
//! read all of them when it started, so it is asked to make the volume; else the folder is made for its next start. It
//! stays when the volume goes: it has no data, and without it Docker would make one of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::files::{self, Change, Content, File, What};
use super::swarm::Conf;
use super::{Published, command};
use crate::config::Volume;
use crate::root::Root;

/// The volumes that Docker does not have yet, and the file by which it would.
///
/// # Errors
/// Where Docker has another one of that name.
pub(super) fn missing<'a>(root: &Root, conf: &Conf, mounted: &[&Published<'a>]) -> Result<Vec<(&'a Volume, File)>> {
    let mut missing = Vec::new();
    for &&Published { volume, .. } in mounted {
        let file = File { path: folder(conf, volume)?.join("opts.json"), content: Content::Text(options(volume)) };
        if !stands(root, conf, volume, &file.path)? {
            missing.push((volume, file));
        }
    }
    Ok(missing)
}

/// Makes those that are missing, or what the file that [`missing`] gave goes into.
pub(super) fn make(root: &Root, conf: &Conf, mounted: &[&Published<'_>]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for (volume, file) in missing(root, conf, mounted)? {
        if !runs(root, conf)? {
            // First: a folder with options and without this could not be mounted.
            files::make_folder(root, &file.path.with_file_name("_data"))?;
            continue;
        }
        let device = format!("--opt=device={}", volume.mount.at);
        let create = ["docker", "volume", "create", "--driver=local", "--opt=type=none", "--opt=o=bind", &device];
        command::run(&[&create[..], &[&volume.name]].concat(), Stdio::null())?;
        // An older one of this name is no error to Docker.
        if !stands(root, conf, volume, &file.path)? {
            bail!(
                "Docker made the volume `{}`, and not at {}: see where `docker info` has its `Docker Root Dir`, and say \
                 `data-root` in /etc/docker/daemon.json",
                volume.name,
                root.path(&file.path).display()
            );
        }
        log::info!("Docker made the volume {}, bound to {}", volume.name, volume.mount.at);
        changes.push(Change { path: file.path, what: What::Created });
    }
    Ok(changes)
}

/// Where the driver keeps the volume.
fn folder(conf: &Conf, volume: &Volume) -> Result<PathBuf> {
    if conf.option("userns-remap").is_some_and(|user| !user.is_empty()) {
        bail!(
            "/etc/docker/daemon.json says userns-remap, and volinit does not know where such a dockerd keeps its volumes: \
             leave `swarm` out of `publish`, or userns-remap out of daemon.json"
        );
    }
    let data = conf.option("data-root").filter(|path| path.starts_with('/')).unwrap_or("/var/lib/docker");
    Ok(Path::new(data).join("volumes").join(&volume.name))
}

/// As the driver writes them (`optsConfig` in `local_unix.go`).
fn options(volume: &Volume) -> String {
    let device = Value::from(volume.mount.at.to_string());
    format!(r#"{{"MountType":"none","MountOpts":"bind","MountDevice":{device},"Quota":{{"Size":0}}}}"#)
}

/// Whether Docker has the volume, as it shall be.
fn stands(root: &Root, conf: &Conf, volume: &Volume, path: &Path) -> Result<bool> {
    let name = &volume.name;
    let data = path.with_file_name("_data");
    if let Some(text) = files::read(root, path)? {
        let options: Value =
            serde_json::from_str(&text).with_context(|| format!("reading {}", root.path(path).display()))?;
        let is = |key: &str| options[key].as_str().unwrap_or_default();
        let found = [is("MountType"), is("MountOpts"), is("MountDevice")];
        if found == ["none", "bind", &volume.mount.at.to_string()] {
            return Ok(true);
        }
        if found != [""; 3] {
            bail!(
                "Docker has another volume `{name}` (type={}, o={}, device={}): if nothing uses it any more, `docker volume \
                 rm {name}`, then `volinit up`; else give the volume another name in the config",
                found[0],
                found[1],
                found[2]
            );
        }
    }
    if !files::list(root, &data)?.is_empty() {
        bail!(
            "Docker has a volume `{name}` of its own, with data in {data}: it makes one for a service that names it before \
             volinit does. Stop the service, copy what is to be kept, as in `cp -a {data}/. {at}/`, then `docker volume rm \
             {name}` and `volinit up`",
            data = root.path(&data).display(),
            at = volume.mount.at
        );
    }
    // One that is empty is as good as none, but for a dockerd that knows it already.
    if files::is_folder(root, &data)? && runs(root, conf)? {
        bail!(
            "Docker has an empty volume `{name}` of its own: it makes one for a service that names it before volinit does. \
             Stop the service, then `docker volume rm {name}` and `volinit up`"
        );
    }
    Ok(false)
}

/// Whether dockerd runs. Its socket would not tell: systemd answers there too, and starts dockerd, which at boot waits for
/// volinit.
fn runs(root: &Root, conf: &Conf) -> Result<bool> {
    let file = conf.option("pidfile").unwrap_or("/run/docker.pid");
    let Some(pid) = files::read(root, Path::new(file))? else {
        return Ok(false);
    };
    // The file outlives a dockerd that was killed, and the number may be another's by then.
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    Ok(name.trim() == "dockerd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;
    use crate::publish::publish;
    use crate::publish::tests::{Machine, mounted, volume};

    const OPTIONS: &str =
        r#"{"MountType":"none","MountOpts":"bind","MountDevice":"/data/foobarstore","Quota":{"Size":0}}"#;

    /// What a run says that publishes `foobarstore`: its error, or what it changed, without systemd's files.
    fn told(machine: &Machine) -> Result<Vec<String>, String> {
        let volume = volume("foobarstore", "/data/foobarstore", &[("redis", "vol-5afc0745")]);
        let changes = publish(&machine.root(), &[Target::Swarm], &[mounted(&volume)], &[]);
        let changes =
            changes.map_err(|error| format!("{error:#}").replace(machine.root().path("/").to_str().unwrap(), "/"))?;
        let changes = changes.iter().map(ToString::to_string).filter(|change| !change.contains("/systemd/"));
        Ok(changes.collect())
    }

    #[test]
    fn the_volume_is_there_before_dockerd_starts_and_is_made_once() {
        let machine = Machine::new();
        // Of a dockerd that was killed; the number is this test's by now.
        machine.put("/run/docker.pid", &std::process::id().to_string());
        let opts = "created /var/lib/docker/volumes/foobarstore/opts.json";
        assert_eq!(told(&machine).unwrap(), [opts, "created /etc/docker/daemon.json"]);
        assert_eq!(machine.text("var/lib/docker/volumes/foobarstore/opts.json").unwrap(), OPTIONS);
        assert!(machine.root().path("/var/lib/docker/volumes/foobarstore/_data").is_dir());
        assert_eq!(machine.text("etc/docker/daemon.json").unwrap(), "{\n  \"labels\": [\"redis=vol-5afc0745\"]\n}\n");
        assert!(told(&machine).unwrap().is_empty());

        // Of a run that was killed, or of Docker's own: empty, and no dockerd has seen it.
        std::fs::remove_file(machine.root().path("/var/lib/docker/volumes/foobarstore/opts.json")).unwrap();
        assert_eq!(told(&machine).unwrap(), [opts]);
    }

    #[test]
    fn the_volume_is_where_dockerd_looks() {
        let machine = Machine::new();
        machine
            .put("/etc/docker/daemon.json", "{\"data-root\": \"/mnt/docker\", \"labels\": [\"redis=vol-5afc0745\"]}");
        assert_eq!(told(&machine).unwrap(), ["created /mnt/docker/volumes/foobarstore/opts.json"]);
        machine.put("/etc/docker/daemon.json", "{\"userns-remap\": \"default\"}");
        assert!(told(&machine).unwrap_err().contains("/etc/docker/daemon.json says userns-remap"));
    }

    #[test]
    fn another_volume_of_that_name_is_an_error_and_stays() {
        let folder = "/var/lib/docker/volumes/foobarstore";
        for (file, text, words) in [
            ("_data/dump.rdb", "REDIS", "with data in /var/lib/docker/volumes/foobarstore/_data: it makes one for a"),
            (
                "opts.json",
                &OPTIONS.replace("/data/", "/srv/"),
                "(type=none, o=bind, device=/srv/foobarstore): if nothing",
            ),
            ("opts.json", "{}x", "reading /var/lib/docker/volumes/foobarstore/opts.json: trailing characters"),
        ] {
            let machine = Machine::new();
            let file = format!("{folder}/{file}");
            machine.put(&file, text);
            let error = told(&machine).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert_eq!(machine.text(&file[1..]).unwrap(), text);
            assert_eq!(machine.text("etc/docker/daemon.json"), None);
        }
    }

    #[test]
    fn a_dockerd_whose_command_line_says_what_daemon_json_should_is_told_nothing() {
        let machine = Machine::new();
        let unit = "/lib/systemd/system/docker.service";
        machine.put(unit, "[Service]\n# --label is for daemon.json\nExecStart=dockerd -H fd:// --log-opt labels=x\n");
        assert!(told(&machine).is_ok());
        let drop_in = "/etc/systemd/system/docker.service.d/10-labels.conf";
        machine.put(drop_in, "[Service]\nExecStart=dockerd \\\n  --label a=b\n");
        let error = told(&machine).unwrap_err();
        assert!(error.starts_with(&format!("{drop_in} starts dockerd with --label, and volinit goes by")), "{error}");
        machine.put(drop_in, "[Service]\n");
        machine.put("/etc/default/docker", "DOCKER_OPTS=\"--data-root=/mnt/docker\"\n");
        let error = told(&machine).unwrap_err();
        assert!(error.starts_with("/etc/default/docker starts dockerd with --data-root"), "{error}");
    }
}
