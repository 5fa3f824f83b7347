//! What stands against a plan: each refusal with its evidence and its way out. Pure.

use std::fmt;
use std::path::Path;

use crate::bytes::Bytes;
use crate::config::{FsType, Volume};
use crate::error::Refusal;
use crate::probe::{Content, DEVICE, DeviceFacts, Facts, Found, Mounted, Sign, Superblock, Target, TargetState};
use crate::state::{self, Remembered};

const WRONG_DISK: &str = "If it is the wrong disk, correct `source`: `volinit devices` lists them all.";

/// Nothing was written when a plan is refused.
fn refusal(subject: impl fmt::Display, found: impl Into<String>, way_out: impl Into<String>) -> Refusal {
    Refusal { subject: subject.to_string(), found: found.into(), way_out: way_out.into(), written: false }
}

/// The mount point carries a mount: it has to be this volume's, whole.
pub fn other_mount(volume: &Volume, facts: &Facts, shown: &Mounted) -> Result<(), Refusal> {
    let device = facts.device.path.display();
    let refuse = |found: String| Err(taken(volume, &facts.target, found));
    if !facts.device.partitions.is_empty() || !facts.device.mounts.contains(shown) {
        return refuse(something_else(shown, device));
    }
    if shown.fstype != volume.filesystem.kind.name() {
        let wanted = volume.filesystem.kind;
        return refuse(format!("has {device} mounted on it as {}, but the config says {wanted}", shown.fstype));
    }
    let subvolume = volume.mount.options.iter().any(|option| option.starts_with("subvol"));
    if shown.root != Path::new("/") && !subvolume {
        return refuse(format!("shows only the folder {} of {device}", shown.root.display()));
    }
    Ok(())
}

/// The mount point carries a mount that is not of this export.
pub fn other_than_export(volume: &Volume, target: &Target, shown: &Mounted, export: &str) -> Refusal {
    taken(volume, target, something_else(shown, export))
}

fn something_else(shown: &Mounted, wanted: impl fmt::Display) -> String {
    format!("already has something else mounted on it ({}), not {wanted}", shown.source.display())
}

/// The mount point is somebody else's.
fn taken(volume: &Volume, target: &Target, found: String) -> Refusal {
    let at = target.path.display();
    let way_out = format!("See who uses it (`findmnt {at}`), and unmount it or give this volume another mount point.");
    refusal(&volume.mount.at, found, way_out)
}

/// A device that is in use, or can't be used, whatever it carries.
pub fn unusable_device(device: &DeviceFacts) -> Result<(), Refusal> {
    let path = device.path.display();
    if device.is_root_disk() {
        return Err(refusal(path, "is the disk that the system runs from", WRONG_DISK));
    }
    if let Some(mounted) = device.mounts.first() {
        let at = mounted.at.display();
        return Err(refusal(
            path,
            format!("is already mounted, at {at}"),
            format!("Unmount it there, or let the config say `mount: {{ at: {at} }}`."),
        ));
    }
    if device.swap {
        return Err(refusal(
            path,
            "is in use as swap space",
            "Take it out of use with `swapoff`, if it really is this volume's.",
        ));
    }
    if !device.holders.is_empty() {
        let found = format!("is in use by {}", device.holders.join(", "));
        return Err(refusal(
            path,
            found,
            "Name that device as the source, or take it apart first: `lsblk` shows the stack.",
        ));
    }
    if !device.partitions.is_empty() {
        let found = format!("has partitions ({})", device.partitions.join(", "));
        let way_out = format!(
            "Name the partition that is meant as the source, not the whole disk. To give them all up: `sfdisk --delete \
             {path}`, then see what is said of it."
        );
        return Err(refusal(path, found, way_out));
    }
    if device.size == Bytes(0) {
        return Err(refusal(path, "has a size of zero", WRONG_DISK));
    }
    Ok(())
}

