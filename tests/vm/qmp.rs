//! QEMU's own wire (<https://www.qemu.org/docs/master/interop/qmp-spec.html>): an NVMe disk is plugged into a running
//! machine's PCI Express port, and pulled out of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The port's name to QEMU.
pub const PORT: &str = "port0";

/// What the disk in a port is called.
pub fn disk(port: &str) -> String {
    format!("disk-{port}")
}

/// What is behind that disk.
pub fn content(port: &str) -> String {
    format!("content-{port}")
}

/// What a busy machine may take for anything.
const LONG: Duration = Duration::from_secs(120);

pub struct Qmp {
    wire: BufReader<UnixStream>,
    /// What came between a command and its answer.
    events: Vec<Value>,
}

impl Qmp {
    /// QEMU makes the socket before it runs its machine.
    pub fn connect(socket: &Path) -> Qmp {
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < LONG, "{}: {error}", socket.display()),
            }
            thread::sleep(Duration::from_millis(20));
        };
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut qmp = Qmp { wire: BufReader::new(stream), events: Vec::new() };
        qmp.hear();
        qmp.ask("qmp_capabilities", &json!({}));
        qmp
    }

    /// A disk with this content and serial number. QEMU locks the file: as long as a machine has it, no other gets it.
    ///
    /// Its model stays QEMU's, and Amazon's own bytes of Identify Controller are missing: there is no option for them.
    /// Nor can it grow: QEMU's NVMe refuses `block_resize`.
    pub fn plug(&mut self, file: &Path, serial: &str) {
        self.plug_into(PORT, file, serial);
    }

    /// The same into another port.
    pub fn plug_into(&mut self, port: &str, file: &Path, serial: &str) {
        // A flush goes no further than the host's cache, which a killed QEMU leaves whole: on a busy machine it takes long.
        let cache = json!({ "no-flush": true });
        let file = json!({ "driver": "file", "filename": file, "cache": cache });
        let content = content(port);
        self.ask("blockdev-add", &json!({ "driver": "raw", "node-name": content, "file": file, "cache": cache }));
        let disk = json!({ "driver": "nvme", "id": disk(port), "bus": port, "drive": content, "serial": serial });
        self.ask("device_add", &disk);
    }

    /// The guest is asked to let go of it, and has done so when this returns.
    pub fn unplug(&mut self) {
        self.unplug_from(PORT);
    }

    /// The same from another port.
    pub fn unplug_from(&mut self, port: &str) {
        self.events.clear();
        let disk = disk(port);
        self.ask("device_del", &json!({ "id": disk }));
        let gone = |event: &Value| event["event"] == "DEVICE_DELETED" && event["data"]["device"] == disk;
        while !self.events.iter().any(gone) {
            let event = self.hear();
            self.events.push(event);
        }
        self.ask("blockdev-del", &json!({ "node-name": content(port) }));
    }

    /// A virtio disk becomes larger; the guest is told at once.
    pub fn resize(&mut self, port: &str, bytes: u64) {
        self.ask("block_resize", &json!({ "node-name": content(port), "size": bytes }));
    }

    fn ask(&mut self, command: &str, arguments: &Value) {
        writeln!(self.wire.get_mut(), "{}", json!({ "execute": command, "arguments": arguments })).unwrap();
        loop {
            let said = self.hear();
            assert!(said.get("error").is_none(), "{command} {arguments}: {said}");
            if said.get("return").is_some() {
                return;
            }
            self.events.push(said);
        }
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.wire.read_line(&mut line).expect("QEMU answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("QEMU said {line:?}: {error}"))
    }
}
