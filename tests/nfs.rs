//! NFS volumes as far as a machine without a server goes: servers that are dead or hang, a mount.nfs that fails, hangs or
//! lies, and a mount point that is somebody else's. What a real server and the kernel do is told in `tests/nfs_story/`.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use rig::{Ran, Rig, VOLINIT, tool};

/// A port, and whoever listens there as long as this lives.
struct Server(TcpListener);

impl Server {
    /// The kernel takes connections, and nobody reads from them.
    fn hangs() -> Server {
        Server(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Answers each call with its own number, and no more.
    fn answers() -> Server {
        let server = Server::hangs();
        let listener = server.0.try_clone().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut call) = (stream.unwrap(), [0; 44]);
                if stream.read_exact(&mut call).is_ok() {
                    stream.write_all(&call[..8]).unwrap();
                }
            }
        });
        server
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// Nobody listens there: the port was free a moment ago.
fn dead() -> u16 {
    Server::hangs().port()
}

fn config(rig: &Rig, port: u16, options: &str, more: &str) {
    rig.config(&format!(
        "volumes:\n  data:\n    source: {{ nfs: 127.0.0.1:/mnt/default/data, timeout: 1s }}\n    \
         mount: {{ at: /mnt/data, options: [vers=3, port={port}{options}]{more} }}\n    \
         metadata: {{ redis: here }}\npublish: [fleet]\n"
    ));
}

/// `up` beside this mount.nfs.
fn up_with(rig: &Rig, script: &str) -> Ran {
    let stand_in = rig.stand_in("mount.nfs", script);
    let script = format!("{stand_in} && exec {VOLINIT} --root {} up", rig.root().display());
    rig.run(Command::new("unshare").args(["--mount", "--propagation", "private", "bash", "-c", &script]))
}

fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for words in words {
        assert!(ran.out.contains(words) || ran.err.contains(words), "{words}: {ran:?}");
    }
}

#[test]
fn a_dead_server_is_told_from_one_that_hangs() {
    let rig = Rig::new();
    let hung = Server::hangs();
    for (port, word, why) in [
        (dead(), "dead", "is not there: Connection refused"),
        (hung.port(), "hung", "takes connections and does not answer within 3 s"),
    ] {
        config(&rig, port, "", "");
        let told = format!("data: absent: {word}: the NFS server 127.0.0.1 (port {port}) {why}");
        says(&rig.volinit(&["up"]), 4, &[&told, "(after 1 s)"]);
        says(&rig.volinit(&["plan"]), 4, &[&told]);
        says(&rig.volinit(&["status"]), 4, &["absent", &format!("{word}: the NFS server")]);
        says(&rig.volinit(&["status", "--json"]), 4, &["\"outcome\": \"absent\"", "\"device\": null"]);
    }
    assert!(!rig.path("/etc/systemd").exists() && !rig.path("/mnt").exists(), "nothing was made");
}

#[test]
fn one_that_waits_to_be_asked_for_gets_its_unit_and_no_more() {
    let rig = Rig::new();
    config(&rig, dead(), ", noauto", "");
    rig.write("/etc/fleet/fleet.conf", "metadata=\"redis=here,zone=a\"\n");
    let up = rig.volinit(&["up"]);
    says(&up, 0, &["data: 127.0.0.1:/mnt/default/data (nfs) is mounted at /mnt/data when something asks for it\n"]);
    let unit = rig.read("/etc/systemd/system/mnt-data.mount");
    assert!(unit.contains("Type=nfs\nOptions=vers=3,port=") && !unit.contains("noauto"), "{unit}");
    assert!(!unit.contains("[Install]") && !unit.contains("_netdev"), "{unit}");
    assert!(!rig.path("/etc/systemd/system/remote-fs.target.wants").exists());
    // Metadata says that the mount stands: what is left of an earlier one is taken back.
    assert_eq!(rig.read("/etc/fleet/fleet.conf"), "metadata=\"zone=a\"\n");
    says(&rig.volinit(&["status"]), 0, &["data    on demand  127.0.0.1:/mnt/default/data"]);
    says(&rig.volinit(&["up", "--json"]), 0, &["\"on_demand\": true", "\"export\": \"127.0.0.1:/mnt/default/data\""]);
    // By its name, as its volinit@.service has it.
    says(&rig.volinit(&["up", "data"]), 4, &["dead: "]);

    // At once again: the link comes, and goes with the word.
    let link = "/etc/systemd/system/remote-fs.target.wants/mnt-data.mount";
    config(&rig, dead(), "", "");
    assert_eq!(rig.volinit(&["render"]).code, Some(0));
    assert!(rig.path(link).is_symlink());
    config(&rig, dead(), ", noauto", "");
    assert_eq!(rig.volinit(&["up"]).code, Some(0));
    assert!(!rig.path(link).is_symlink());
}

