//! What who waits is told: a person at a terminal, and systemd.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rig::Rig;

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
    assert_eq!(message.trim_end(), "STATUS=volumes not up: 1 of 1: pg");
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

#[test]
fn the_journal_gets_priorities_and_reasons() {
    let mut rig = Rig::new();
    let disk = rig.disk(256 * rig::MIB);
    let mut command = rig.command();
    command.args(["up", "--device", disk.name(), "--mount", "/data/pg"]);
    let output = command.env("JOURNAL_STREAM", "8:1").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let decision = format!("<6>data-pg: format as ext4 on {}: no signature, and only zeros", disk.name());
    assert!(log.lines().any(|line| line.starts_with(&decision)), "{log}");
    assert!(log.lines().all(|line| line.starts_with('<')), "{log}");
}
