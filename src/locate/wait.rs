//! Waiting for something to appear under /dev, woken by the kernel and not by a clock: inotify tells of nodes
//! and links, uevents tell of a disk that changes its size or gets its medium.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use log::debug;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

/// Where no event comes (no netlink socket in this namespace, a path outside of devtmpfs) it is looked anyway.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(2);

/// Calls `attempt` until it gives something, fails, or `timeout` has passed (`Ok(None)`).
/// Between attempts it sleeps until something happens near `path`.
pub fn until<T, E>(
    path: &Path,
    timeout: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    if let Some(found) = attempt()? {
        return Ok(Some(found));
    }
    let deadline = Instant::now() + timeout;
    let uevents = uevents().inspect_err(|e| debug!("listening for uevents: {e}")).ok();
    loop {
        // The watch comes before the look, so that nothing can slip between the two. It is made anew each
        // time, since a missing folder may have come.
        let events = watch(path).inspect_err(|e| debug!("watching {}: {e}", path.display())).ok();
        if let Some(found) = attempt()? {
            return Ok(Some(found));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        sleep(events.as_ref(), uevents.as_ref(), left.min(LOOK_AT_LEAST_EVERY));
    }
}

/// Watches the deepest folder on the way to `path` that is there.
fn watch(path: &Path) -> nix::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let created = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
    inotify.add_watch(folder, created)?;
    Ok(inotify)
}

fn uevents() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
    // Group 1 is the kernel's own; udev repeats its events, with links made, on group 2.
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 | 2))?;
    Ok(socket)
}

fn sleep(inotify: Option<&Inotify>, uevents: Option<&OwnedFd>, at_most: Duration) {
    let mut wakers: Vec<PollFd> = inotify
        .map(AsFd::as_fd)
        .into_iter()
        .chain(uevents.map(AsFd::as_fd))
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
    // A signal or an error ends the sleep early, which costs one more look.
    let _ = poll(&mut wakers, timeout);
    if let Some(socket) = uevents {
        let mut event = [0; 8192];
        while recv(socket.as_raw_fd(), &mut event, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn a_late_file_is_seen_and_an_absent_one_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/late");
        let made = path.clone();
        let maker = std::thread::spawn(move || {
            std::fs::create_dir(made.parent().unwrap()).unwrap();
            std::fs::write(made, "").unwrap();
        });
        let there = || Ok::<_, Infallible>(path.exists().then_some(()));
        assert_eq!(until(&path, Duration::from_secs(60), there), Ok(Some(())));
        maker.join().unwrap();

        let nothing = || Ok::<Option<()>, Infallible>(None);
        assert_eq!(until(&path, Duration::ZERO, nothing), Ok(None));
    }
}