/// What lies on it asks for it.
#[test]
fn a_volume_on_an_export_that_waits_asks_for_it() {
    let rig = Rig::new();
    let port = dead();
    rig.config(&format!(
        "volumes:\n  \
           data: {{ source: {{ nfs: 127.0.0.1:/d, timeout: 1s }}, mount: {{ at: /mnt/data, options: [noauto, port={port}] }} }}\n  \
           image: {{ source: {{ image: /mnt/data/a.img, size: 32M }}, mount: /a }}\n"
    ));
    says(
        &rig.volinit(&["up"]),
        1,
        &["data: absent: dead: ", "image: failed: it lies on the volume `data`, which is not"],
    );
}

#[test]
fn a_mount_point_that_is_somebody_else_s_is_refused_at_once() {
    let rig = Rig::new();
    config(&rig, dead(), "", "");
    rig.write("/mnt/data/dump.rdb", "written by a service without its volume");
    says(&rig.volinit(&["up"]), 3, &["refused: /mnt/data is not empty (it has `dump.rdb` in it"]);
    tool(["mount", "-t", "tmpfs", "other", rig.path("/mnt/data").to_str().unwrap()]);
    let other = "already has something else mounted on it (other), not 127.0.0.1:/mnt/default/data";
    says(&rig.volinit(&["up"]), 3, &[other]);
    says(&rig.volinit(&["release"]), 0, &["data: nothing to do: it is not here"]);
    assert!(rig.mount_at("/mnt/data").is_some());
}

#[test]
fn a_mount_that_fails_hangs_or_is_another_is_told() {
    let rig = Rig::new();
    let server = Server::answers();
    config(&rig, server.port(), ", noatime, nofail", "");
    let options = format!("-o vers=3,port={},noatime,fg,retry=0", server.port());
    let denied = "echo mount.nfs: access denied by server while mounting $1 >&2; exit 32";
    let told = [
        "data: failed: mounting 127.0.0.1:/mnt/default/data at ROOT/mnt/data: `mount.nfs 127.0.0.1:",
        &options,
        "exit status: 32: mount.nfs: access denied",
    ];
    says(&up_with(&rig, denied), 1, &told);
    says(&up_with(&rig, "exec sleep 1d"), 4, &["data: absent: mounting ", "ended with signal: 9"]);
    says(&up_with(&rig, ":"), 1, &["and nothing is mounted at ROOT/mnt/data"]);
    let other = up_with(&rig, "mount -t tmpfs other \"$2\"");
    says(&other, 1, &["127.0.0.1:/mnt/default/data came as other (tmpfs): it was unmounted again"]);
    assert!(!rig.path("/etc/systemd").exists(), "it does not stand");
}

#[test]
fn there_is_nothing_to_grow() {
    let rig = Rig::new();
    config(&rig, dead(), "", "");
    says(&rig.volinit(&["grow"]), 0, &[]);
    says(&rig.volinit(&["grow", "data"]), 2, &["127.0.0.1:/mnt/default/data grows on its server"]);
}
