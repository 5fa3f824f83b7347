//! Whether an NFS server answers, and whether what is mounted from it does, each within a bound: a server that is gone,
//! or hangs, must not hang volinit. Asks, and changes nothing.

use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

/// For how long an answer is waited for.
pub const ANSWER: Duration = Duration::from_secs(3);

/// How often it is looked whether it is there: most take a millisecond.
const LOOK: Duration = Duration::from_millis(1);

/// The top folder of what is mounted at `path`; `None` where the server does not answer.
///
/// # Errors
/// What the server answered, as a stale file handle of an export that is no more.
pub fn answer(path: &Path) -> io::Result<Option<Metadata>> {
    let asked = path.to_owned();
    within(ANSWER, move || {
        // stat(2) may be answered from memory; what is free is asked for each time (nfs_statfs in fs/nfs/super.c).
        statvfs(&asked)?;
        fs::symlink_metadata(&asked)
    })
}

/// Does `work` in a thread of its own; `None` where that takes longer. It may never end: where it waits for an NFS server
/// it is killed with the process (nfs(5): only SIGKILL interrupts a pending operation).
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Option<T>> {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let ended = ends(limit, Box::new(move || *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(work())))?;
    let taken = if ended { slot.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
    taken.transpose()
}

/// The part of [`within`] that is the same for all work, which is compiled once.
fn ends(limit: Duration, work: Box<dyn FnOnce() + Send>) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let worker = thread::Builder::new().spawn(work)?;
    while !worker.is_finished() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
    Ok(true)
}

/// How a server was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers.
    Answers,
    /// It takes connections, and does not answer.
    Hung,
    /// It does not even take connections, or is no NFS server: why.
    Dead(String),
}

/// A server, by the export and the mount options that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { host, port } = self;
        write!(f, "the NFS server {host} (port {port})")
    }
}

