//! A node of the story: a machine of Debian's with volinit as the package installs it, a config, and PostgreSQL as a
//! unit that wants its volume. What is typed on it is printed with what it said, as a person would see it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::ec2::imds::{Imds, Options};
use crate::region::{Region, VOL, ZONE};
use crate::vm::debian::{Image, Machine, Payload};

/// The same on every node.
const CONFIG: &str = "volumes:
  postgres:
    source: { ebs: vol-0123456789abcdef0, attach: true }
    filesystem: { type: ext4 }
    mount: { at: /data/postgres, owner: \"postgres:postgres\", mode: \"0700\" }
    metadata: { postgres: \"{volume-id}\" }
publish: [fleet]
";

const UP: &str = "volinit@postgres.service data-postgres.mount";
const UNITS: &str = "/etc/systemd/system";

pub struct Node {
    host: &'static str,
    pub instance: &'static str,
    machine: Machine,
    /// Asked for as long as the node runs.
    imds: Imds,
    /// Where the client says what was committed.
    console: PathBuf,
}

/// What volinit did on it, and what its volume and its cluster are.
pub struct Seen {
    pub volinit: String,
    pub postgres: String,
    pub uuid: String,
    pub cluster: String,
}

impl Node {
    /// Boots it to the end.
    pub fn boot(region: &Region, image: &Image, host: &'static str, instance: &'static str) -> Node {
        region.cloud.instance(instance, ZONE);
        let imds = Imds::start(&region.cloud, instance, Options::default());
        let payload = payload(image, host, instance, [&region.url(), &imds.url()]);
        let machine = Machine::boot(image, instance, &payload, &[], "");
        region.runs(instance, machine.shared_ports());
        let console = machine.console_file();
        let mut node = Node { host, instance, machine, imds, console };
        node.machine.settled();
        println!("{instance} runs, as {host}");
        node
    }

    /// A shell line as it is typed, and what it said; it has to succeed.
    pub fn types(&mut self, line: &str) -> String {
        println!("{}# {line}", self.host);
        let said = self.machine.shell(line);
        print!("{said}");
        said
    }

    pub fn sql(&mut self, sql: &str) -> String {
        self.types(&format!("psql -U postgres -Atc \"{sql}\"")).trim().to_owned()
    }

    /// All is up, and nobody did anything for it. `did` is what volinit says that it did.
    pub fn carries_the_volume(&mut self, did: &str) -> Seen {
        let journal = self.types("journalctl -q -o cat -t volinit");
        assert!(journal.contains(did), "{journal}{}", self.why());
        let units = self.units();
        assert_eq!(units.matches(" active ").count(), 3, "{units}{}", self.why());
        let mount = self.types("findmnt -n -o TARGET,SOURCE,FSTYPE /data/postgres");
        assert_eq!(mount.split_whitespace().collect::<Vec<_>>(), ["/data/postgres", "/dev/nvme0n1", "ext4"]);
        assert_eq!(self.types("stat -c '%U:%G %a' /data/postgres"), "postgres:postgres 700\n");
        let fleet = self.types("cat /etc/fleet/fleet.conf");
        assert_eq!(fleet, format!("metadata=\"region=eu-central-1,postgres={VOL}\"\n"));
        Seen {
            volinit: journal,
            postgres: self.machine.shell("journalctl -q -o cat -u 'postgres@*'"),
            uuid: self.machine.shell("blkid -s UUID -o value /dev/nvme0n1"),
            cluster: self.machine.shell("psql -U postgres -Atc 'SELECT system_identifier FROM pg_control_system()'"),
        }
    }

    /// The volume is gone from it, and nothing of it is left.
    pub fn carries_nothing(&mut self) {
        let units = self.units();
        assert_eq!(units.matches(" inactive ").count(), 3, "{units}{}", self.why());
        assert_eq!(self.types("cat /etc/fleet/fleet.conf"), "metadata=\"region=eu-central-1\"\n");
        assert_ne!(self.machine.run("findmnt /data/postgres").0, 0);
        // The folder on the root disk, if it is there at all.
        assert_eq!(self.machine.run("find /data/postgres -mindepth 1 2>/dev/null").1, "");
        // PostgreSQL stopped because it was asked to, before its filesystem went.
        let how = format!("systemctl show -P Result {UP} postgres@{VOL}.service");
        let results = self.machine.shell(&how);
        assert_eq!(results.split_whitespace().collect::<Vec<_>>(), ["success"; 3], "{}", self.why());
    }

    fn units(&mut self) -> String {
        let line = format!("systemctl list-units --all --plain --no-legend {UP} postgres@{VOL}.service");
        self.types(&line)
    }

    /// Rows are committed from `first` on, one by one; returns while the client goes on, `more` rows later.
    pub fn commits(&mut self, first: u64, more: u64) {
        self.types(&format!("systemd-run --quiet --unit=client /usr/local/lib/client {first}"));
        while self.committed().is_none_or(|last| last < first + more) {
            let (code, said) = self.machine.run("sleep 0.5; systemctl is-active client");
            assert_eq!(code, 0, "the client is {said}{}", self.why());
        }
    }

    /// The last row whose COMMIT has returned, as the host heard it.
    pub fn committed(&self) -> Option<u64> {
        last_committed(&fs::read(&self.console).unwrap())
    }

    /// Its power goes, and its instance; the last row that was committed.
    pub fn dies(self, region: &Region) -> u64 {
        self.machine.kill();
        region.terminated(self.instance);
        last_committed(&fs::read(&self.console).unwrap()).expect("it committed rows")
    }

    /// Shut down in order.
    pub fn powers_off(self, region: &Region) {
        region.leaves(self.instance);
        self.machine.power_off();
        assert_eq!(self.imds.v1_spoken(), 0);
    }

    fn why(&mut self) -> String {
        let what = "systemctl --no-pager --full status volinit@postgres data-postgres.mount 'postgres@*'; \
                    journalctl -q --no-pager | tail -n 60";
        self.machine.run(what).1
    }
}

/// Lines of the client's alone: the kernel writes to the console too, and the last line may be half of one.
fn last_committed(console: &[u8]) -> Option<u64> {
    let said = String::from_utf8_lossy(console);
    let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.filter_map(|line| line.trim().strip_prefix("committed ")?.parse().ok()).max()
}

/// What the administrator's image has, or the instance's user-data writes.
fn payload(image: &Image, host: &str, instance: &str, [ec2, imds]: [&str; 2]) -> Payload {
    let payload = image.payload(instance);
    let seen = |url: &str| url.replace("127.0.0.1", "10.0.2.2");
    payload.package().network().write("/etc/hostname", &format!("{host}\n"));
    payload.write("/etc/volinit/volinit.yaml", CONFIG);
    payload.write("/etc/fleet/fleet.conf", "metadata=\"region=eu-central-1\"\n");
    // On EC2 nobody needs to say where it is.
    payload.write(
        &format!("{UNITS}/volinit@.service.d/ec2.conf"),
        &format!(
            "[Service]\nEnvironment=AWS_ENDPOINT_URL={} AWS_EC2_METADATA_SERVICE_ENDPOINT={}\n",
            seen(ec2),
            seen(imds)
        ),
    );
    let release = include_str!("../../systemd/release.conf");
    payload.write(&format!("{UNITS}/volinit@postgres.service.d/release.conf"), release);
    payload.write(&format!("{UNITS}/postgres@.service"), include_str!("postgres@.service"));
    // `systemctl enable postgres@vol-…`, as story 1 has it.
    payload.link(&format!("{UNITS}/multi-user.target.wants/postgres@{VOL}.service"), "../postgres@.service");
    for (name, text) in [("initdb-once", include_str!("initdb-once")), ("client", include_str!("client"))] {
        let path = format!("/usr/local/lib/{name}");
        payload.write(&path, text);
        fs::set_permissions(payload.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    payload
}
