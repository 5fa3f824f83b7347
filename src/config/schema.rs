//! What a person may say, as types. Nothing here reads a file or looks at the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bytes::Bytes;

/// Everything that was said, merged and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The volumes, by name; the order is that of the names.
    pub volumes: Vec<Volume>,
    /// Network interfaces, by name; the order is that of the names.
    pub interfaces: Vec<Interface>,
    /// Who is told of the volumes.
    pub publish: Vec<Target>,
    /// Who is told how it ended.
    pub signals: Vec<Signal>,
    /// Whether volumes were named on the command line: then those are mounted that wait to be asked for.
    pub named: bool,
}

impl Config {
    /// Whether the volume is mounted now, and not only once something asks for it: what lies on it asks too.
    pub fn asks_for(&self, volume: &Volume) -> bool {
        let now = |other: &Volume| !other.on_demand();
        self.named || now(volume) || self.volumes.iter().any(|other| now(other) && other.lies_on(volume))
    }

    /// Waits this long for each thing that has to come.
    pub fn wait(&mut self, deadline: Duration) {
        for volume in &mut self.volumes {
            match &mut volume.source {
                Source::Device { timeout, .. } | Source::Ebs(Ebs { timeout, .. }) | Source::Nfs { timeout, .. } => {
                    *timeout = deadline;
                }
                Source::Image { .. } => {}
            }
        }
        for interface in &mut self.interfaces {
            interface.timeout = deadline;
        }
    }
}

/// One entry of the config: a source, a filesystem, a mount, what to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What the person calls it: letters, digits, `_`, `-` and `.`, since it is part of unit names.
    pub name: String,
    /// Where the bytes are.
    pub source: Source,
    /// What the volume carries, or is formatted with when it is blank.
    pub filesystem: Filesystem,
    /// Where it is mounted and how.
    pub mount: Mount,
    /// What the scheduler is told, key to template; the templates' words are in [`crate::publish`].
    pub metadata: BTreeMap<String, String>,
}

impl Volume {
    /// Whether it comes from an NFS server, and so has no device here.
    pub fn is_export(&self) -> bool {
        matches!(self.source, Source::Nfs { .. })
    }

    /// Whether it is mounted only when something asks for it: an NFS export with the option `noauto`.
    pub fn on_demand(&self) -> bool {
        self.is_export() && self.mount.options.iter().any(|option| option == "noauto")
    }

    /// Whether it lies on the other one: its mount point, or its image, is below the other's mount point.
    pub fn lies_on(&self, other: &Volume) -> bool {
        let image = match &self.source {
            Source::Image { path, .. } => path.starts_with(other.mount.at.as_path()),
            Source::Device { .. } | Source::Ebs(_) | Source::Nfs { .. } => false,
        };
        other.name != self.name && (image || self.mount.at.is_below(&other.mount.at))
    }

    /// Those of `all` that it lies on, also through others.
    pub fn carriers<'a>(&self, all: &'a [Volume]) -> Vec<&'a Volume> {
        let mut found: Vec<&Volume> = all.iter().filter(|other| self.lies_on(other)).collect();
        let mut next = 0;
        while let Some(carrier) = found.get(next).copied() {
            let more = all.iter().filter(|other| carrier.lies_on(other) && !found.contains(other));
            let more: Vec<&Volume> = more.collect();
            found.extend(more);
            next += 1;
        }
        found
    }

    /// Whether it can only come once the network is up: over it, or by a call to the cloud's API.
    pub fn needs_network(&self, all: &[Volume]) -> bool {
        let alone = |volume: &Volume| match &volume.source {
            Source::Ebs(ebs) if ebs.attach => true,
            Source::Nfs { .. } => true,
            // systemd goes by the option too, and moves such a mount to remote-fs.target.
            Source::Ebs(_) | Source::Device { .. } | Source::Image { .. } => {
                volume.mount.options.iter().any(|option| option == "_netdev")
            }
        };
        alone(self) || self.carriers(all).into_iter().any(alone)
    }
}

/// Where a volume's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A block device by any path; by-id links are the ones that last.
    Device {
        /// As it was said; may be a link.
        path: PathBuf,
        /// How long to wait for it to come.
        timeout: Duration,
    },
    /// A file, through a loop device; made, sparse, where it is absent.
    Image {
        /// The file, under the root.
        path: PathBuf,
        /// The size it shall have; a larger file is left as it is.
        size: Bytes,
    },
    /// An EBS volume.
    Ebs(Ebs),
    /// An NFS export, which has no device here.
    Nfs {
        /// `server:/path`.
        export: String,
        /// How long to wait for the server, and for the mount.
        timeout: Duration,
    },
}

