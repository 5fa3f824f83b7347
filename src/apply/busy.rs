//! EBUSY that passes by itself: tried again for a moment.
//!
//! A thread that starts a tool forks, and until its exec is over the child has open what all other threads have, a disk
//! that is being formatted among it. When that thread closes the disk and mounts it, the kernel may still say that
//! somebody has it exclusively. Programs that udev starts look at a new disk in the same way.

use std::io;
use std::thread;
use std::time::Duration;

use nix::libc::EBUSY;

const AGAIN: Duration = Duration::from_millis(10);
const ATTEMPTS: u32 = 200;

/// What comes of `attempt`, once it is not EBUSY any more; after two seconds that too.
pub fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(EBUSY) => thread::sleep(AGAIN),
            other => return other,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_busy_is_tried_again_and_not_for_ever() {
        let busy = || io::Error::from_raw_os_error(EBUSY);
        let mut left = 3;
        let soon = patiently(|| {
            left -= 1;
            if left > 0 { Err(busy()) } else { Ok(left) }
        });
        assert_eq!(soon.unwrap(), 0);
        let mut calls = 0;
        let never = patiently(|| {
            calls += 1;
            Err::<(), _>(busy())
        });
        assert_eq!((never.unwrap_err().raw_os_error(), calls), (Some(EBUSY), ATTEMPTS + 1));
        let other = patiently(|| Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)));
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