/// A device that can't be written to, for a volume that shall be.
pub fn read_only(volume: &Volume, device: &DeviceFacts) -> Result<(), Refusal> {
    let wanted = volume.mount.options.iter().any(|option| option == "ro");
    if !device.read_only || wanted {
        return Ok(());
    }
    Err(refusal(device.path.display(), "is read-only", "Attach it writable, or mount it with `options: [ro]`."))
}

/// A mount point that can't be mounted on, or that would hide somebody's files.
pub fn unusable_target(volume: &Volume, target: &Target) -> Result<(), Refusal> {
    let at = &volume.mount.at;
    match &target.state {
        TargetState::Unusable(why) => {
            Err(refusal(at, why, "Give `mount: at:` a real folder: systemd refuses links there too."))
        }
        TargetState::Occupied(entry) if !volume.mount.nonempty => Err(refusal(
            at,
            format!(
                "is not empty (it has `{entry}` in it, on the disk below): a service may have started there without its volume"
            ),
            "Look whose files they are and move them away, or say `nonempty: true` under `mount` to hide them below the volume.",
        )),
        TargetState::Occupied(_)
        | TargetState::Absent
        | TargetState::Empty
        | TargetState::Mounted { .. }
        | TargetState::Silent(_) => Ok(()),
    }
}

/// Blank, where the config forbids to format or the device forbids to write.
pub fn blank(device: &DeviceFacts, why: &str) -> Refusal {
    refusal(
        device.path.display(),
        format!("is blank, and {why}: the filesystem that should be on it is not there"),
        format!("{WRONG_DISK} If it shall be formatted, attach it writable and leave `format: never` out."),
    )
}

/// Blank, though EC2 made it from a snapshot.
pub fn from_snapshot(device: &DeviceFacts, snapshot: &str) -> Refusal {
    refusal(
        device.path.display(),
        format!("reads as blank, but EC2 made it from the snapshot {snapshot}: something should be on it"),
        "Look at what the snapshot is of. A volume that shall be formatted is made without one.",
    )
}

/// The device carries another filesystem than the volume had when it last stood here, or none any more.
pub fn another_volume(volume: &Volume, facts: &Facts, remembered: &Remembered) -> Result<(), Refusal> {
    let found = match &facts.content {
        Content::Filesystem(found) if found.uuid == remembered.uuid => return Ok(()),
        Content::Filesystem(found) => {
            format!("carries {} (UUID {})", super::describe(found.kind, &found.label), found.uuid)
        }
        Content::Blank(_) | Content::Interrupted(_) => "is blank".to_owned(),
        // These are refused in words of their own.
        Content::Foreign(_)
        | Content::Damaged { .. }
        | Content::Ambiguous(_)
        | Content::Data { .. }
        | Content::Unreadable(_) => return Ok(()),
    };
    let was = &remembered.volume_id.as_ref().map(|id| format!(" on {id}")).unwrap_or_default();
    let record = state::path::<Remembered>(&volume.name);
    Err(refusal(
        facts.device.path.display(),
        format!(
            "{found}, but the volume `{}` was {} (UUID {}){was} when it last stood here",
            volume.name, remembered.r#type, remembered.uuid
        ),
        format!(
            "{WRONG_DISK} If it is meant from now on, let volinit forget the other one: `rm {}`.",
            record.display()
        ),
    ))
}

/// A filesystem of another type.
pub fn other_type(device: &DeviceFacts, found: &Superblock, wanted: FsType) -> Refusal {
    let kind = found.kind;
    refusal(
        device.path.display(),
        format!("carries {} (UUID {}), but the config says {wanted}", super::describe(kind, &found.label), found.uuid),
        format!("If its data is wanted, say `type: {kind}` under `filesystem`. {WRONG_DISK}"),
    )
}

