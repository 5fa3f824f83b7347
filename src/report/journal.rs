//! The journal's own wire (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a line with its fields. Sixty lines in place
//! of a library that knows more: the binary has two megabytes to be in.

use std::cell::RefCell;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use log::Level;
use nix::sys::stat::fstat;

/// What can be told apart by `MESSAGE_ID=`, as the target of a log line; volinit(8) has the list.
pub mod event {
    /// A filesystem was made.
    pub const FORMATTED: &str = "volinit::formatted";
    /// A filesystem was grown.
    pub const GROWN: &str = "volinit::grown";
    /// Going on would have put data at risk.
    pub const REFUSED: &str = "volinit::refused";
    /// EC2 attached a volume, and its disk is here.
    pub const ATTACHED: &str = "volinit::attached";

    /// Drawn once, and never changed: people search by them.
    pub(super) fn id(target: &str) -> Option<&'static str> {
        match target {
            FORMATTED => Some("ea38e1b747524fe8b579a97f84ffaf83"),
            GROWN => Some("125d13186117458abfb68f1ee946aeb5"),
            REFUSED => Some("9c81e07fbd164d91bcb0cb94358fce7d"),
            ATTACHED => Some("1a6532dd990445358cceb6d8d04e7bce"),
            _ => None,
        }
    }
}

const SOCKET: &str = "/run/systemd/journal/socket";

thread_local! {
    static VOLUME: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does `work`; what this thread logs meanwhile is said of this volume.
pub fn of_volume<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let outer = VOLUME.replace(Some(name.to_owned()));
    let done = work();
    VOLUME.set(outer);
    done
}

/// Whether what is written to `stream` goes to the journal (`$JOURNAL_STREAM`, systemd.exec(5)): what a program that ran
/// volinit put in its place does not.
pub fn is_behind(stream: impl AsFd) -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(stream).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The journal of the machine that this runs on.
pub struct Journal {
    socket: Option<UnixDatagram>,
    unit: Option<String>,
}

impl Journal {
    /// Where it cannot be reached, its stream behind stderr will do.
    pub fn connect() -> Journal {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(SOCKET).map(|()| socket)
        };
        Journal { socket: connect().ok(), unit: unit() }
    }

    /// Sends an entry, of the volume that this thread works on.
    pub fn send(&self, level: Level, target: &str, text: &str) {
        let volume = VOLUME.with_borrow(Clone::clone);
        let entry = entry(level, target, text, volume.as_deref(), self.unit.as_deref());
        if self.socket.as_ref().is_none_or(|socket| socket.send(&entry).is_err()) {
            // What stands behind stderr is the journal too; each line needs its priority.
            for line in text.lines() {
                eprintln!("<{}>{line}", priority(level));
            }
        }
    }
}

/// syslog(3)'s priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn entry(level: Level, target: &str, text: &str, volume: Option<&str>, unit: Option<&str>) -> Vec<u8> {
    let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER=volinit\n", priority(level)).into_bytes();
    let mut field = |name: &str, value: &str| {
        entry.extend(name.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend((value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend(value.as_bytes());
        entry.push(b'\n');
    };
    let fields = [("VOLINIT_VOLUME", volume), ("MESSAGE_ID", event::id(target)), ("OBJECT_SYSTEMD_UNIT", unit)];
    for (name, value) in fields {
        if let Some(value) = value {
            field(name, value);
        }
    }
    field("MESSAGE", text);
    entry
}

/// The unit that runs this process. The journal asks /proc for it, and of a process that has ended by then it learns
/// nothing; so that `journalctl --unit` and `systemctl status` find all lines they are told
/// (<https://github.com/systemd/systemd/issues/2913>).
fn unit() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .find_map(|line| Some(line.rsplit_once('/')?.1).filter(|name| name.ends_with(".service")))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_fields() {
        let entry = entry(Level::Info, event::GROWN, "pg: grown", Some("pg"), Some("volinit@pg.service"));
        assert_eq!(
            String::from_utf8(entry).unwrap(),
            "PRIORITY=6\nSYSLOG_IDENTIFIER=volinit\nVOLINIT_VOLUME=pg\nMESSAGE_ID=125d13186117458abfb68f1ee946aeb5\n\
             OBJECT_SYSTEMD_UNIT=volinit@pg.service\nMESSAGE=pg: grown\n"
        );
    }

    #[test]
    fn lines_go_with_their_length() {
        let entry = entry(Level::Error, "volinit::boot", "a\nbc", None, None);
        assert_eq!(entry, b"PRIORITY=3\nSYSLOG_IDENTIFIER=volinit\nMESSAGE\n\x04\0\0\0\0\0\0\0a\nbc\n");
    }

    #[test]
    fn a_volume_is_that_of_the_work_alone() {
        let now = || VOLUME.with_borrow(Clone::clone);
        let (outer, inner, again) = of_volume("a", || (now(), of_volume("b", now), now()));
        assert_eq!(
            (outer.as_deref(), inner.as_deref(), again.as_deref(), now()),
            (Some("a"), Some("b"), Some("a"), None)
        );
    }
}
