//! ([`Volume`], [`Facts`]) -> [`Plan`] or [`Refusal`]: the one decision. Pure: no file is opened here, no
//! command is run, and the same facts always give the same plan.

mod erase;
mod export;
mod growth;
mod refuse;

use std::fmt;
use std::path::PathBuf;

pub use export::export;
pub use refuse::{data, unreadable, verdict};

use crate::bytes::Bytes;
use crate::config::{Format, FsType, Volume};
use crate::error::Refusal;
use crate::probe::{
    Content, DeviceFacts, Facts, Interrupted, Ownership, Proof, State, Superblock, Target, TargetState, is_read_whole,
};
use crate::state::Remembered;

/// What will be done and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is on the device, for a person: `ext4, 50 GiB`.
    pub found: String,
    /// The steps, in their order; none when everything is as it should be.
    pub steps: Vec<Step>,
    /// What would be good to do and can't be done now.
    pub warnings: Vec<String>,
    /// The consent that it makes use of.
    pub erased: Option<String>,
}

/// One effect and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// An effect on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the file of an image larger, and its loop device with it.
    EnlargeImage {
        /// The file.
        image: PathBuf,
        /// Its new size.
        to: Bytes,
    },
    /// Make all of it zero, by a person's consent.
    Erase {
        /// What is lost, for a person.
        what: String,
    },
    /// Take away what a format of ours left that was cut off.
    Undo(Interrupted),
    /// Make a filesystem.
    Format {
        /// Its type.
        kind: FsType,
    },
    /// Let e2fsck mend what it can do safely.
    Check {
        /// Look at everything, even where the filesystem claims to be clean.
        force: bool,
    },
    /// Grow an ext4 before it is mounted.
    GrowUnmounted,
    /// Mount it.
    Mount {
        /// The folder, as this process opens it.
        at: PathBuf,
    },
    /// Grow a mounted filesystem.
    Grow {
        /// Its type.
        kind: FsType,
        /// The folder, as this process opens it.
        at: PathBuf,
    },
    /// Give the top folder its owner and permissions, where they differ.
    Permit {
        /// The folder, as this process opens it.
        at: PathBuf,
        /// The owner.
        owner: Ownership,
        /// The permissions.
        mode: Option<u32>,
    },
}

impl Action {
    /// The word for it in JSON, and in a sentence about what will be done.
    pub fn word(&self) -> &'static str {
        match self {
            Action::EnlargeImage { .. } => "enlarge",
            Action::Erase { .. } => "erase",
            Action::Undo(_) => "undo",
            Action::Format { .. } => "format",
            Action::Check { .. } => "check",
            Action::GrowUnmounted | Action::Grow { .. } => "grow",
            Action::Mount { .. } => "mount",
            Action::Permit { .. } => "permit",
        }
    }

    /// The same as a thing that was done: `formatted as ext4`. `size` is what the filesystem has now.
    pub fn done(&self, size: Option<Bytes>) -> String {
        let to = size.map(|size| format!(" to {size}")).unwrap_or_default();
        match self {
            Action::EnlargeImage { to, .. } => format!("enlarged to {to}"),
            Action::Erase { .. } => "erased".into(),
            Action::Undo(_) => "what a cut off format left taken away".into(),
            Action::Format { kind } => format!("formatted as {kind}"),
            Action::Check { .. } => "checked".into(),
            Action::GrowUnmounted => format!("grown{to}, before the mount"),
            Action::Mount { at } => format!("mounted at {}", at.display()),
            Action::Grow { .. } => format!("grown{to}"),
            Action::Permit { .. } => "owner and mode set".into(),
        }
    }

    /// Whether it writes to the device by another way than a mounted filesystem.
    pub fn writes_to_device(&self) -> bool {
        match self {
            Action::EnlargeImage { .. }
            | Action::Erase { .. }
            | Action::Undo(_)
            | Action::Format { .. }
            | Action::Check { .. }
            | Action::GrowUnmounted => true,
            Action::Mount { .. } | Action::Grow { .. } | Action::Permit { .. } => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::EnlargeImage { image, to } => write!(f, "enlarge {} to {to}", image.display()),
            Action::Erase { what } => write!(f, "ERASE {what}"),
            Action::Undo(_) => f.write_str("take away what a format left that was cut off"),
            Action::Format { kind } => write!(f, "format as {kind}"),
            Action::Check { force: false } => f.write_str("check with e2fsck -p"),
            Action::Check { force: true } => f.write_str("check with e2fsck -f -p"),
            Action::GrowUnmounted => f.write_str("grow with resize2fs, before the mount"),
            Action::Mount { at } => write!(f, "mount at {}", at.display()),
            Action::Grow { kind, .. } => write!(f, "grow the {kind}"),
            Action::Permit { at, owner, mode } => {
                write!(f, "set")?;
                if let Some(user) = owner.user {
                    write!(f, " owner {user}")?;
                }
                if let Some(group) = owner.group {
                    write!(f, " group {group}")?;
                }
                if let Some(mode) = mode {
                    write!(f, " mode {mode:04o}")?;
                }
                write!(f, " on {}", at.display())
            }
        }
    }
}