impl Source {
    /// How long to wait for it to come; nothing for what needs no waiting.
    pub fn timeout(&self) -> Duration {
        match self {
            Source::Device { timeout, .. } | Source::Ebs(Ebs { timeout, .. }) | Source::Nfs { timeout, .. } => *timeout,
            Source::Image { .. } => Duration::ZERO,
        }
    }
}

/// Which EBS volume is meant, and what may be done to have it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ebs {
    /// The volume, by id, by tags, or one of a pool.
    pub volume: EbsVolume,
    /// Whether volinit asks EC2 for it where it is not attached; with it, EC2's word is part of the proof.
    pub attach: bool,
    /// What is done where another instance holds it.
    pub takeover: Takeover,
    /// How long to wait for it to come, EC2's own work included.
    pub timeout: Duration,
}

/// An EBS volume by id or by tags, or any one of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EbsVolume {
    /// `vol-…`
    Id(VolumeId),
    /// All of these, key to value: one volume has them.
    Tags(BTreeMap<String, String>),
    /// Many volumes have these; each node takes one of its own zone, and keeps it.
    Pool {
        /// All of these, key to value.
        tags: BTreeMap<String, String>,
        /// The tag whose value tells the volumes apart, and pairs each with a network interface.
        slot_tag: Option<String>,
    },
}

/// What is done where another instance holds the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// It stays there.
    Never,
    /// It is taken from an instance that has stopped, or is gone.
    #[default]
    WhenStopped,
    /// It is taken from a running one too, which a person knows to be dead.
    Force {
        /// How long a plain detach may stay without effect before it is forced.
        after: Duration,
    },
}

/// A network interface (ENI) that is attached before the volumes' services start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What the person calls it.
    pub name: String,
    /// Which one it is.
    pub eni: Eni,
    /// Where it is attached; 0 is the interface that the instance was launched with.
    pub device_index: u8,
    /// How long to wait for it to come.
    pub timeout: Duration,
}

impl Interface {
    /// Whether it goes with the volume of this name, and is claimed with it.
    pub fn is_slot_of(&self, volume: &str) -> bool {
        matches!(&self.eni, Eni::SlotOf(of) if of == volume)
    }
}

/// Which network interface is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eni {
    /// `eni-…`
    Id(String),
    /// All of these, key to value: one interface has them.
    Tags(BTreeMap<String, String>),
    /// The one of the same slot as the volume of this name, which is of a pool with a `slot-tag`.
    SlotOf(String),
}

/// Who is told, once, how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// CloudFormation: a resource that waits by its `CreationPolicy`.
    Stack {
        /// The stack's name or id.
        stack: String,
        /// The resource's logical id.
        resource: String,
    },
    /// An Auto Scaling group: a lifecycle hook of instances that launch.
    Lifecycle {
        /// The group's name.
        group: String,
        /// The hook's name.
        hook: String,
    },
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Stack { stack, resource } => write!(f, "CloudFormation: {resource} of {stack}"),
            Signal::Lifecycle { group, hook } => write!(f, "Auto Scaling: {hook} of {group}"),
        }
    }
}

/// An EBS volume's id, `vol-` and 8 or 17 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeId(String);

impl VolumeId {
    /// The id in `text`, where it is one.
    pub fn parse(text: &str) -> Option<VolumeId> {
        let digits = text.strip_prefix("vol-")?;
        let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && matches!(digits.len(), 8 | 17)).then(|| VolumeId(text.to_owned()))
    }

    /// The id from the serial that the NVMe controller of an EBS volume reports: the id without its dash,
    /// padded with spaces when the id is a short one (amazon-ec2-utils, ebsnvme).
    pub fn from_serial(serial: &str) -> Option<VolumeId> {
        VolumeId::parse(&format!("vol-{}", serial.trim().strip_prefix("vol")?))
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What the volume carries, or is formatted with when it is blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Its type.
    pub kind: FsType,
    /// Its label, set by mkfs; a filesystem that is there keeps the one it has.
    pub label: Option<String>,
    /// More arguments for mkfs, as they are.
    pub mkfs_options: Vec<String>,
    /// Whether a blank device may be formatted.
    pub format: Format,
}

/// The filesystems that volinit makes, checks and grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FsType {
    /// ext4
    Ext4,
    /// XFS
    Xfs,
    /// Btrfs
    Btrfs,
}

impl FsType {
    /// All of them, the default first.
    pub const ALL: [FsType; 3] = [FsType::Ext4, FsType::Xfs, FsType::Btrfs];

