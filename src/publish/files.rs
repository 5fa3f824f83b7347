//! The one writer of files: each file as it shall be, brought there in one step or not at all, and only where
//! it is not so already. It knows nothing of what the files say, and never writes through a symbolic link.

use std::fmt;
use std::fs::{self, Metadata, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use serde::Serialize;

use crate::root::Root;

/// A file as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute, as the machine sees it.
    pub path: PathBuf,
    /// What it shall be.
    pub content: Content,
}

impl File {
    /// A file with this text, or none.
    pub(super) fn of(path: String, text: Option<String>) -> File {
        File { path: path.into(), content: text.map_or(Content::Absent, Content::Text) }
    }
}

/// What a file shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file with this text.
    Text(String),
    /// A symbolic link to this path.
    Link(PathBuf),
    /// No file and no link.
    Absent,
}

/// One file that is not as it shall be, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The file, as the machine sees it.
    pub path: PathBuf,
    /// What becomes of it.
    pub what: What,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was not there.
    Created,
    /// It says something else.
    Changed,
    /// It is there no more.
    Removed,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            What::Created => "created",
            What::Changed => "changed",
            What::Removed => "removed",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.path.display())
    }
}

/// What [`write()`] would change. Changes nothing.
pub fn pending(root: &Root, files: &[File]) -> Result<Vec<Change>> {
    let changes = files.iter().map(|file| change(root, file).with_context(|| checking(root, &file.path)));
    changes.filter_map(Result::transpose).collect()
}

/// Brings each file to what it shall be, in the order given; one that is so already is not touched.
pub fn write(root: &Root, files: &[File]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for file in files {
        let Some(change) = change(root, file).with_context(|| checking(root, &file.path))? else {
            continue;
        };
        bring(root, file).with_context(|| format!("writing {}", root.path(&file.path).display()))?;
        log::info!("{change}");
        changes.push(change);
    }
    Ok(changes)
}

/// The text of the file at `path`, through links within the root; `None` where there is no file.
pub fn read(root: &Root, path: &Path) -> Result<Option<String>> {
    let text = match open_in(root, path, OFlag::O_RDONLY) {
        Ok(file) => std::io::read_to_string(fs::File::from(file)).map(Some).map_err(anyhow::Error::from),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    };
    text.with_context(|| format!("reading {}", root.path(path).display()))
}

/// Where the symbolic link at `path` points; `None` where there is no link.
pub fn read_link(root: &Root, path: &Path) -> Result<Option<PathBuf>> {
    let target = match Place::find(root, path)? {
        None => None,
        Some(place) => match fs::read_link(place.path()) {
            Ok(target) => Some(target),
            // What readlink(2) says of anything that is no link.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => None,
            Err(error) => return Err(error).with_context(|| format!("reading {}", root.path(path).display())),
        },
    };
    Ok(target)
}

/// The names in the folder at `path`, sorted; none where there is no folder.
pub fn list(root: &Root, path: &Path) -> Result<Vec<String>> {
    let context = || format!("listing {}", root.path(path).display());
    let folder = match open_in(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(folder) => folder,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(errno).with_context(context),
    };
    let entries = fs::read_dir(as_path(&folder)).with_context(context)?;
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    // A name that is not UTF-8 is none that systemd would load.
    let mut names: Vec<_> =
        names.filter_map(Result::transpose).collect::<std::io::Result<_>>().with_context(context)?;
    names.sort();
    Ok(names)
}

/// The file at `path`, made where it is not there, for state that is volinit's alone and is written in place.
pub(super) fn open_state(root: &Root, path: &Path) -> Result<fs::File> {
    let place = Place::make(root, path)?;
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    options.open(place.path()).with_context(|| format!("opening {}", root.path(path).display()))
}

/// Makes the folder at `path` and those above it, where they are not there.
pub(super) fn make_folder(root: &Root, path: &Path) -> Result<()> {
    Place::make(root, &path.join("any")).map(drop)
}

/// Whether a folder is at `path`.
pub(super) fn is_folder(root: &Root, path: &Path) -> Result<bool> {
    Ok(Place::find(root, &path.join("any"))?.is_some())
}

fn checking(root: &Root, path: &Path) -> String {
    format!("checking {}", root.path(path).display())
}

