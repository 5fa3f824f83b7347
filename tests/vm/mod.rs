//! A small virtual machine: Debian's cloud kernel and an initramfs of ours under QEMU, without KVM. Its disk is one
//! whose power the test holds in its hand, or there is none until one is plugged in.

pub mod debian;
pub mod disk;
pub mod qmp;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use disk::Disk;

/// Chance that can be had again: splitmix64.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The initramfs with volinit in it, made anew; what it is made from is kept in target/vm.
pub fn initramfs(out: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("vm");
    let initramfs = out.join("initramfs");
    let built = Command::new(here.join("tests/vm/build.sh"))
        .args([&kept, Path::new(env!("CARGO_BIN_EXE_volinit")), &here.join("tests/vm/init"), &initramfs])
        .status()
        .unwrap();
    assert!(built.success(), "tests/vm/build.sh: {built}");
    fs::copy(kept.join("kernel"), out.join("kernel")).unwrap();
    initramfs
}

/// One processor and little memory, for an initramfs that is all there is.
const SMALL: [&str; 6] = ["-cpu", "Nehalem", "-smp", "1", "-m", "384"];

/// A machine that runs.
pub struct Vm {
    qemu: Child,
    events: Receiver<Event>,
    disk: Option<JoinHandle<u64>>,
    console: PathBuf,
    started: Instant,
    /// For how long it may say nothing.
    patience: Duration,
}

/// What a machine lets one see.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// What /init said.
    Said(String),
    /// The disk's power went.
    Cut,
    /// The machine powered off.
    Gone,
}

impl Vm {
    /// Boots from `initramfs`, with `image` as its disk and `words` on the kernel's command line. `clock` is what
    /// QEMU's -rtc takes.
    pub fn boot(initramfs: &Path, image: &Path, words: &str, clock: &str, cut_at: Option<u64>, chance: Chance) -> Vm {
        let socket = image.with_extension("sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let nbd = format!("driver=nbd,node-name=disk,server.type=unix,server.path={}", socket.display());
        // Not QEMU's NVMe: it takes a write with force-unit-access and leaves it in the cache.
        let disk = "virtio-blk-pci,drive=disk,serial=powercut";
        let hardware = [&SMALL[..], &["-rtc", clock, "-blockdev", &nbd, "-device", disk]].concat();
        let (mut vm, send) = Vm::start(initramfs, image, words, &hardware);
        let file = File::options().read(true).write(true).open(image).unwrap();
        let mut disk = Disk::new(file, cut_at, chance);
        vm.disk = Some(thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            disk.serve(&stream, || drop(send.send(Event::Cut)));
            disk.steps
        }));
        vm
    }

    /// The same without a disk, in a network in which this machine is 10.0.2.2, with a port into which
    /// [`qmp::Qmp`] plugs one. It does what it is told by [`Vm::run`].
    pub fn serving(initramfs: &Path, name: &Path, words: &str) -> (Vm, qmp::Qmp) {
        let socket = name.with_extension("qmp");
        let qmp = format!("unix:{},server=on,wait=off", socket.display());
        // An empty romfile: nothing boots from the network, and looking for something takes time.
        let network = ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="];
        let port = format!("pcie-root-port,id={},chassis=1,slot=1", qmp::PORT);
        let hardware = [&SMALL[..], &network, &["-device", &port, "-qmp", &qmp]].concat();
        let (vm, _) = Vm::start(initramfs, name, &format!("job=serve {words}"), &hardware);
        assert_eq!(vm.next(), Event::Said("ready".into()), "{}", vm.console());
        (vm, qmp::Qmp::connect(&socket))
    }

    /// `name` is what the files beside it are called after.
    fn start(initramfs: &Path, name: &Path, words: &str, hardware: &[&str]) -> (Vm, Sender<Event>) {
        let console = name.with_extension("console");
        // A test that is killed, and drops nothing, takes its machines along.
        let mut qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-M", "q35"])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-kernel"])
            .arg(initramfs.with_file_name("kernel"))
            .arg("-initrd")
            .arg(initramfs)
            // no_timer_check: on a busy machine an emulated timer may not tick while the kernel tries it, and it panics.
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check {words}")])
            .args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"])
            .args(hardware)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(name.with_extension("qemu")).unwrap())
            .spawn()
            .expect("this test needs setpriv and qemu-system-x86_64 (`make deps` installs all)");

        let (send, events) = mpsc::channel();
        let serial = BufReader::new(qemu.stdout.take().unwrap());
        let said = send.clone();
        thread::spawn(move || {
            for line in serial.lines().map_while(Result::ok) {
                if let Some(line) = line.trim_end().strip_prefix("vm: ") {
                    let _ = said.send(Event::Said(line.to_owned()));
                }
            }
            let _ = said.send(Event::Gone);
        });
        let patience = Duration::from_secs(120);
        (Vm { qemu, events, disk: None, console, started: Instant::now(), patience }, send)
    }

    /// A line for the shell of a [`Vm::serving`]: the exit code, and all that was printed.
    pub fn run(&mut self, line: &str) -> (u8, String) {
        writeln!(self.qemu.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut out = String::new();
        loop {
            let Event::Said(said) = self.next() else { panic!("{line}: the machine is gone: {}", self.console()) };
            if let Some(code) = said.strip_prefix("exit ") {
                return (code.parse().unwrap(), out);
            }
            // An empty line has lost the blank behind the bar.
            let said = said.strip_prefix('|').unwrap_or(&said);
            out += said.strip_prefix(' ').unwrap_or(said);
            out.push('\n');
        }
    }

    /// What comes next; a machine from which nothing comes for minutes hangs.
    pub fn next(&self) -> Event {
        match self.events.recv_timeout(self.patience) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => panic!("the machine hangs: {}", self.console()),
            Err(RecvTimeoutError::Disconnected) => Event::Gone,
        }
    }

    /// What the kernel and /init had to say, and QEMU itself.
    pub fn console(&self) -> String {
        let files = [self.console.clone(), self.console.with_extension("qemu")];
        files.map(|file| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()).concat()
    }

    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends it at once, where it has not ended; how many writes and flushes its disk had.
    pub fn kill(&mut self) -> u64 {
        let _ = self.qemu.kill();
        self.qemu.wait().unwrap();
        let Some(disk) = self.disk.take() else { return 0 };
        // One that ended before it came to its disk: the server still waits for it.
        let _ = std::os::unix::net::UnixStream::connect(self.console.with_extension("sock"));
        disk.join().unwrap_or(0)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}
