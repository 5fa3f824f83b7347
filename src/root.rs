//! The root that every path of the machine's own goes through: `/`, or a folder (`--root`), so that an
//! image can be prepared and a test can have a machine of its own. Devices, /proc and /sys are never under it.

use std::path::{Path, PathBuf};

/// Where the machine's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The folder that stands for `/`.
    pub fn new(folder: impl Into<PathBuf>) -> Root {
        Root(folder.into())
    }

    /// `path` (absolute, as the machine will see it) as this process opens it.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The same, where no folder on the way below the root, nor the file, is a symbolic link that could lead out of it.
    /// The running machine's own links are followed: they lead nowhere else.
    pub fn path_within(&self, path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let path = path.as_ref();
        let link = path
            .ancestors()
            .map(|part| self.path(part))
            .filter(|part| *part != self.path("/"))
            .find(|p| p.is_symlink());
        match link.filter(|_| !self.is_host()) {
            Some(link) => anyhow::bail!(
                "{} is a symbolic link, and {} may lie outside of {} by it: name the real path",
                link.display(),
                path.display(),
                self.path("/").display()
            ),
            None => Ok(self.path(path)),
        }
    }

    /// Whether this is the running machine, and not an image or a test's folder.
    pub fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }
}

impl Default for Root {
    fn default() -> Root {
        Root::new("/")
    }
}
