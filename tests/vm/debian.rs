//! A whole machine: Debian 12 with systemd, udev and cloud-init, and disks that come, go and grow while it runs. Its
//! root is a layer over the image that debian.sh keeps, and of one test alone; what is to be different in it before
//! systemd starts is a [`Payload`].

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::qmp::{self, Qmp};
use super::{Event, Vm};

/// What every boot of it has on its command line: no time goes into what no test looks at, and an interrupt that
/// QEMU's NVMe lost (RVCK-Project/rvck#81) is looked for after 10 s.
const WORDS: &str = "mitigations=off nokaslr audit=0 random.trust_cpu=on systemd.show_status=0 net.ifnames=0 \
                     nvme_core.io_timeout=10 nvme_core.admin_timeout=10 \
                     modprobe.blacklist=kvm_amd,kvm,aesni_intel,cryptd,button,psmouse,iTCO_wdt,i2c_i801,pcspkr";

/// By this name volinit is systemd's generator.
const GENERATOR: &str = "/usr/lib/systemd/system-generators/volinit-generator";

/// What [`Payload::network`] writes. Where it is, the machine has a network card.
const NETWORK: &str = "/etc/systemd/network/eth0.network";

/// Off, unless a boot says `cloud-init=enabled`.
const CLOUD_INIT: &str = "cloud-init=";

/// Ports that are free for disks to come, beside those of the disks that are there from the start.
const SPARE: usize = 2;

/// Where what all boots share is kept, and what belongs to these.
pub struct Image {
    kept: PathBuf,
    folder: PathBuf,
}

/// A disk that is there when the machine starts, in the port that is called after its serial.
pub struct Disk {
    pub serial: String,
    pub file: PathBuf,
    /// What EBS volumes are; else a virtio disk, which QEMU can make larger.
    pub nvme: bool,
}

impl Image {
    /// Makes it, where it is not there yet: minutes, once. What the boots leave goes into `folder`.
    pub fn new(folder: &Path) -> Image {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("vm");
        script(&[&kept]);
        fs::copy(kept.join("kernel"), folder.join("kernel")).unwrap();
        Image { kept, folder: folder.to_owned() }
    }

    /// A sparse file for a disk.
    pub fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.folder.join(name);
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A payload of nothing.
    pub fn payload(&self, name: &str) -> Payload {
        let folder = self.folder.join(format!("{name}.payload"));
        fs::create_dir(&folder).unwrap();
        Payload { folder, wire: None }
    }
}

fn script(arguments: &[&Path]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/debian.sh");
    let made = Command::new(path).args(arguments).status().unwrap();
    assert!(made.success(), "tests/vm/debian.sh: {made}");
}

/// A tree of files that is copied over the root before systemd starts.
pub struct Payload {
    pub folder: PathBuf,
    /// The two ends, this machine's first, of a wire to one other machine. Without it a network card is in a network with
    /// the host.
    wire: Option<[PathBuf; 2]>,
}

impl Payload {
    pub fn path(&self, path: &str) -> PathBuf {
        let path = self.folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn write(&self, path: &str, text: &str) -> &Payload {
        fs::write(self.path(path), text).unwrap();
        self
    }

    pub fn link(&self, path: &str, to: &str) -> &Payload {
        symlink(to, self.path(path)).unwrap();
        self
    }

    /// A unit of the administrator's, wanted by this target.
    pub fn unit(&self, name: &str, wanted_by: &str, text: &str) -> &Payload {
        self.write(&format!("/etc/systemd/system/{name}"), text);
        self.link(&format!("/etc/systemd/system/{wanted_by}.wants/{name}"), &format!("../{name}"))
    }

    /// A network in which this machine is 10.0.2.2, and network-online.target is what it says.
    pub fn network(&self) -> &Payload {
        // The address that QEMU gives by DHCP, without asking for it: that takes seconds.
        self.card("Address=10.0.2.15/24\nGateway=10.0.2.2")
    }

    /// A network of two machines, in which this one has this address; each is told how the other's end is called. Who takes
    /// the place of a machine that is gone has its end.
    pub fn wired(&mut self, image: &Image, address: &str, [own, other]: [&str; 2]) -> &Payload {
        self.wire = Some([own, other].map(|end| image.folder.join(end).with_extension("wire")));
        self.card(&format!("Address={address}/24"))
    }

    fn card(&self, address: &str) -> &Payload {
        let text = format!("[Match]\nName=eth0\n[Network]\n{address}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n");
        self.write(NETWORK, &text);
        for (target, unit) in [("multi-user", "networkd"), ("network-online", "networkd-wait-online")] {
            let service = format!("systemd-{unit}.service");
            let link = format!("/etc/systemd/system/{target}.target.wants/{service}");
            self.link(&link, &format!("/lib/systemd/system/{service}"));
        }
        self
    }

    /// An image that has volinit, and not by the package.
    pub fn without_generator(&self) {
        let _ = fs::remove_file(self.path(GENERATOR));
    }

    /// What the package installs.
    pub fn package(&self) -> &Payload {
        let binary = self.path("/usr/bin/volinit");
        let stripped = Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_volinit")).status();
        assert!(stripped.unwrap().success(), "strip");
        fs::set_permissions(binary, fs::Permissions::from_mode(0o755)).unwrap();
        for unit in ["volinit.service", "volinit@.service", "volinit-grow.service", "volinit-grow.timer"] {
            let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit);
            fs::copy(ours, self.path(&format!("/usr/lib/systemd/system/{unit}"))).unwrap();
        }
        self.link(GENERATOR, "../../../bin/volinit").ebs_links()
    }