/// Decides what to do with a volume's device. `remembered` is what the volume was when it last stood here.
///
/// # Errors
/// A refusal, when anything else than doing nothing would put data at risk.
///
/// `consent` is a person's, to erase the volume that it names: it turns a refusal of what is on the device, and no
/// other, into a plan that erases it.
pub fn plan(
    volume: &Volume,
    facts: &Facts,
    remembered: Option<&Remembered>,
    consent: Option<&str>,
) -> Result<Plan, Refusal> {
    let device = &facts.device;
    if let TargetState::Silent(what) = &facts.target.state {
        // No device is mounted over the network.
        refuse::other_mount(volume, facts, what)?;
    }
    if let TargetState::Mounted { what, owner, mode } = &facts.target.state {
        if let Some(remembered) = remembered {
            refuse::another_volume(volume, facts, remembered)?;
        }
        refuse::other_mount(volume, facts, what)?;
        return Ok(mounted(volume, facts, *owner, *mode));
    }
    refuse::unusable_device(device)?;
    refuse::unusable_target(volume, &facts.target)?;
    if let Content::Unreadable(why) = &facts.content {
        return Err(refuse::unreadable(device, why));
    }
    let mut plan = match of_content(volume, facts, remembered) {
        Ok(mut plan) => {
            if consent.is_some() {
                plan.warnings.push("nothing was erased: what is on the device was not refused".into());
            }
            plan
        }
        Err(refusal) => erase::erase(volume, facts, remembered, consent, refusal)?,
    };
    if let Some(permit) = permit(volume, &facts.target) {
        plan.step(permit, "the config asks for it");
    }
    Ok(plan)
}

/// What follows from what is on the device.
fn of_content(volume: &Volume, facts: &Facts, remembered: Option<&Remembered>) -> Result<Plan, Refusal> {
    let device = &facts.device;
    if let Some(remembered) = remembered {
        refuse::another_volume(volume, facts, remembered)?;
    }
    match &facts.content {
        Content::Blank(proof) => format(volume, facts, *proof, None),
        Content::Interrupted(ours) => format(volume, facts, ours.proof, Some(ours)),
        Content::Filesystem(superblock) => keep(volume, facts, superblock),
        Content::Foreign(sign) => Err(refuse::foreign(device, sign)),
        Content::Damaged { kind, evidence, repair } => Err(refuse::damaged(device, *kind, evidence, repair)),
        Content::Ambiguous(signs) => Err(refuse::ambiguous(device, signs)),
        Content::Data { offset, found } => Err(refuse::data(device, *offset, found)),
        Content::Unreadable(why) => Err(refuse::unreadable(device, why)),
    }
}

