//! What who waits is told: a person at a terminal, and systemd.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rig::{Rig, tool};

fn waiting() -> Rig {
    let rig = Rig::new();
    rig.config("volumes:\n  pg:\n    source: { device: /dev/disk/by-id/no-such, timeout: 3s }\n    mount: /data/pg\n");
    rig
}

#[test]
fn systemd_is_told_what_is_awaited_and_gives_more_time() {
    let rig = waiting();
    let path = rig.path("/run/notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // Not a matter of speed: an hour with no message is a message that never comes.
    socket.set_read_timeout(Some(Duration::from_secs(3600))).unwrap();
    let mut up =
        rig.command().arg("up").env("NOTIFY_SOCKET", &path).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(message.starts_with("STATUS=waiting for /dev/disk/by-id/no-such: "), "{message}");
    assert!(message.contains("\nEXTEND_TIMEOUT_USEC=60000000"), "{message}");
    up.wait().unwrap();
    let last = socket.recv(&mut buffer).unwrap();
    let message = String::from_utf8_lossy(&buffer[..last]).into_owned();
    // Not READY=1: what waits for the volume must not start without it.
    assert!(message.starts_with("STATUS=pg: absent: /dev/disk/by-id/no-such is not there after 3 s: "), "{message}");
    assert!(!message.contains("READY="), "{message}");
}

#[test]
fn a_person_at_a_terminal_sees_what_is_going_on() {
    let rig = waiting();
    // script(1) gives it a terminal.
    let command = format!("{} --root {} up", rig::VOLINIT, rig.root().display());
    let ran = rig.run(Command::new("script").args(["--quiet", "--return", "--command", &command, "/dev/null"]));
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.out.contains("\r\u{1b}[Kwaiting for /dev/disk/by-id/no-such: 1 s"), "{}", ran.out);
    assert!(ran.out.contains("pg: absent: /dev/disk/by-id/no-such is not there after 3 s"), "{}", ran.out);
}

/// A file stands for the journal's stream, and a socket of the test's for journald's, where it looks for that.
#[test]
fn the_journal_gets_priorities_reasons_and_fields() {
    let mut rig = Rig::new();
    let (disk, stream) = (rig.disk(256 * rig::MIB), rig.file("stream", 0));
    let folder = tempfile::tempdir().unwrap();
    let journald = UnixDatagram::bind(folder.path().join("socket")).unwrap();
    let entries = |listens: bool| {
        let stat = fs::metadata(&stream).unwrap();
        let to = || File::options().append(true).open(&stream).unwrap();
        let bind = if listens { "mount --bind \"$0\" /run/systemd/journal &&" } else { "" };
        let script = format!("mount -t tmpfs none /run && mkdir -p /run/systemd/journal && {bind} exec \"$@\"");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &script])
            .arg(folder.path())
            .arg(rig::VOLINIT)
            .arg("--root")
            .arg(rig.root());
        command.args(["up", "--device", disk.name(), "--mount", "/data/pg"]);
        command.env("JOURNAL_STREAM", format!("{}:{}", stat.dev(), stat.ino())).stdout(to()).stderr(to());
        command.env_remove("NOTIFY_SOCKET");
        let code = command.status().unwrap().code();
        journald.set_nonblocking(true).unwrap();
        let mut entries = Vec::new();
        let mut bytes = vec![0; 1 << 16];
        while let Ok(length) = journald.recv(&mut bytes) {
            entries.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
        (code, entries, fs::read_to_string(&stream).unwrap())
    };
    let has = |entries: &[String], fields: &[&str]| {
        let found = entries.iter().any(|entry| fields.iter().all(|field| entry.contains(&format!("{field}\n"))));
        assert!(found, "{fields:?}: {entries:#?}");
    };
    let (code, first, stream) = entries(true);
    assert_eq!((code, stream.as_str()), (Some(0), ""), "all of it goes to the socket");
    let formatted = format!("MESSAGE=data-pg: {}: formatted as ext4", disk.name());
    has(&first, &["PRIORITY=6", "VOLINIT_VOLUME=data-pg", "MESSAGE_ID=ea38e1b747524fe8b579a97f84ffaf83", &formatted]);
    let decision = format!("MESSAGE=data-pg: format as ext4 on {}: no signature, and only zeros", disk.name());
    assert!(first.iter().any(|entry| entry.contains(&decision)), "{first:#?}");

    // A refusal has lines, and is one entry. What was mounted went with the namespace.
    tool(["wipefs", "--all", "--quiet", disk.name()]);
    let (code, refused, _) = entries(true);
    assert_eq!(code, Some(3));
    let refusal: Vec<_> =
        refused.iter().filter(|entry| entry.contains("MESSAGE_ID=9c81e07fbd164d91bcb0cb94358fce7d")).collect();
    assert!(
        matches!(refusal[..], [one] if one.contains("PRIORITY=3\n") && one.contains("Nothing was written to it.\n")),
        "{refused:#?}"
    );

    // Where journald does not listen, its stream is there.
    let (_, none, stream) = entries(false);
    assert!(none.is_empty(), "{none:?}");
    assert!(stream.lines().all(|line| line.starts_with('<')), "{stream}");
    assert!(
        stream.contains("<3>data-pg: refused: ") && stream.contains("\n<3>  Nothing was written to it.\n"),
        "{stream}"
    );
}
