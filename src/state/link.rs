//! What is remembered of a network interface, so that a boot that finds its link there asks nobody.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::error::Failure;
use crate::locate::wait;
use crate::report::progress;

/// A network interface that was attached here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `eni-…`
    pub id: String,
    /// Its MAC address, lower case with colons, as the kernel writes it.
    pub mac: String,
    /// Its primary private IPv4 address.
    pub address: String,
}

impl Link {
    /// The kernel's name for it, where the kernel has it.
    pub fn name(&self) -> Option<String> {
        let links = fs::read_dir("/sys/class/net").ok()?;
        let mut own = links.flatten().filter(|link| {
            let mac = fs::read_to_string(link.path().join("address")).unwrap_or_default();
            mac.trim() == self.mac
        });
        // A VLAN or a bridge on top of it has the same address; what is on top of another has a `lower_` link.
        let stacked = |folder: &Path| {
            fs::read_dir(folder).is_ok_and(|entries| {
                entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("lower_"))
            })
        };
        own.find(|link| !stacked(&link.path())).map(|link| link.file_name().to_string_lossy().into_owned())
    }

    /// Waits until the kernel has it, and gives its name there.
    ///
    /// # Errors
    /// [`Failure::Absent`] when it does not come in time.
    pub fn arrives(&self, timeout: Duration) -> Result<String, Failure> {
        let _waiting = progress::start(|| format!("waiting for the link {}", self.mac));
        // inotify tells nothing of that folder; the kernel's uevents do.
        let found = wait::until(Path::new("/sys/class/net/link"), timeout, || Ok::<_, Failure>(self.name()))?;
        found.ok_or_else(|| {
            Failure::Absent(anyhow!(
                "EC2 attached {}, but no link with its address {} has come after {} s: see the kernel's log",
                self.id,
                self.mac,
                timeout.as_secs()
            ))
        })
    }
}

impl Record for Link {
    const FOLDER: &'static str = "interfaces";
    const KEPT: bool = cfg!(feature = "ec2");
}
