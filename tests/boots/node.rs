//! A node as its administrator makes it: the package, a config with volumes, and for each a service that needs it.

use std::fmt::Write as _;

use crate::vm::debian::{Disk, Machine, Payload};

/// A volume of the config, `/data/NAME`.
#[derive(Clone, Copy)]
pub struct Volume {
    pub name: &'static str,
    /// What its id ends in.
    pub number: u32,
    pub kind: &'static str,
    /// More of `source` and of `mount`, as YAML.
    pub source: &'static str,
    pub options: &'static str,
    /// A disk that can grow, and is none of EBS.
    pub virtio: bool,
}

impl Volume {
    pub const fn new(name: &'static str, number: u32, kind: &'static str) -> Volume {
        Volume { name, number, kind, source: "", options: "", virtio: false }
    }

    /// Its id, as EC2 and the config have it.
    pub fn id(&self) -> String {
        format!("vol-{:017x}", self.number)
    }

    /// The same as the disk reports it.
    pub fn serial(&self) -> String {
        self.id().replacen('-', "", 1)
    }

    pub fn device(&self) -> String {
        let bus = if self.virtio { "virtio-" } else { "nvme-Amazon_Elastic_Block_Store_" };
        format!("/dev/disk/by-id/{bus}{}", self.serial())
    }

    pub fn disk(&self, file: &std::path::Path) -> Disk {
        Disk { serial: self.serial(), file: file.into(), nvme: !self.virtio }
    }

    fn yaml(&self) -> String {
        let Volume { name, kind, source, options, virtio, .. } = self;
        let from = if *virtio { format!("device: {}", self.device()) } else { format!("ebs: {}", self.id()) };
        format!(
            "  {name}:\n    source: {{ {from}{source} }}\n    filesystem: {{ type: {kind} }}\n    \
             mount: {{ at: /data/{name}, owner: nobody, mode: \"0700\"{options} }}\n"
        )
    }
}

/// The package, the config, and the services.
pub fn install(payload: &Payload, volumes: &[Volume]) {
    package_and_config(payload, volumes);
    for volume in volumes {
        // Who may write there only once the folder has its owner.
        service(payload, volume.name, "User=nobody\n");
    }
}

pub fn package_and_config(payload: &Payload, volumes: &[Volume]) {
    payload.package().write("/etc/volinit/volinit.yaml", &config(volumes));
}

pub fn config(volumes: &[Volume]) -> String {
    volumes.iter().fold("volumes:\n".to_owned(), |mut text, volume| {
        write!(text, "{}", volume.yaml()).unwrap();
        text
    })
}

/// `svc-NAME.service`, which writes to its volume; with more lines of its own.
pub fn service(payload: &Payload, name: &str, more: &str) {
    payload.unit(
        &format!("svc-{name}.service"),
        "multi-user.target",
        &format!(
            "[Unit]\nDescription=What needs /data/{name}\nRequiresMountsFor=/data/{name}\n\
             [Service]\nType=exec\n{more}\
             ExecStart=/bin/sh -c 'echo row >>/data/{name}/rows && exec sleep infinity'\n"
        ),
    );
}

/// What a person sees of a volume's unit: `systemctl status` and the journal.
pub fn told(machine: &mut Machine, name: &str) -> [String; 2] {
    // The exit code tells that it failed.
    let status = machine.run(&format!("systemctl status --no-pager --full volinit@{name}")).1;
    [status, machine.shell(&format!("journalctl --no-pager --quiet -o cat -u volinit@{name}"))]
}

/// The service runs, and what it wrote is on the volume.
pub fn runs(machine: &mut Machine, volume: &Volume) {
    let name = volume.name;
    let (code, said) = machine.run(&format!("systemctl is-active svc-{name}"));
    assert_eq!(code, 0, "svc-{name} is {said}{}", why(machine, name));
    let source = machine.shell(&format!("findmnt --noheadings --mountpoint /data/{name} --output SOURCE,FSTYPE"));
    let device = machine.shell(&format!("readlink -f {}", volume.device()));
    let is: Vec<&str> = source.split_whitespace().collect();
    assert_eq!(is, [device.trim(), volume.kind], "/data/{name}");
    machine.shell(&format!("grep -qx row /data/{name}/rows"));
}

/// The service does not run, nothing is mounted, and nobody wrote into the folder on the root disk.
pub fn waits(machine: &mut Machine, name: &str) {
    let (code, said) = machine.run(&format!("systemctl is-active svc-{name}"));
    assert_ne!(code, 0, "svc-{name} is {said}");
    let (code, mounted) = machine.run(&format!("findmnt --mountpoint /data/{name}"));
    assert_ne!(code, 0, "{mounted}");
    let files = machine.run(&format!("find /data/{name} -mindepth 1 2>/dev/null")).1;
    assert_eq!(files, "", "on the root disk");
}

/// Starts the service, as a person does after the repair.
pub fn starts(machine: &mut Machine, volume: &Volume) {
    let name = volume.name;
    let (code, said) = machine.run(&format!("systemctl start svc-{name}"));
    assert_eq!(code, 0, "systemctl start svc-{name}: {said}{}", why(machine, name));
    runs(machine, volume);
}

/// All that systemd has to say of a volume and its service, for a test that failed.
pub fn why(machine: &mut Machine, name: &str) -> String {
    let mount = format!("$(systemd-escape --path --suffix=mount /data/{name})");
    machine
        .run(&format!(
            "systemctl --no-pager --full status volinit@{name} \"{mount}\" svc-{name}; systemctl list-jobs --no-pager"
        ))
        .1
}
