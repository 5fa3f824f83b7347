//! Redis with its data on an NFS server: it starts only with its mount, goes on when the server comes back, and the next
//! node has the counter that the last one had. `make test-nfs` runs it, on two Debians at a time that a wire joins: the
//! kernel's own server, and the kernel's own client by mount.nfs.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../vm/mod.rs"]
mod vm;

use std::sync::LazyLock;
use std::time::Instant;

use vm::debian::{Image, Machine, Payload};

const EXPORT: &str = "172.17.8.200:/mnt/default/data";

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn tell(what: &str) {
    println!("\n== {:.0} s: {what}", BEGAN.elapsed().as_secs_f32());
}

/// One export that takes a node's root for root, and one that takes it for nobody, which is what exports(5) does unasked.
const EXPORTS: &str = "/mnt/default/data 172.17.8.0/24(rw,sync,no_subtree_check,no_root_squash)\n\
                       /mnt/default/squashed 172.17.8.0/24(rw,sync,no_subtree_check)\n";

/// Takes connections at the port of NFS, and says nothing.
const LISTENER: &str = "import socket, time; s = socket.create_server(('', 2049)); time.sleep(1e6)";

fn config(noauto: &str) -> String {
    format!(
        "volumes:
  data:
    source: {{ nfs: {EXPORT}, timeout: 20s }}
    mount: {{ at: /mnt/data, options: [vers=3, sec=sys{noauto}] }}
    metadata: {{ redis: \"{{name}}\" }}
  squashed:
    source: {{ nfs: 172.17.8.200:/mnt/default/squashed }}
    mount: {{ at: /mnt/squashed, options: [noauto], owner: \"redis:redis\" }}
publish: [fleet]
"
    )
}

struct Node {
    host: &'static str,
    machine: Machine,
}

impl Node {
    /// Its boot has begun.
    fn begins(image: &Image, host: &'static str, payload: &Payload) -> Node {
        payload.write("/etc/hostname", &format!("{host}\n"));
        Node { host, machine: Machine::boot(image, host, payload, &[], "") }
    }

    fn boot(image: &Image, host: &'static str, payload: &Payload) -> Node {
        let mut node = Node::begins(image, host, payload);
        node.machine.settled();
        node
    }

    /// A shell line as it is typed: the exit code, and what it said.
    fn tries(&mut self, line: &str) -> (u8, String) {
        println!("{}# {line}", self.host);
        let (code, said) = self.machine.run(line);
        print!("{said}");
        (code, said)
    }

    /// The same of one that has to succeed.
    fn types(&mut self, line: &str) -> String {
        let (code, said) = self.tries(line);
        assert_eq!(code, 0, "{line}: {said}{}", self.why());
        said
    }

    /// It ends with this code, and has all these words.
    fn says(&mut self, line: &str, code: u8, words: &[&str]) {
        let (ended, said) = self.tries(line);
        assert_eq!(ended, code, "{line}: {said}{}", self.why());
        for words in words {
            assert!(said.contains(words), "{line}: {words:?} is not in {said}{}", self.why());
        }
    }

    fn why(&mut self) -> String {
        let what = "systemctl --no-pager --full status volinit@data mnt-data.mount app-redis; systemctl list-jobs; \
                    journalctl -q --no-pager | tail -n 60";
        self.machine.run(what).1
    }

    /// One more than before, on the server's disk when it is told.
    fn counts(&mut self, to: u32) {
        assert_eq!(self.types("redis-cli INCR counter"), format!("{to}\n"));
    }
}

/// A node as its administrator makes it: the package, a config, and Redis.
fn payload(image: &Image, host: &str, noauto: &str) -> Payload {
    let mut payload = image.payload(host);
    payload.wired(image, "172.17.8.101", ["node", "nas"]);
    payload.package().write("/etc/volinit/volinit.yaml", &config(noauto));
    payload.write("/etc/fleet/fleet.conf", "");
    payload.write("/etc/systemd/system/app-redis.service", include_str!("app-redis.service"));
    payload
}

#[test]
fn redis_keeps_its_counter_on_an_nfs_server() {
    let folder = tempfile::Builder::new().prefix("volinit-nfs-").tempdir().unwrap();
    let image = Image::new(folder.path());

    tell("core1 boots, and its server does not serve yet");
    let mut server = image.payload("nas");
    server.wired(&image, "172.17.8.200", ["nas", "node"]).write("/etc/exports", EXPORTS);
    server.write("/mnt/default/data/README", "").write("/mnt/default/squashed/README", "");
    let first = payload(&image, "core1", "");
    first.link("/etc/systemd/system/multi-user.target.wants/app-redis.service", "../app-redis.service");
    let mut nas = Node::begins(&image, "nas", &server);
    let mut core1 = Node::boot(&image, "core1", &first);
    nas.machine.settled();
    starts_only_with_its_mount(&mut nas, &mut core1);
    outlasts_its_server(&mut nas, &mut core1);

    tell("The power of core1 goes, and core2 boots, where it waits to be asked for");
    core1.machine.kill();
    let mut core2 = Node::boot(&image, "core2", &payload(&image, "core2", ", noauto"));
    waits_to_be_asked_for(&mut core2);

    tell("It is shut down in order");
    core2.machine.power_off();
    nas.machine.kill();
    tell("The end");
}

fn starts_only_with_its_mount(nas: &mut Node, core1: &mut Node) {
    // It is tried again after a pause; one attempt is over.
    core1.machine.shell("until journalctl -u volinit@data | grep -q status=4; do sleep 0.2; done");
    core1.says("volinit status data", 4, &["absent", "dead: the NFS server 172.17.8.200 (port 2049) is not there"]);
    core1.says("systemctl is-active app-redis", 3, &["inactive"]);
    core1.says("findmnt /mnt/data", 1, &[]);
    assert_eq!(core1.machine.run("find /mnt/data -mindepth 1 2>/dev/null").1, "", "on the root disk");
    assert_eq!(core1.machine.shell("cat /etc/fleet/fleet.conf"), "");

    tell("The server serves");
    nas.types("systemctl start nfs-server");
    core1.machine.shell("until systemctl is-active volinit@data; do sleep 0.2; done");
    core1.types("systemctl start app-redis");
    core1.types("journalctl -q -o cat -t volinit | tail -n 1");
    let mounted = core1.types("findmnt -n -o TARGET,SOURCE,FSTYPE /mnt/data");
    assert_eq!(mounted.split_whitespace().collect::<Vec<_>>(), ["/mnt/data", EXPORT, "nfs"]);
    core1.says(
        "volinit up data",
        0,
        &["data: nothing to do: 172.17.8.200:/mnt/default/data (nfs) is mounted at /mnt/data"],
    );
    core1.says("volinit status", 0, &["data      up         172.17.8.200", "squashed  on demand  172.17.8.200"]);
    core1.says("cat /etc/fleet/fleet.conf", 0, &["redis=data"]);
    assert!(
        !core1.machine.shell("ls /var/lib/volinit 2>/dev/null || true").contains("volumes"),
        "nothing is remembered"
    );
    for number in 1..=3 {
        core1.counts(number);
    }
    nas.says("ls /mnt/default/data/app-redis-data", 0, &["appendonlydir"]);
}

fn outlasts_its_server(nas: &mut Node, core1: &mut Node) {
    tell("The server's NFS stops");
    nas.types("systemctl stop nfs-server");
    let refused = "dead: the NFS server 172.17.8.200 (port 2049) is not there: Connection refused";
    core1.says("volinit status data", 4, &["absent", refused]);
    core1.says("volinit up data --deadline 5s", 4, &[refused, "(after 5 s)"]);
    core1.says("volinit release data", 4, &[refused]);
    core1.says("volinit grow", 0, &[]);

    tell("It takes connections, and hangs");
    nas.types(&format!("systemd-run --quiet --unit=hung python3 -c \"{LISTENER}\""));
    nas.machine.shell("until ss -ltn | grep -q :2049; do sleep 0.1; done");
    core1.says(
        "volinit status data",
        4,
        &["absent", "hung: the NFS server 172.17.8.200 (port 2049) takes connections"],
    );
    core1.says("volinit plan data", 4, &["data: absent: hung: "]);

    tell("Its network is gone");
    nas.types("systemctl stop hung; ip link set eth0 down");
    core1.says("volinit status data", 4, &["dead: the NFS server 172.17.8.200 (port 2049) is not there: "]);

    tell("All is well again, and Redis goes on");
    nas.types("ip link set eth0 up; systemctl start nfs-server");
    core1.counts(4);
    core1.says("volinit status data", 0, &["data    up     172.17.8.200:/mnt/default/data"]);

    tell("It answers, and not for the export");
    // The kernel asks rpc.mountd who may have what, once it has forgotten.
    nas.types("kill -STOP $(pidof rpc.mountd); exportfs -f");
    let hung = "hung: the NFS server 172.17.8.200 (port 2049) answers, but not for what is mounted at /mnt/data";
    core1.says("volinit status data", 4, &["absent", hung]);
    core1.says("volinit release data", 4, &[hung, "`umount -f -l /mnt/data` gives it up"]);
    nas.types("kill -CONT $(pidof rpc.mountd)");
    core1.counts(5);
}

fn waits_to_be_asked_for(core2: &mut Node) {
    core2.says("findmnt /mnt/data", 1, &[]);
    core2.says("volinit status", 0, &["data      on demand  172.17.8.200"]);
    core2.says(
        "volinit up",
        0,
        &["data: 172.17.8.200:/mnt/default/data (nfs) is mounted at /mnt/data when something asks for it"],
    );
    core2.says("cat /etc/fleet/fleet.conf", 0, &[]);
    core2.says("systemctl is-active volinit@data", 3, &["inactive"]);
    core2.types("systemctl start app-redis");
    core2.says("systemctl is-active volinit@data mnt-data.mount", 0, &["active\nactive"]);
    core2.counts(6);

    tell("An owner that the server does not let this node set");
    core2.says(
        "volinit up squashed",
        1,
        &["squashed: failed: setting the owner and mode of /mnt/squashed: ", "root_squash"],
    );
    core2.says("findmnt -n -o FSTYPE /mnt/squashed", 0, &["nfs4"]);
    core2.says("volinit release squashed", 0, &["squashed: unmounted from /mnt/squashed"]);

    tell("core2 gives it back, and takes it again");
    core2.says("volinit release data", 1, &["/mnt/data is in use by redis-server"]);
    core2.types("systemctl stop app-redis");
    core2.says("volinit release data", 0, &["data: unmounted from /mnt/data"]);
    core2.says("findmnt /mnt/data", 1, &[]);
    core2.types("systemctl restart volinit@data && systemctl start app-redis");
    core2.counts(7);
}