/// A filesystem whose end is not on the device.
pub fn too_small(device: &DeviceFacts, found: &Superblock) -> Refusal {
    refusal(
        device.path.display(),
        format!("is smaller ({}) than the {} on it ({}): its end is missing", device.size, found.kind, found.size),
        "It may be a disk that was copied in part, or cut. Give it its full size again, then check it; volinit never shrinks.",
    )
}

/// One signature, of something that volinit does not make.
pub fn foreign(device: &DeviceFacts, sign: &Sign) -> Refusal {
    refusal(device.path.display(), format!("carries {sign}: it is not blank"), WRONG_DISK)
}

/// Signatures that exclude each other.
pub fn ambiguous(device: &DeviceFacts, signs: &[Sign]) -> Refusal {
    let path = device.path.display().to_string();
    let list: Vec<String> = signs.iter().map(ToString::to_string).collect();
    let list = if list.is_empty() { "several signatures that exclude each other".into() } else { list.join(" and ") };
    refusal(
        &path,
        format!("carries {list}: which of them is meant can't be told"),
        format!(
            "`wipefs {path}` shows them all; a person who knows takes the wrong one away with `wipefs --offset`. {WRONG_DISK}"
        ),
    )
}

/// A filesystem that needs a person.
pub fn damaged(device: &DeviceFacts, kind: FsType, evidence: &str, repair: &str) -> Refusal {
    refusal(device.path.display(), format!("carries a damaged {kind}: {evidence}"), mend(device, repair))
}

/// No signature, and yet not zeros.
pub fn data(device: &DeviceFacts, offset: u64, found: &Found) -> Refusal {
    let (found, way_out) = match found {
        Found::Backup { kind, offset, repair } => (
            format!(
                "carries what is left of {kind}: a backup superblock is at byte {offset}, and the primary one is gone"
            ),
            mend(device, repair),
        ),
        Found::Trace { what, offset, repair } => {
            (format!("is not blank: {what} is at byte {offset}"), format!("{} {WRONG_DISK}", mend(device, repair)))
        }
        Found::Bytes => (
            format!("is not blank: there is no signature on it, but there is data at byte {offset}"),
            WRONG_DISK.to_owned(),
        ),
    };
    refusal(device.path.display(), found, way_out)
}

/// What could not be read may be anything.
pub fn unreadable(device: &DeviceFacts, why: &str) -> Refusal {
    refusal(
        device.path.display(),
        format!("could not be read, so that nothing is known of it: {why}"),
        "Look into the kernel's log (`dmesg`), and attach the volume again. Nothing is formatted that can't be read.",
    )
}

/// Whether volinit could use the device for a new volume, and why.
pub fn verdict(device: &DeviceFacts, content: &Content) -> (bool, String) {
    let (usable, mut why) = usable(device, content);
    if device.is_instance_store() {
        why.push_str("; instance store: lost at stop");
    }
    (usable, why)
}

fn usable(device: &DeviceFacts, content: &Content) -> (bool, String) {
    let no = |refusal: Refusal| (false, refusal.found);
    if let Err(refusal) = unusable_device(device) {
        return no(refusal);
    }
    match content {
        Content::Blank(_) | Content::Interrupted(_) if device.read_only => (false, "is blank and read-only".into()),
        Content::Interrupted(_) => (true, "a format was cut off, would be made anew".into()),
        Content::Blank(_) => (true, "blank, would be formatted".into()),
        Content::Filesystem(_) => (true, "has its filesystem, would be mounted".into()),
        Content::Foreign(sign) => no(foreign(device, sign)),
        Content::Ambiguous(signs) => no(ambiguous(device, signs)),
        Content::Damaged { kind, evidence, repair } => no(damaged(device, *kind, evidence, repair)),
        Content::Data { offset, found } => no(data(device, *offset, found)),
        Content::Unreadable(why) => no(unreadable(device, why)),
    }
}

fn mend(device: &DeviceFacts, repair: &str) -> String {
    format!("Take a snapshot or a copy, then `{}`.", repair.replace(DEVICE, &device.path.display().to_string()))
}