impl Plan {
    /// Nothing to do.
    pub fn new(found: String) -> Plan {
        Plan { found, steps: Vec::new(), warnings: Vec::new(), erased: None }
    }

    fn step(&mut self, action: Action, reason: impl Into<String>) {
        self.steps.push(Step { action, reason: reason.into() });
    }

    /// Whether it makes a filesystem.
    pub fn formats(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Format { .. }))
    }

    /// Whether it mounts what is there, and changes nothing but the owner and mode of the top folder.
    pub fn only_mounts(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.action, Action::Mount { .. } | Action::Permit { .. }))
    }

    /// Whether it mounts the volume, which was not mounted before.
    pub fn mounts(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Mount { .. }))
    }

    /// Whether any step writes to the device itself.
    pub fn writes_to_device(&self) -> bool {
        self.steps.iter().any(|step| step.action.writes_to_device())
    }
}

/// The volume stands. It may be smaller than its device, or belong to somebody else.
fn mounted(volume: &Volume, facts: &Facts, owner: (u32, u32), mode: u32) -> Plan {
    let kind = volume.filesystem.kind;
    let at = facts.target.path.clone();
    let Content::Filesystem(found) = &facts.content else {
        // The kernel has it mounted and our parser can't say how large it is: there is nothing to improve.
        return Plan::new(format!("{kind}, mounted"));
    };
    let mut plan = Plan::new(format!("{}, {}", describe(kind, &found.label), found.size));
    if let Some(grow) = growth::of_filesystem(volume, facts, found) {
        if kind == FsType::Ext4 && !facts.may_grow_mounted_ext4 {
            plan.warnings.push(format!(
                "the ext4 on {} could grow from {} to {}, but while it is mounted that needs the capability \
                 CAP_SYS_RESOURCE: it grows when it is mounted the next time, or by `volinit grow` from a process that has it",
                facts.device.path.display(),
                grow.from,
                grow.to
            ));
        } else {
            grow.enlarge(&mut plan);
            plan.step(Action::Grow { kind, at }, grow.reason());
        }
    }
    permit_other(&mut plan, volume, &facts.target, owner, mode);
    plan
}

fn format(volume: &Volume, facts: &Facts, proof: Proof, cut_off: Option<&Interrupted>) -> Result<Plan, Refusal> {
    let kind = volume.filesystem.kind;
    if volume.filesystem.format == Format::Never {
        return Err(refuse::blank(&facts.device, "the config says `format: never`"));
    }
    if facts.device.read_only {
        return Err(refuse::blank(&facts.device, "it is read-only"));
    }
    let cloud = facts.device.cloud.as_ref();
    if let Some(snapshot) = cloud.and_then(|cloud| cloud.snapshot.as_ref()).filter(|_| cut_off.is_none()) {
        return Err(refuse::from_snapshot(&facts.device, snapshot));
    }
    let found =
        cut_off.map_or_else(|| "blank".to_owned(), |ours| format!("a format as {} that was cut off", ours.kind));
    let mut plan = Plan::new(format!("{found}, {}", facts.device.size));
    if let Some(ours) = cut_off {
        let reason = "its record is on the disk, and every byte that was read is zero or what the record says";
        plan.step(Action::Undo(ours.clone()), reason);
    }
    if let Some(grow) = growth::of_image(volume, facts) {
        grow.enlarge(&mut plan);
    }
    let made =
        if cloud.is_some_and(|cloud| cloud.snapshot.is_none()) { "; EC2 made it without a snapshot" } else { "" };
    let zeros = match (kind, is_made_of_zeros(&facts.device)) {
        _ if is_read_whole(facts.device.size) => "",
        (FsType::Btrfs, _) => "",
        (FsType::Ext4, true) => ", so samples of its journal's zeros will do",
        (FsType::Xfs, true) => ", so samples of its log's zeros will do",
        (FsType::Ext4, false) => "; its journal's zeros are all read first, and the kernel zeroes its inode tables",
        (FsType::Xfs, false) => "; its log's zeros are all read first",
    };
    let reason = format!(
        "no signature, and only zeros in the {} that were read at {} places{made}{zeros}",
        proof.bytes_read, proof.reads
    );
    plan.step(Action::Format { kind }, reason);
    plan.step(Action::Mount { at: facts.target.path.clone() }, "it is not mounted");
    Ok(plan)
}

