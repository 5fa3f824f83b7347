//! Lets e2fsck look at an unmounted ext4 and mend what is safe to mend without asking.
//! It is never killed: an fsck stopped half way is how disks were lost (kubernetes#140376).

use log::warn;

use super::run::run;
use crate::error::{Failure, Refusal};
use crate::locate::Device;

/// Runs `e2fsck -p`; with `force` also on a filesystem that says it is clean.
///
/// # Errors
/// A refusal when it can't mend it by itself: the rest is for a person.
pub fn check(device: &Device, force: bool) -> Result<(), Failure> {
    let arguments: &[&str] = if force { &["-f", "-p"] } else { &["-p"] };
    let ended = run("e2fsck", arguments, device)?;
    let path = device.path.display();
    // The sum of: 1 errors mended, 2 mended and a reboot is due (for a mounted root), 4 errors left.
    match ended.status.code() {
        Some(0) => Ok(()),
        Some(1..=3) => {
            warn!("e2fsck mended errors on {path}: {}", ended.words());
            Ok(())
        }
        Some(4..=7) => Err(Failure::Refused(Refusal {
            subject: path.to_string(),
            found: format!("carries an ext4 with errors that e2fsck -p can't mend by itself: {}", ended.words()),
            way_out: format!("Take a snapshot or a copy, then `e2fsck -f {path}`, which asks before each repair."),
            written: true,
        })),
        _ => Err(ended.error().context(format!("checking {path}")).into()),
    }
}