/// What is to become of `file`; an error where something stands there that is not ours to replace.
fn change(root: &Root, file: &File) -> Result<Option<Change>> {
    let place = Place::find(root, &file.path)?;
    let found = place.as_ref().map(Place::metadata).transpose()?.flatten();
    let what = match (&file.content, place.zip(found)) {
        (Content::Absent, None) => None,
        (Content::Text(_) | Content::Link(_), None) => Some(What::Created),
        (Content::Absent, Some((_, found))) if found.is_file() || found.is_symlink() => Some(What::Removed),
        (Content::Text(text), Some((place, found))) if found.is_file() => {
            (fs::read(place.path())? != text.as_bytes()).then_some(What::Changed)
        }
        (Content::Link(target), Some((place, found))) if found.is_symlink() => {
            (fs::read_link(place.path())? != *target).then_some(What::Changed)
        }
        (Content::Text(_), Some((place, found))) if found.is_symlink() => bail!(
            "it is a symbolic link to {}, and volinit does not write through links: put a plain file in its place",
            fs::read_link(place.path())?.display()
        ),
        (_, Some((_, found))) => bail!(
            "it is {}: move it away, volinit needs the place for {}",
            describe(&found),
            if matches!(file.content, Content::Link(_)) { "a symbolic link" } else { "a file" },
        ),
    };
    Ok(what.map(|what| Change { path: file.path.clone(), what }))
}

fn describe(found: &Metadata) -> &'static str {
    if found.is_dir() {
        "a folder"
    } else if found.is_file() {
        "a file"
    } else if found.is_symlink() {
        "a symbolic link"
    } else {
        "a special file"
    }
}

/// Makes `file` what it shall be; [`change`] has seen that it may.
fn bring(root: &Root, file: &File) -> Result<()> {
    let place = Place::make(root, &file.path)?;
    let mut temporary = tempfile::Builder::new();
    // Hidden, and without a suffix that anything reads: a power cut may leave it behind.
    temporary.prefix(".volinit-");
    match &file.content {
        Content::Text(text) => {
            let found = place.metadata()?;
            let mut new = temporary.tempfile_in(as_path(&place.folder))?;
            new.write_all(text.as_bytes())?;
            if let Some(found) = &found {
                fchown(new.as_file(), Some(found.uid()), Some(found.gid()))?;
            }
            let mode = found.map_or(0o644, |found| found.mode() & 0o7777);
            new.as_file().set_permissions(Permissions::from_mode(mode))?;
            new.as_file().sync_all()?;
            new.persist(place.path())?;
        }
        Content::Link(target) => {
            temporary.make_in(as_path(&place.folder), |path| symlink(target, path))?.persist(place.path())?;
        }
        Content::Absent => fs::remove_file(place.path())?,
    }
    nix::unistd::fsync(&place.folder)?;
    Ok(())
}

/// A file's folder, held open so that nobody moves it, and the file's name in it.
struct Place {
    folder: OwnedFd,
    name: PathBuf,
}

impl Place {
    /// `None` where the folder is not there.
    fn find(root: &Root, path: &Path) -> Result<Option<Place>> {
        let (folder, name) = split(path);
        match open_in(root, folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(folder) => Ok(Some(Place { folder, name })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("opening {}", root.path(folder).display())),
        }
    }

    /// Makes the folder where it is not there.
    fn make(root: &Root, path: &Path) -> Result<Place> {
        let (folder, _) = split(path);
        if let Some(place) = Place::find(root, path)? {
            return Ok(place);
        }
        if folder == Path::new("/") {
            bail!("{} is not there: make it, or name another root", root.path("/").display());
        }
        let parent = Place::make(root, folder)?;
        let context = || format!("making {}", root.path(folder).display());
        match fs::DirBuilder::new().mode(0o755).create(parent.path()) {
            // Whatever the umask of the person who runs this.
            Ok(()) => fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).with_context(context)?,
            // A neighbour was faster, or something else stands there: the next line tells.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(context),
        }
        nix::unistd::fsync(&parent.folder).with_context(context)?;
        Place::find(root, path)?.with_context(|| {
            let target = fs::read_link(parent.path()).unwrap_or_default();
            let root_folder = root.path("/");
            format!(
                "{} is a symbolic link to {}, and no such folder is in {}: volinit writes nothing outside of it",
                root.path(folder).display(),
                target.display(),
                root_folder.display(),
            )
        })
    }

    /// The file by a path that nobody can point elsewhere: its first part is the open folder.
    fn path(&self) -> PathBuf {
        as_path(&self.folder).join(&self.name)
    }

    /// Of the file itself, not of what it links to.
    fn metadata(&self) -> std::io::Result<Option<Metadata>> {
        match fs::symlink_metadata(self.path()) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// proc(5): the name of an open folder. It lets std and tempfile work below the descriptor.
fn as_path(folder: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

fn split(path: &Path) -> (&Path, PathBuf) {
    let folder = path.parent().expect("a file's path is absolute and not /");
    (folder, path.file_name().expect("a file's path ends in its name").into())
}

/// Opens `path` as the machine whose root this is would: below another root, links and `..` stay inside it.
fn open_in(root: &Root, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC;
    if root.is_host() {
        return open(path, flags, Mode::empty());
    }
    let folder = open(&root.path("/"), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    // Linux 5.6; only `--root` needs it, and an image is seldom baked on an older kernel.
    openat2(folder, path, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