    /// The name that mount(2), mkfs and libblkid know it by.
    pub fn name(self) -> &'static str {
        match self {
            FsType::Ext4 => "ext4",
            FsType::Xfs => "xfs",
            FsType::Btrfs => "btrfs",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<FsType> {
        FsType::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The longest label in bytes (mke2fs(8) -L, mkfs.xfs(8) -L, mkfs.btrfs(8) -L: less than 256).
    pub fn label_limit(self) -> usize {
        match self {
            FsType::Ext4 => 16,
            FsType::Xfs => 12,
            FsType::Btrfs => 255,
        }
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether a blank device may be formatted. No value stands for "always": that consent is a person's,
/// given once, on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// When it is proved blank.
    #[default]
    IfBlank,
    /// Not even then: the volume must come with its filesystem.
    Never,
}

/// Where a volume is mounted and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The folder.
    pub at: MountPoint,
    /// As in fstab's fourth field, one option an element.
    pub options: Vec<String>,
    /// Who owns the filesystem's top folder; left alone where it is not said.
    pub owner: Option<Owner>,
    /// The top folder's permissions, as chmod takes them; left alone where it is not said.
    pub mode: Option<u32>,
    /// Mount over a folder that has files in it. They stay where they are, out of sight.
    pub nonempty: bool,
}

impl Mount {
    /// There, with nothing else said.
    pub fn at(at: MountPoint) -> Mount {
        Mount { at, options: Vec::new(), owner: None, mode: None, nonempty: false }
    }
}

/// A user and a group, as chown(1) takes them: `user`, `user:group`, `:group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: Option<Id>,
    /// The group.
    pub group: Option<Id>,
}

/// A user or a group, by number or by name; names are looked up under the root when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// The number.
    Number(u32),
    /// The name, as in /etc/passwd or /etc/group.
    Name(String),
}

/// A mount point: absolute, normal (no `.`, `..`, `//` or trailing `/`) and no folder of the system's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountPoint(PathBuf);

impl MountPoint {
    /// Folders that the system itself lives in.
    const SYSTEM: [&'static str; 19] = [
        "/bin", "/boot", "/dev", "/efi", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run",
        "/sbin", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
    ];
    /// Trees of the kernel's, where nothing of ours can be mounted at any depth.
    const KERNEL: [&'static str; 3] = ["/dev", "/proc", "/sys"];

    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the path.
    pub fn parse(text: &str) -> Result<MountPoint, String> {
        if !text.starts_with('/') {
            return Err("is not absolute: begin it with /".into());
        }
        if text == "/" {
            return Err("is the root of the system".into());
        }
        if text.chars().any(char::is_control) {
            return Err("has a control character in it".into());
        }
        if text.trim_ascii() != text {
            // systemd drops white space around Where=, and then finds another path than the unit's name says.
            return Err("begins or ends with white space".into());
        }
        let normal: PathBuf = Path::new(text).components().collect();
        let dotted = text.split('/').any(|part| part == "." || part == "..");
        if dotted || normal.as_os_str() != text {
            return Err("is not in its normal form: leave out `.`, `..`, `//` and a `/` at the end".into());
        }
        if Self::SYSTEM.contains(&text) {
            return Err("is a folder of the system's: choose one of its own, such as /data/NAME".into());
        }
        if let Some(tree) = Self::KERNEL.iter().find(|tree| normal.starts_with(tree)) {
            return Err(format!("is in {tree}, which is the kernel's: choose a folder such as /data/NAME"));
        }
        Ok(MountPoint(normal))
    }

    /// The path, absolute, as the machine sees it; [`crate::root::Root::path`] is what this process opens.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether this one is below `other`.
    pub fn is_below(&self, other: &MountPoint) -> bool {
        self != other && self.0.starts_with(&other.0)
    }
}

impl fmt::Display for MountPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Who is told of the volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// CoreOS fleet.
    Fleet,
    /// Docker Swarm, by the labels of its engine.
    Swarm,
    /// The agent of Mesos, of DC/OS or of Mesosphere's packages.
    Mesos,
    /// The client of Nomad.
    Nomad,
    /// The agent of Consul.
    Consul,
    /// The agent of Amazon ECS.
    Ecs,
    /// The kubelet.
    Kubernetes,
    /// Any unit, by an `EnvironmentFile=`.
    Env,
    /// A program of the user's, its absolute path and its arguments.
    Script(Vec<String>),
}

impl Target {
    /// Those that a name is enough for.
    pub const NAMED: [Target; 8] = [
        Target::Fleet,
        Target::Swarm,
        Target::Mesos,
        Target::Nomad,
        Target::Consul,
        Target::Ecs,
        Target::Kubernetes,
        Target::Env,
    ];

    /// The name in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Target::Fleet => "fleet",
            Target::Swarm => "swarm",
            Target::Mesos => "mesos",
            Target::Nomad => "nomad",
            Target::Consul => "consul",
            Target::Ecs => "ecs",
            Target::Kubernetes => "kubernetes",
            Target::Env => "env",
            Target::Script(_) => "script",
        }
    }
}