    /// What udev's own rules give on EC2.
    pub fn ebs_links(&self) -> &Payload {
        // The links to an EBS volume have Amazon's model in their names, and QEMU's disks have QEMU's.
        self.write(
            "/etc/udev/rules.d/61-ebs.rules",
            "KERNEL==\"nvme*n1\", ATTRS{serial}==\"vol?*\", \
             SYMLINK+=\"disk/by-id/nvme-Amazon_Elastic_Block_Store_$attr{serial}\"\n",
        )
    }
}

/// A machine that runs.
pub struct Machine {
    pub name: String,
    vm: Vm,
    ports: Arc<Mutex<Ports>>,
}

/// Where its disks are plugged in. Who plugs may be another than who waits for what the machine says.
pub struct Ports {
    qmp: Qmp,
    /// The ports without a disk.
    free: Vec<String>,
}

impl Ports {
    /// Plugs an NVMe disk in. The name of its port.
    pub fn plug(&mut self, file: &Path, serial: &str) -> String {
        let port = self.free.pop().expect("a port is free");
        self.qmp.plug_into(&port, file, serial);
        port
    }

    /// Pulls out what is in a port, which is free then.
    pub fn unplug(&mut self, port: &str) {
        self.qmp.unplug_from(port);
        self.free.push(port.to_owned());
    }
}