/// Whether EC2 said in this run that it made the disk of zeros, and it was taken from no instance.
pub fn is_made_of_zeros(device: &DeviceFacts) -> bool {
    device.cloud.as_ref().is_some_and(|cloud| cloud.snapshot.is_none() && cloud.taken_from.is_none())
}

fn keep(volume: &Volume, facts: &Facts, found: &Superblock) -> Result<Plan, Refusal> {
    let device = &facts.device;
    let kind = volume.filesystem.kind;
    if found.kind != kind {
        return Err(refuse::other_type(device, found, kind));
    }
    if found.size > device.size {
        return Err(refuse::too_small(device, found));
    }
    refuse::read_only(volume, device)?;

    let mut plan = Plan::new(format!("{}, {}", describe(kind, &found.label), found.size));
    let at = facts.target.path.clone();
    let mount = Action::Mount { at: at.clone() };
    if device.read_only {
        plan.step(mount, "it is not mounted");
        return Ok(plan);
    }

    let grow = growth::of_filesystem(volume, facts, found);
    if let Some(grow) = &grow {
        grow.enlarge(&mut plan);
    }
    let asks = match &found.state {
        State::NeedsCheck { reason } => Some(reason.clone()),
        // Its last node may not have written all of it.
        State::Clean => device
            .cloud
            .as_ref()
            .and_then(|cloud| cloud.taken_from.as_ref())
            .filter(|_| kind == FsType::Ext4)
            .map(|instance| format!("it was taken from {instance}")),
    };
    match &grow {
        Some(grow) if kind == FsType::Ext4 && !facts.may_grow_mounted_ext4 => {
            // resize2fs refuses a filesystem that was mounted since its last whole check.
            let reason =
                asks.unwrap_or_else(|| "resize2fs asks for a whole check before it grows an unmounted ext4".into());
            plan.step(Action::Check { force: true }, reason);
            let reason = format!("{}; without CAP_SYS_RESOURCE it can't grow once it is mounted", grow.reason());
            plan.step(Action::GrowUnmounted, reason);
            plan.step(mount, "it is not mounted");
        }
        grow => {
            if let Some(reason) = asks {
                plan.step(Action::Check { force: false }, reason);
            }
            plan.step(mount, "it is not mounted");
            if let Some(grow) = grow {
                plan.step(Action::Grow { kind, at }, grow.reason());
            }
        }
    }
    Ok(plan)
}

/// Where what is mounted has not the owner and mode that the config asks for.
fn permit_other(plan: &mut Plan, volume: &Volume, target: &Target, owner: (u32, u32), mode: u32) {
    let wanted = target.owner;
    let differs = wanted.user.is_some_and(|user| user != owner.0)
        || wanted.group.is_some_and(|group| group != owner.1)
        || volume.mount.mode.is_some_and(|wanted| wanted != mode);
    if differs && let Some(permit) = permit(volume, target) {
        plan.step(permit, "it is not as the config asks");
    }
}

/// Where the config asks for an owner or a mode.
fn permit(volume: &Volume, target: &Target) -> Option<Action> {
    let owner = target.owner;
    let mode = volume.mount.mode;
    let asked = owner.user.is_some() || owner.group.is_some() || mode.is_some();
    asked.then(|| Action::Permit { at: target.path.clone(), owner, mode })
}

/// ``ext4 `data` ``
fn describe(kind: FsType, label: &str) -> String {
    if label.is_empty() { kind.to_string() } else { format!("{kind} `{label}`") }
}

#[cfg(test)]
mod tests;
