//! The mount point as it is now, and who shall own it. Reads folders and the user tables; changes nothing.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::mounts::{self, Mounted};
use super::nfs;
use crate::config::{Id, Mount, Owner};
use crate::root::Root;

/// What stands at the mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path as this process opens it.
    pub path: PathBuf,
    /// What is there.
    pub state: TargetState,
    /// The numbers of the owner that the config asks for.
    pub owner: Ownership,
}

/// What stands at a mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing: the folder will be made.
    Absent,
    /// An empty folder.
    Empty,
    /// A folder with something in it, by the name of one entry.
    Occupied(String),
    /// Not a folder, or reached through a link: systemd refuses such a Where=, and so do we.
    Unusable(String),
    /// A mount.
    Mounted {
        /// Of what.
        what: Mounted,
        /// The owner of its top folder.
        owner: (u32, u32),
        /// The permissions of its top folder.
        mode: u32,
    },
    /// A mount from an NFS server, which does not answer.
    Silent(Mounted),
}

/// Numeric user and group, as far as they are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The user.
    pub user: Option<u32>,
    /// The group.
    pub group: Option<u32>,
}

/// Looks at the mount point of `mount`.
pub fn look(mount: &Mount, root: &Root, mounts: &[Mounted]) -> Result<Target> {
    let path = root.path(mount.at.as_path());
    let owner = mount.owner.as_ref().map_or(Ok(Ownership::default()), |owner| resolve(owner, root))?;
    let state = state(&path, root, mount.at.as_path(), mounts)?;
    Ok(Target { path, state, owner })
}

fn state(path: &Path, root: &Root, said: &Path, mounts: &[Mounted]) -> Result<TargetState> {
    let looking = || format!("looking at {}", path.display());
    let mounted = mounts::at(mounts, &mounts::real(path));
    // Before anything else touches the folder.
    if let Some(what) = mounted.filter(|what| what.is_nfs()) {
        let answer = nfs::answer(path).with_context(looking)?;
        return Ok(answer.map_or_else(|| TargetState::Silent(what.clone()), |top| of_mount(what, &top)));
    }
    if let Some(link) = link_on_the_way(root, said) {
        return Ok(TargetState::Unusable(format!("is reached through the link {}", link.display())));
    }
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TargetState::Absent),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(TargetState::Unusable("has a file where a folder should be on the way to it".into()));
        }
        Err(error) => return Err(error).with_context(looking),
    };
    if !meta.is_dir() {
        return Ok(TargetState::Unusable("is not a folder".into()));
    }
    if let Some(what) = mounted {
        return Ok(of_mount(what, &meta));
    }
    let first = fs::read_dir(path).with_context(looking)?.next().transpose().with_context(looking)?;
    Ok(first
        .map_or(TargetState::Empty, |entry| TargetState::Occupied(entry.file_name().to_string_lossy().into_owned())))
}

fn of_mount(what: &Mounted, top: &Metadata) -> TargetState {
    let (owner, mode) = ((top.uid(), top.gid()), top.permissions().mode() & 0o7777);
    TargetState::Mounted { what: what.clone(), owner, mode }
}

/// The first link among the folders of the path below the root.
fn link_on_the_way(root: &Root, said: &Path) -> Option<PathBuf> {
    let mut parts: Vec<&Path> = said.ancestors().filter(|part| *part != Path::new("/")).collect();
    parts.reverse();
    parts.into_iter().map(|part| root.path(part)).find(|part| part.is_symlink())
}

/// Looks names up under the root: an image's users are not those of the machine that makes it.
fn resolve(owner: &Owner, root: &Root) -> Result<Ownership> {
    let number = |id: &Option<Id>, table: &str, kind: &str| match id {
        None => Ok(None),
        Some(Id::Number(number)) => Ok(Some(*number)),
        Some(Id::Name(name)) => {
            let path = root.path(table);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let number = lookup(&text, name);
            number.map(Some).ok_or_else(|| {
                anyhow!(
                    "the {kind} `{name}` is not in {}: make it before volinit runs, or write its number",
                    path.display()
                )
            })
        }
    };
    Ok(Ownership {
        user: number(&owner.user, "/etc/passwd", "user")?,
        group: number(&owner.group, "/etc/group", "group")?,
    })
}

/// The number in the third field of passwd(5) and group(5).
fn lookup(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MountPoint;

    fn mount(at: &str) -> Mount {
        Mount { at: MountPoint::parse(at).unwrap(), options: vec![], owner: None, mode: None, nonempty: false }
    }

    #[test]
    fn what_stands_at_a_mount_point_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let state = |at: &str| look(&mount(at), &root, &[]).unwrap().state;
        let path = |at: &str| root.path(at);

        assert_eq!(state("/data/pg"), TargetState::Absent);
        fs::create_dir_all(path("/data/pg")).unwrap();
        assert_eq!(state("/data/pg"), TargetState::Empty);
        fs::write(path("/data/pg/PG_VERSION"), "15").unwrap();
        assert_eq!(state("/data/pg"), TargetState::Occupied("PG_VERSION".into()));
        assert!(matches!(state("/data/pg/PG_VERSION"), TargetState::Unusable(why) if why == "is not a folder"));
        assert!(matches!(state("/data/pg/PG_VERSION/x"), TargetState::Unusable(_)));
        std::os::unix::fs::symlink("data", path("/link")).unwrap();
        assert!(matches!(state("/link/pg"), TargetState::Unusable(why) if why.contains("link")));
    }

    #[test]
    fn owners_are_looked_up_under_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        fs::create_dir(root.path("/etc")).unwrap();
        fs::write(root.path("/etc/passwd"), "root:x:0:0::/:\npostgres:x:999:998::/:\n").unwrap();
        fs::write(root.path("/etc/group"), "postgres:x:997:\n").unwrap();
        let owner = |user: Id, group: Id| resolve(&Owner { user: Some(user), group: Some(group) }, &root);

        let found = owner(Id::Name("postgres".into()), Id::Name("postgres".into())).unwrap();
        assert_eq!(found, Ownership { user: Some(999), group: Some(997) });
        let unknown = owner(Id::Name("kafka".into()), Id::Number(1)).unwrap_err().to_string();
        assert!(unknown.contains("the user `kafka` is not in"), "{unknown}");
    }
}