impl Machine {
    /// Boots it, and returns as soon as a shell is there: systemd has begun. A name that had a boot before has that
    /// one's root again.
    pub fn boot(image: &Image, name: &str, payload: &Payload, disks: &[Disk], words: &str) -> Machine {
        let at = image.folder.join(name);
        let (root, initramfs) = (at.with_extension("root"), at.with_extension("initramfs"));
        if !root.exists() {
            let base = image.kept.join("debian.img");
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
                .args([&base, &root])
                .status()
                .expect("this test needs qemu-img (`make deps` installs all)");
            assert!(made.success(), "qemu-img: {made}");
        }
        script(&[&image.kept, &payload.folder, &initramfs]);

        let socket = at.with_extension("qmp");
        let _ = fs::remove_file(&socket);
        let drive = format!("driver=qcow2,node-name=root,file.driver=file,file.filename={}", root.display());
        let mut hardware: Vec<String> = ["-cpu", "max,-svm,-la57", "-smp", "2", "-m", "1024"].map(Into::into).into();
        let mut option = |name: &str, value: String| hardware.extend([name.to_owned(), value]);
        option("-qmp", format!("unix:{},server=on,wait=off", socket.display()));
        option("-blockdev", format!("{drive},cache.no-flush=on"));
        option("-device", "virtio-blk-pci,drive=root,serial=root".into());
        let spare: Vec<String> = (0..SPARE).map(|number| format!("spare{number}")).collect();
        for (number, port) in disks.iter().map(|disk| &disk.serial).chain(&spare).enumerate() {
            option("-device", format!("pcie-root-port,id={port},chassis={number},slot={number}"));
        }
        if payload.folder.join(NETWORK.trim_start_matches('/')).exists() {
            let (net, mac) = match &payload.wire {
                None => ("user,id=net".to_owned(), "52:54:00:12:34:56"),
                Some([own, other]) => {
                    let _ = fs::remove_file(own);
                    let ends = format!("local.path={},remote.path={}", own.display(), other.display());
                    let net = format!("dgram,id=net,local.type=unix,remote.type=unix,{ends}");
                    (net, if own < other { "52:54:00:00:00:01" } else { "52:54:00:00:00:02" })
                }
            };
            option("-netdev", net);
            // An empty romfile: nothing boots from the network, and looking for something takes time.
            option("-device", format!("virtio-net-pci,netdev=net,mac={mac},romfile="));
        }
        for Disk { serial, file, nvme } in disks {
            let content = json!({
                "driver": "raw", "node-name": qmp::content(serial), "cache": { "no-flush": true },
                "file": { "driver": "file", "filename": file, "cache": { "no-flush": true } },
            });
            let driver = if *nvme { "nvme" } else { "virtio-blk-pci" };
            option("-blockdev", content.to_string());
            let device = json!({
                "driver": driver, "id": qmp::disk(serial), "bus": serial, "drive": qmp::content(serial), "serial": serial,
            });
            option("-device", device.to_string());
        }
        let hardware: Vec<&str> = hardware.iter().map(String::as_str).collect();
        // Vm takes the kernel from beside the initramfs.
        let off = if words.contains(CLOUD_INIT) { String::new() } else { format!("{CLOUD_INIT}disabled") };
        let (mut vm, _) = Vm::start(&initramfs, &at, &format!("{WORDS} {words} {off}"), &hardware);
        // A fault may be one of waiting; that ends after systemd's 90 s, on a busy machine, several times.
        vm.patience = Duration::from_secs(900);
        let ports = Arc::new(Mutex::new(Ports { qmp: Qmp::connect(&socket), free: spare }));
        let mut machine = Machine { name: name.into(), vm, ports };
        machine.ready();
        machine
    }

    fn ready(&mut self) {
        let first = self.vm.next();
        assert_eq!(first, Event::Said("ready".into()), "{}: {}", self.name, self.vm.console());
    }

    /// The boot has come to its end, whatever failed in it: the machine is of use.
    pub fn settled(&mut self) {
        self.run("systemctl is-system-running --wait");
        let (code, said) = self.run("systemctl is-active multi-user.target || ! systemctl list-jobs --no-pager");
        assert_eq!(code, 0, "{}: multi-user.target: {said}", self.name);
    }

    /// A shell line: the exit code, and all that was printed.
    pub fn run(&mut self, line: &str) -> (u8, String) {
        self.vm.run(line)
    }

    /// A shell line that has to succeed; what it printed.
    pub fn shell(&mut self, line: &str) -> String {
        let (code, out) = self.run(line);
        assert_eq!(code, 0, "{}: {line}: {out}", self.name);
        out
    }

    /// For who plugs disks while this machine is waited for.
    pub fn shared_ports(&self) -> Arc<Mutex<Ports>> {
        Arc::clone(&self.ports)
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plugs an NVMe disk in. The name of its port.
    pub fn plug(&mut self, file: &Path, serial: &str) -> String {
        self.ports().plug(file, serial)
    }

    /// Pulls out what is in a port, which is free then.
    pub fn unplug(&mut self, port: &str) {
        self.ports().unplug(port);
    }

    /// Makes a virtio disk larger.
    pub fn resize(&mut self, serial: &str, bytes: u64) {
        self.ports().qmp.resize(serial, bytes);
    }

    /// Shuts it down in order.
    pub fn power_off(mut self) {
        writeln!(self.vm.qemu.stdin.as_mut().unwrap(), "systemctl poweroff").unwrap();
        // The answer to the line may come, or be too late.
        while self.vm.next() != Event::Gone {}
        let console = self.vm.console();
        assert!(console.contains("Power down"), "{} went otherwise: {console}", self.name);
    }

    /// Ends it without a word to it.
    pub fn kill(mut self) {
        self.vm.kill();
    }

    /// Where the kernel, systemd and who else writes to the console are heard; it is there when the machine is not.
    pub fn console_file(&self) -> PathBuf {
        self.vm.console.clone()
    }
}