impl Server {
    /// The server of `server:/path`, an IPv6 address in brackets, at the port of the option `port=`, else 2049 (nfs(5)).
    pub fn of(export: &str, options: &[String]) -> Server {
        let host = export.split_once(":/").map_or(export, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let said = options.iter().rev().find_map(|option| option.strip_prefix("port="));
        // 0 stands for the one that the server's rpcbind tells.
        let port = said.and_then(|port| port.parse().ok()).filter(|port| *port != 0).unwrap_or(2049);
        Server { host, port }
    }

    /// Asks it to do nothing, over TCP, for at most twice [`ANSWER`].
    pub fn sign(&self) -> Sign {
        let addresses = match self.addresses() {
            Ok(addresses) => addresses,
            Err(error) => return Sign::Dead(format!("looking up {}: {error}", self.host)),
        };
        let deadline = Instant::now() + ANSWER;
        let mut sign = Sign::Dead("its name has no address".into());
        for address in addresses {
            let left = deadline.saturating_duration_since(Instant::now()).max(LOOK);
            sign = match ask(&SocketAddr::new(address, self.port), left) {
                Ok(()) => Sign::Answers,
                // The two are what a read that took too long ends with.
                Err((true, error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Sign::Hung,
                Err((_, error)) => Sign::Dead(error.to_string()),
            };
            if !matches!(sign, Sign::Dead(_)) {
                break;
            }
        }
        sign
    }

    /// By getent(1), of libc-bin: a static binary has none of the modules that nsswitch.conf(5) names.
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = self.host.parse() {
            return Ok(vec![address]);
        }
        let mut getent = Command::new("getent");
        getent.args(["ahosts", &self.host]);
        let looked = within(ANSWER, move || getent.output())?.ok_or(ErrorKind::TimedOut)?;
        let said = String::from_utf8_lossy(&looked.stdout).into_owned();
        // Each address comes three times, for each kind of socket.
        let streams = said.lines().filter(|line| line.contains("STREAM"));
        Ok(streams.filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
    }
}

/// Calls the NULL procedure of the NFS program; whatever the server says to that, it answers. An error says whether
/// there was a connection.
fn ask(address: &SocketAddr, limit: Duration) -> Result<(), (bool, io::Error)> {
    /// RFC 5531: the mark of a record of 0x28 bytes, which is the last; its number, a call, RPC version 2, the program
    /// 100003 in version 3, procedure 0, and neither credentials nor a verifier.
    const CALL: [u32; 11] = [0x8000_0028, 0x766f_6c69, 0, 2, 100_003, 3, 0, 0, 0, 0, 0];
    let mut stream = TcpStream::connect_timeout(address, limit).map_err(|error| (false, error))?;
    let mut talk = || {
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(&CALL.map(u32::to_be_bytes).concat())?;
        let mut mark_and_number = [0; 8];
        stream.read_exact(&mut mark_and_number)?;
        if mark_and_number[4..] == CALL[1].to_be_bytes() {
            Ok(())
        } else {
            Err(io::Error::other("what listens there is no NFS server"))
        }
    };
    talk().map_err(|error| (true, error))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn server(address: &str, port: u16) -> Server {
        Server::of(&format!("{address}:/data"), &["vers=3".into(), format!("port={port}")])
    }

    /// A server that answers to 44 bytes with these.
    fn listens(says: Option<&'static [u8]>) -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taker = listener.try_clone().unwrap();
        if let Some(says) = says {
            thread::spawn(move || {
                let (mut stream, _) = taker.accept().unwrap();
                stream.read_exact(&mut [0; 44]).unwrap();
                stream.write_all(says).unwrap();
            });
        }
        (listener, port)
    }

    #[test]
    fn a_server_is_named_by_the_export_and_the_options() {
        let of = |export: &str, options: &[&str]| {
            let Server { host, port } =
                Server::of(export, &options.iter().map(ToString::to_string).collect::<Vec<_>>());
            (host, port)
        };
        assert_eq!(of("172.17.8.200:/mnt/default/data", &["vers=3"]), ("172.17.8.200".into(), 2049));
        assert_eq!(of("[fe80::1]:/", &["port=20490", "port=2050"]), ("fe80::1".into(), 2050));
        assert_eq!(of("nas:/a:/b", &["port=0"]), ("nas".into(), 2049));
    }

    #[test]
    fn a_server_that_answers_is_told_from_one_that_hangs_and_one_that_is_dead() {
        let (_kept, port) = listens(Some(b"\x80\0\0\x18volirest"));
        assert_eq!(server("127.0.0.1", port).sign(), Sign::Answers);
        // The kernel takes the connection, and nobody ever reads from it.
        let (_kept, port) = listens(None);
        assert_eq!(server("127.0.0.1", port).sign(), Sign::Hung);
        let (_kept, port) = listens(Some(b"SSH-2.0-OpenSSH"));
        assert_eq!(server("127.0.0.1", port).sign(), Sign::Dead("what listens there is no NFS server".into()));
        let (listener, port) = listens(None);
        drop(listener);
        let Sign::Dead(why) = server("127.0.0.1", port).sign() else { panic!("nobody listens there") };
        assert!(why.contains("Connection refused"), "{why}");
    }

    #[test]
    fn a_name_is_looked_up_as_the_machine_does() {
        let (_kept, port) = listens(Some(b"\x80\0\0\x18voli"));
        assert_eq!(server("localhost", port).sign(), Sign::Answers);
        let nowhere = server("no-such-host.invalid", port).sign();
        assert_eq!(nowhere, Sign::Dead("its name has no address".into()));
    }

    #[test]
    fn work_that_does_not_end_is_left() {
        let never = || loop {
            thread::park();
        };
        assert_eq!(within::<()>(Duration::from_millis(20), never).unwrap(), None);
        assert_eq!(within(ANSWER, || Ok(1)).unwrap(), Some(1));
        assert!(answer(Path::new("/no/such")).is_err());
    }
}
