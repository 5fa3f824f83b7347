//! An NFS export -> [`Plan`] or [`Refusal`]. It has no device: there is nothing to format, check or grow. Pure.

use super::{Action, Plan, permit, permit_other, refuse};
use crate::config::Volume;
use crate::error::Refusal;
use crate::probe::{Target, TargetState};

/// Decides what to do for a volume of an NFS export. Whether its server answers is not asked here.
///
/// # Errors
/// A refusal, where the mount point is somebody else's, or the mount would hide files.
pub fn export(volume: &Volume, export: &str, target: &Target) -> Result<Plan, Refusal> {
    match &target.state {
        TargetState::Mounted { what, .. } | TargetState::Silent(what) if !what.is_export(export) => {
            return Err(refuse::other_than_export(volume, target, what, export));
        }
        TargetState::Mounted { what, owner, mode } => {
            let mut plan = Plan::new(what.fstype.clone());
            permit_other(&mut plan, volume, target, *owner, *mode);
            return Ok(plan);
        }
        TargetState::Silent(what) => return Ok(Plan::new(what.fstype.clone())),
        TargetState::Absent | TargetState::Empty | TargetState::Occupied(_) | TargetState::Unusable(_) => {}
    }
    refuse::unusable_target(volume, target)?;
    let mut plan = Plan::new("nfs".to_owned());
    plan.step(Action::Mount { at: target.path.clone() }, "it is not mounted");
    if let Some(permit) = permit(volume, target) {
        plan.step(permit, "the config asks for it");
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Mount, MountPoint, Source};
    use crate::probe::{Mounted, Ownership};

    const EXPORT: &str = "172.17.8.200:/mnt/default/data";

    fn mount(fstype: &str, source: &str) -> Mounted {
        let root = PathBuf::from("/");
        Mounted { number: 52, root, at: "/mnt/data".into(), fstype: fstype.into(), source: source.into() }
    }

    /// What is done, or why not, for who wants the top folder to be 999's with mode 0750.
    fn decided(state: TargetState, nonempty: bool) -> String {
        let at = MountPoint::parse("/mnt/data").unwrap();
        let volume = Volume {
            name: "data".into(),
            source: Source::Nfs { export: EXPORT.into(), timeout: std::time::Duration::ZERO },
            filesystem: crate::config::volume_from_flags("/dev/x".as_ref(), "/x", None, None).unwrap().filesystem,
            mount: Mount { mode: Some(0o750), nonempty, ..Mount::at(at) },
            metadata: std::collections::BTreeMap::new(),
        };
        let owner = Ownership { user: Some(999), group: None };
        match export(&volume, EXPORT, &Target { path: "/mnt/data".into(), state, owner }) {
            Ok(plan) => plan.steps.iter().map(|step| step.action.to_string() + "; ").collect(),
            Err(refusal) => refusal.found,
        }
    }

    #[test]
    fn what_stands_at_the_mount_point_decides() {
        let permit = "set owner 999 mode 0750 on /mnt/data; ";
        let anew = format!("mount at /mnt/data; {permit}");
        let other = format!("already has something else mounted on it (h:/b), not {EXPORT}");
        let mounted = |what, owner, mode| TargetState::Mounted { what, owner: (owner, 0), mode };
        for (state, expected) in [
            (TargetState::Absent, anew.as_str()),
            (TargetState::Empty, &anew),
            (mounted(mount("nfs", EXPORT), 999, 0o750), ""),
            (mounted(mount("nfs4", EXPORT), 999, 0o755), permit),
            (mounted(mount("nfs4", EXPORT), 65534, 0o750), permit),
            (mounted(mount("nfs", "h:/b"), 999, 0o750), &other),
            (mounted(mount("ext4", "h:/b"), 999, 0o750), &other),
            (TargetState::Silent(mount("nfs", EXPORT)), ""),
            (TargetState::Silent(mount("nfs", "h:/b")), &other),
            (TargetState::Unusable("is not a folder".into()), "is not a folder"),
        ] {
            assert_eq!(decided(state.clone(), false), expected, "{state:?}");
        }
        assert!(
            decided(TargetState::Occupied("dump.rdb".into()), false).starts_with("is not empty (it has `dump.rdb`")
        );
        assert_eq!(decided(TargetState::Occupied("dump.rdb".into()), true), anew);
    }
}
