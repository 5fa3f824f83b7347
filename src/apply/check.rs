//! Lets e2fsck look at an unmounted ext4 and mend what is safe to mend without asking.
//! It is never killed: an fsck stopped half way is how disks were lost (kubernetes#140376).

use log::warn;

use super::format::path_of;
use super::run::{failed, run};
use crate::error::{Failure, Refusal};
use crate::locate::Device;

/// Runs `e2fsck -p`; with `force` also on a filesystem that says it is clean.
///
/// # Errors
/// A refusal when it can't mend it by itself: the rest is for a person.
pub fn check(device: &Device, force: bool) -> Result<(), Failure> {
    let writable = device.reopen(true)?;
    let path = path_of(&writable);
    let argv: &[&str] = if force { &["e2fsck", "-f", "-p", &path] } else { &["e2fsck", "-p", &path] };
    let output = run(&format!("e2fsck on {}", device.path.display()), argv)?;
    // The sum of: 1 errors mended, 2 mended and a reboot is due (for a mounted root), 4 errors left.
    match output.status.code() {
        Some(0) => Ok(()),
        Some(1..=3) => {
            warn!("e2fsck mended errors on {}", device.path.display());
            Ok(())
        }
        Some(4..=7) => Err(Failure::Refused(Refusal {
            subject: device.path.display().to_string(),
            found: format!(
                "carries an ext4 with errors that e2fsck -p can't mend by itself: {}",
                last_words(&output.stdout)
            ),
            way_out: format!(
                "Take a snapshot or a copy, then `e2fsck -f {}`, which asks before each repair.",
                device.path.display()
            ),
            written: true,
        })),
        _ => Err(failed(argv, &output).context(format!("checking {}", device.path.display())).into()),
    }
}

fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
