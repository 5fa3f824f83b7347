//! The packages: made from the binary of the tests, looked at with the tools of their formats, and used in a clean
//! Debian 12 of this test's own, with a loop device for its disk. Nothing of the machine's is installed or changed.
//!
//! `make test-packages`. That systemd boots with them is seen elsewhere, in virtual machines.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use rig::{Disk, MIB, Rig, tool};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// What all packages have. The shells' folders are in it too; zsh's has another name outside Debian.
const FILES: [&str; 15] = [
    "/usr/bin/volinit",
    "/usr/lib/systemd/system/volinit.service",
    "/usr/lib/systemd/system/volinit@.service",
    "/usr/lib/systemd/system/volinit-grow.service",
    "/usr/lib/systemd/system/volinit-grow.timer",
    "/usr/share/bash-completion/completions/volinit",
    "/usr/share/doc/volinit/README.md",
    "/usr/share/doc/volinit/changelog.gz",
    "/usr/share/doc/volinit/copyright",
    "/usr/share/doc/volinit/examples/release.conf",
    "/usr/share/doc/volinit/examples/volinit.yaml",
    "/usr/share/doc/volinit/volinit-json.schema.json",
    "/usr/share/fish/vendor_completions.d/volinit.fish",
    "/usr/share/man/man5/volinit.yaml.5.gz",
    "/usr/share/man/man8/volinit.8.gz",
];
const GENERATOR: &str = "/usr/lib/systemd/system-generators/volinit-generator";
const ZSH_OF_DEBIAN: &str = "/usr/share/zsh/vendor-completions/_volinit";
const ZSH: &str = "/usr/share/zsh/site-functions/_volinit";
/// Debian has these in /usr/share/common-licenses.
const LICENSES: [&str; 6] = ["GPL-3", "LGPL-2.1", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "MPL-2.0"];

struct Made {
    binary: PathBuf,
    deb: PathBuf,
    /// The same with a higher version.
    newer: PathBuf,
    rpm: PathBuf,
    sysext: PathBuf,
}

/// Made once for all tests here.
static MADE: LazyLock<Made> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    // Without symbols, as the release is.
    let binary = folder.join("volinit");
    tool(["strip", "-o", binary.to_str().unwrap(), rig::VOLINIT]);
    tool([&format!("{HERE}/packaging/packages.sh"), binary.to_str().unwrap(), folder.to_str().unwrap()]);

    let version = env!("CARGO_PKG_VERSION");
    let deb = folder.join(format!("volinit_{version}-1_amd64.deb"));
    let newer = folder.join("volinit_99.0-1_amd64.deb");
    let unpacked = folder.join("newer");
    tool(["dpkg-deb", "--raw-extract", deb.to_str().unwrap(), unpacked.to_str().unwrap()]);
    let control = unpacked.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    fs::write(&control, text.replace(&format!("Version: {version}-1\n"), "Version: 99.0-1\n")).unwrap();
    tool(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", unpacked.to_str().unwrap(), newer.to_str().unwrap()]);
    Made {
        rpm: folder.join(format!("volinit-{version}-1.x86_64.rpm")),
        sysext: folder.join("volinit.raw"),
        binary,
        deb,
        newer,
    }
});

/// A Debian with nothing but what every Debian has; made once and kept.
static DEBIAN: LazyLock<PathBuf> = LazyLock::new(|| {
    let tar = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-12.tar");
    if !tar.exists() {
        let half = tar.with_extension("half.tar");
        tool(["mmdebstrap", "--quiet", "--variant=minbase", "--include=e2fsprogs", "bookworm", half.to_str().unwrap()]);
        fs::rename(&half, &tar).unwrap();
    }
    tar
});

/// Prints what was seen to be so.
fn seen(what: &str) {
    println!("  {what}");
}

/// A Debian of a test's own.
struct Debian {
    rig: Rig,
}

impl Debian {
    fn new() -> Debian {
        let rig = Rig::new();
        tool(["tar", "--extract", "--file", DEBIAN.to_str().unwrap(), "--directory", rig.root().to_str().unwrap()]);
        for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys")] {
            tool(["mount", "-t", kind, kind, rig.path(at).to_str().unwrap()]);
        }
        Debian { rig }
    }

    /// A disk, and its node: /dev itself is not shared, so that no removal can ever reach the machine's.
    fn disk(&mut self, size: u64) -> Disk {
        let disk = self.rig.disk(size);
        let number = disk.name().trim_start_matches("/dev/loop").to_owned();
        tool(["mknod", self.rig.path(disk.name()).to_str().unwrap(), "b", "7", &number]);
        disk
    }

    fn chroot(&self, script: &str) -> Output {
        Command::new("chroot")
            .arg(self.rig.root())
            .args(["/bin/bash", "-euo", "pipefail", "-c", script])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .output()
            .unwrap()
    }

    /// Runs it there; it has to succeed. Gives both outputs.
    fn run(&self, script: &str) -> String {
        let output = self.chroot(script);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{text}");
        text
    }

    /// Copies a file of the machine's in.
    fn take(&self, file: &Path, to: &str) {
        fs::copy(file, self.rig.path(to)).unwrap();
    }

    fn has(&self, path: &str) -> bool {
        self.rig.path(path).symlink_metadata().is_ok()
    }

    /// Which of these are there.
    fn there<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        paths.into_iter().filter(|path| self.has(path)).collect()
    }

    fn is_mounted(&self, at: &str) -> bool {
        self.rig.mount_at(at).is_some()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn config(device: &str, at: &str) -> String {
    format!(
        "volumes:\n  postgres:\n    source: {{ device: {device} }}\n    filesystem: {{ type: ext4 }}\n    mount: {at}\n"
    )
}

#[test]
fn lintian_has_nothing_to_say() {
    let output = Command::new("lintian").arg(&MADE.deb).output().expect("this test needs lintian: `make deps`");
    assert!(output.status.success() && output.stdout.is_empty(), "{}", text(&output));
    seen("deb: lintian has no error and no warning that packaging/lintian-overrides does not explain");
}

#[test]
fn the_deb_lists_what_it_should() {
    let listed = tool(["dpkg-deb", "--contents", MADE.deb.to_str().unwrap()]);
    let mut files: Vec<String> = Vec::new();
    let mut folders = Vec::new();
    for line in listed.lines() {
        assert!(line.contains(" root/root "), "{line}");
        let path = line[line.find(" ./").unwrap() + 2..].trim_end_matches('/').to_owned();
        if line.starts_with('d') { folders.push(path) } else { files.push(path) }
    }
    files.sort();
    let mut expected: Vec<String> = FILES.map(str::to_owned).to_vec();
    expected.push(format!("{GENERATOR} -> ../../../bin/volinit"));
    expected.push(ZSH_OF_DEBIAN.into());
    expected.push("/usr/share/doc/volinit/changelog.Debian.gz".into());
    expected.push("/usr/share/lintian/overrides/volinit".into());
    expected.sort();
    assert_eq!(files, expected);
    for folder in ["/etc/volinit", "/etc/volinit/conf.d"] {
        assert!(folders.iter().any(|path| path == folder), "{folder} is not the package's: {folders:?}");
    }
    let control = tool(["dpkg-deb", "--field", MADE.deb.to_str().unwrap()]);
    for line in ["Recommends: e2fsprogs", "Suggests: xfsprogs, btrfs-progs", "Architecture: amd64"] {
        assert!(control.lines().any(|own| own == line), "{line}: {control}");
    }
    assert!(!control.contains("Depends:"), "{control}");
    let inside = tool(["dpkg-deb", "--info", MADE.deb.to_str().unwrap()]);
    assert!(!inside.contains("conffiles"), "{inside}");
    seen("deb: lists its files, owns /etc/volinit/conf.d, has no conffile, depends on nothing");
}

/// The scripts, with a systemctl that writes down what it was told, where systemd seems to run.
#[test]
fn the_maintainer_scripts_only_reload() {
    let debian = Debian::new();
    debian.take(&MADE.deb, "/volinit.deb");
    debian.take(&MADE.newer, "/newer.deb");
    debian.rig.write("/usr/local/bin/systemctl", "#!/bin/bash\necho \"$*\" >>/told\n");
    debian.run("chmod 755 /usr/local/bin/systemctl; mkdir -p /run/systemd/system");
    debian.run("dpkg -i /volinit.deb; dpkg -i /newer.deb; dpkg -r volinit; dpkg -P volinit");
    let told = debian.rig.read("/told");
    assert!(told.lines().all(|line| line == "daemon-reload"), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");
    seen(
        "deb: of systemctl, its scripts ask daemon-reload: installed, upgraded, removed; nothing is started or stopped",
    );

    debian.run("rm -r /told /run/systemd; dpkg -i /volinit.deb");
    assert!(!debian.has("/told"));
    seen("deb: where systemd does not run, its scripts ask nothing");
}

#[test]
fn a_clean_debian_installs_uses_upgrades_and_removes_it() {
    let mut debian = Debian::new();
    let disk = debian.disk(64 * MIB);
    debian.take(&MADE.deb, &format!("/root/{}", MADE.deb.file_name().unwrap().to_str().unwrap()));
    debian.take(&MADE.newer, "/root/newer.deb");

    // The README's own commands, with this test's disk.
    let readme = fs::read_to_string(format!("{HERE}/README.md")).unwrap();
    let chapter = readme.split("\n## Install\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let block: Vec<&str> = chapter.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let block = block.join("\n");
    let commands = block.split_once("make packages").unwrap().1.split_once('\n').unwrap().1;
    assert!(commands.contains("/dev/xvdb"), "{commands}");
    let shown = debian.run(&format!("cd /root\n{}", commands.replace("/dev/xvdb", disk.name())));
    assert!(shown.contains("formatted as ext4, mounted at /data/postgres"), "{shown}");
    seen("debian 12: the commands of the README's chapter Install bring a volume up");

    let version = debian.run("volinit --version");
    assert_eq!(version.trim(), format!("volinit {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(fs::read(debian.rig.path("/usr/bin/volinit")).unwrap(), fs::read(&MADE.binary).unwrap());
    assert_eq!(debian.run(&format!("readlink -f {GENERATOR}")).trim(), "/usr/bin/volinit");
    debian.run("zcat /usr/share/man/man8/volinit.8.gz | grep -q '^.TH VOLINIT 8'");
    debian.run("zcat /usr/share/man/man5/volinit.yaml.5.gz | grep -q '^.TH VOLINIT.YAML 5'");
    let complete = debian.run(
        ". /usr/share/bash-completion/completions/volinit; complete -p volinit; \
         COMP_WORDS=(volinit re) COMP_CWORD=1; _volinit volinit re volinit; echo ${COMPREPLY[*]}",
    );
    assert!(complete.contains("-F _volinit") && complete.contains("release render"), "{complete}");
    debian.run("volinit check /usr/share/doc/volinit/examples/volinit.yaml");
    assert_eq!(debian.run("dpkg --verify volinit"), "");
    seen("debian 12: its version, binary, man pages, completions and example config are there and whole");

    assert!(debian.is_mounted("/data/postgres"));
    let again = debian.run("volinit up");
    assert!(again.contains("postgres: nothing to do"), "{again}");
    debian.run("echo 'a row' >/data/postgres/row; echo '# mine' >>/etc/volinit/volinit.yaml");
    let mine = debian.rig.read("/etc/volinit/volinit.yaml");
    // An image where the example has it: among what volinit remembers.
    debian.rig.write("/var/lib/volinit/other.img", "data");

    debian.run("dpkg -i /root/newer.deb");
    assert!(debian.run("dpkg-query -W volinit").contains("99.0-1"));
    assert_eq!(debian.rig.read("/etc/volinit/volinit.yaml"), mine);
    assert!(debian.is_mounted("/data/postgres"));
    assert!(debian.run("volinit up").contains("postgres: nothing to do"));
    seen("debian 12: an upgrade keeps the user's config byte for byte, and the volume mounted");

    debian.run("dpkg -r volinit");
    let all = || FILES.into_iter().chain([GENERATOR, ZSH_OF_DEBIAN, "/usr/share/lintian/overrides/volinit"]);
    assert!(debian.there(all()).is_empty(), "{:?}", debian.there(all()));
    assert_eq!(debian.rig.read("/etc/volinit/volinit.yaml"), mine);
    assert!(debian.has("/var/lib/volinit/volumes/postgres.json"));
    seen("debian 12: removed, the files of the package are gone, and what volinit remembers is there");

    debian.run("dpkg --purge volinit");
    assert!(!debian.has("/usr/share/doc/volinit") && !debian.has("/etc/volinit/conf.d"));
    assert!(!debian.has("/var/lib/volinit/volumes"));
    assert_eq!(debian.rig.read("/var/lib/volinit/other.img"), "data");
    assert_eq!(debian.rig.read("/etc/volinit/volinit.yaml"), mine);
    assert!(debian.has("/etc/systemd/system/data-postgres.mount"));
    assert!(debian.is_mounted("/data/postgres"));
    assert_eq!(debian.rig.read("/data/postgres/row"), "a row\n");
    assert_eq!(
        debian
            .run("dpkg-query -W -f '${db:Status-Status}' volinit || true")
            .replace("dpkg-query: no packages found matching volinit\n", ""),
        ""
    );
    seen("debian 12: purged, what it remembered is gone too; config, unit, mount and data are as they were");
}

#[test]
fn a_purge_without_a_config_leaves_no_folder() {
    let debian = Debian::new();
    debian.take(&MADE.deb, "/volinit.deb");
    debian.run("dpkg -i /volinit.deb; mkdir -p /var/lib/volinit/volumes; echo '{}' >/var/lib/volinit/volumes/a.json; dpkg --purge volinit");
    let left =
        debian.run("find / -xdev -not -path '/proc/*' -not -path '/sys/*' -path '*volinit*' -not -path '/volinit.deb'");
    assert_eq!(left, "", "{left}");
    seen("debian 12: purged without ever having been used, no path with volinit's name is left");
}

#[test]
fn the_rpm_holds_the_same() {
    let rpm = MADE.rpm.to_str().unwrap();
    let listed = tool(["rpm", "-qlp", rpm]);
    let mut expected: Vec<String> = FILES.map(str::to_owned).to_vec();
    expected.push(ZSH.into());
    expected.extend(LICENSES.map(|name| format!("/usr/share/licenses/volinit/{name}")));
    expected.sort();
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    let scripts = tool(["rpm", "-qp", "--scripts", rpm]);
    for line in scripts.lines().filter(|line| line.contains("systemctl")) {
        assert!(line.ends_with("systemctl daemon-reload || :"), "{line}");
    }
    let needs = tool(["rpm", "-qp", "--requires", rpm]);
    assert!(needs.lines().all(|need| need == "/bin/sh" || need.starts_with("rpmlib(")), "{needs}");
    assert_eq!(tool(["rpm", "-qp", "--recommends", rpm]).trim(), "e2fsprogs");
    seen("rpm: lists the same files, asks systemctl for daemon-reload alone, needs nothing but a shell for that");

    // Debian stands in for a system of rpm's: /bin/sh is what the package asks for.
    let debian = Debian::new();
    let root = debian.rig.root();
    let rpm_there = |arguments: &[&str]| {
        let root = ["--root", root.to_str().unwrap(), "--nodeps"];
        tool(["rpm"].iter().chain(arguments.iter().take(1)).chain(&root).chain(&arguments[1..]))
    };
    rpm_there(&["-i", rpm]);
    assert_eq!(fs::read(debian.rig.path("/usr/bin/volinit")).unwrap(), fs::read(&MADE.binary).unwrap());
    assert_eq!(fs::metadata(debian.rig.path("/usr/bin/volinit")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(debian.run(&format!("readlink -f {GENERATOR}")).trim(), "/usr/bin/volinit");
    assert!(debian.has("/etc/volinit/conf.d"));
    assert!(debian.run("volinit --version").contains(env!("CARGO_PKG_VERSION")));
    seen(
        "rpm: installed, the binary is the same bytes and runs, the generator's link and /etc/volinit/conf.d are there",
    );

    debian.rig.write("/etc/volinit/volinit.yaml", "mine");
    rpm_there(&["-e", "volinit"]);
    let all = || FILES.into_iter().chain([GENERATOR, ZSH, "/usr/share/doc/volinit", "/usr/share/licenses/volinit"]);
    assert!(debian.there(all()).is_empty(), "{:?}", debian.there(all()));
    assert_eq!(debian.rig.read("/etc/volinit/volinit.yaml"), "mine");
    seen("rpm: removed, its files and folders are gone, and the user's config is there");
}

#[test]
fn the_sysext_image_is_one() {
    let image = MADE.sysext.to_str().unwrap();
    let listed = tool(["unsquashfs", "-lls", image]);
    let mut files: Vec<String> = Vec::new();
    for line in listed.lines().filter(|line| line.contains("squashfs-root/")) {
        assert!(line.contains(" root/root "), "{line}");
        if !line.starts_with('d') {
            files.push(line[line.find("squashfs-root/").unwrap() + "squashfs-root".len()..].to_owned());
        }
    }
    files.sort();
    let mut expected: Vec<String> = FILES.map(str::to_owned).to_vec();
    expected.push(ZSH_OF_DEBIAN.into());
    expected.push(format!("{GENERATOR} -> ../../../bin/volinit"));
    expected.push("/usr/lib/extension-release.d/extension-release.volinit".into());
    expected.extend(LICENSES.map(|name| format!("/usr/share/licenses/volinit/{name}")));
    expected.sort();
    assert_eq!(files, expected);
    let release = tool(["unsquashfs", "-cat", image, "usr/lib/extension-release.d/extension-release.volinit"]);
    assert_eq!(release, "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n");
    seen("sysext: holds /usr alone, the same files, and an extension-release for any system of this architecture");

    // systemd's own word, on a Debian's /usr. In a namespace of its own, where / is shared and /run is a mount, as on a
    // machine that systemd runs: systemd-sysext needs both.
    let debian = Debian::new();
    debian.run("mkdir -p /etc/extensions");
    debian.take(&MADE.sysext, "/etc/extensions/volinit.raw");
    let script = "mount -t tmpfs tmpfs /run; mount --make-rshared /; \
                  systemd-sysext --root=$0 merge; chroot $0 volinit --version; \
                  systemd-sysext --root=$0 unmerge; test ! -e $0/usr/bin/volinit";
    let said = tool(["unshare", "--mount", "bash", "-euc", script, debian.rig.root().to_str().unwrap()]);
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    seen("sysext: systemd-sysext merges it into a Debian 12, volinit runs there, and it is gone again");
}

#[test]
fn a_root_folder_is_baked() {
    let debian = Debian::new();
    let root = debian.rig.root();
    let bake = |root: &Path, yaml: &str| {
        let file = debian.rig.file("baked.yaml", 0);
        fs::write(&file, yaml).unwrap();
        Command::new(format!("{HERE}/packaging/bake.sh")).arg(root).arg(&file).arg(&MADE.deb).output().unwrap()
    };
    let two = config("/dev/xvdb", "/data/postgres")
        + "  my-kafka_1:\n    source: { device: /dev/xvdc }\n    mount: /data/kafka\n";
    for time in ["once", "again"] {
        let output = bake(&root, &two);
        assert!(output.status.success(), "{time}: {}", text(&output));
        assert_eq!(debian.rig.read("/etc/volinit/volinit.yaml"), two);
        for name in ["postgres", "my-kafka_1"] {
            let root = format!("--root={}", root.display());
            let enabled = tool(["systemctl", &root, "is-enabled", &format!("volinit@{name}.service")]);
            assert_eq!(enabled, "enabled\n", "{}", text(&output));
        }
        for name in ["data-postgres.mount", "data-kafka.mount"] {
            assert!(debian.has(&format!("/etc/systemd/system/{name}")), "{}", text(&output));
        }
        assert!(debian.there(["/data", "/var/lib/volinit"]).is_empty(), "a device was looked at");
    }
    seen("bake.sh: installs, checks, renders and enables two volumes in a root folder; a second time too");

    let output = bake(&root, &two.replace("mount:", "mounted:"));
    assert!(!output.status.success());
    assert!(text(&output).contains("unknown key `mounted`"), "{}", text(&output));
    let empty = tempfile::tempdir().unwrap();
    let output = bake(empty.path(), &two);
    assert!(!output.status.success() && text(&output).contains("has no Debian in it"), "{}", text(&output));
    seen("bake.sh: a wrong config and a folder without a Debian are errors that say so");
}

/// As Packer runs it. minbase has no systemctl, so one stands in that writes down what it was told.
#[test]
fn a_running_system_bakes_itself() {
    let debian = Debian::new();
    debian.take(&MADE.deb, "/tmp/volinit.deb");
    debian.take(Path::new(&format!("{HERE}/packaging/bake.sh")), "/tmp/bake.sh");
    debian.rig.write("/tmp/volinit.yaml", &config("/dev/xvdb", "/data/postgres"));
    debian.rig.write("/usr/local/bin/systemctl", "#!/bin/bash\necho \"$*\" >>/told\n");
    debian.run("chmod 755 /usr/local/bin/systemctl");
    let said = debian.run("bash /tmp/bake.sh / /tmp/volinit.yaml /tmp/volinit.deb");
    assert_eq!(debian.rig.read("/told"), "--root=/ enable volinit@postgres.service\n");
    assert!(debian.has("/etc/systemd/system/data-postgres.mount"), "{said}");
    let link = fs::read_link(debian.rig.path("/etc/systemd/system/local-fs.target.wants/data-postgres.mount")).unwrap();
    assert_eq!(link, Path::new("/etc/systemd/system/data-postgres.mount"));
    seen("bake.sh: with ROOT=/, as Packer runs it, the units are written and the volume is enabled");
}

/// Debian's Packer is older than `required_plugins`, which today's needs, and has the Amazon builder in it: all but that
/// block is checked by it.
#[test]
fn the_packer_template_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let template = fs::read_to_string(format!("{HERE}/packaging/packer.pkr.hcl")).unwrap();
    let block = template.find("\npacker {").unwrap();
    let end = block + template[block..].find("\n}\n").unwrap() + 2;
    fs::write(at("packer.pkr.hcl"), template[..block].to_owned() + &template[end..]).unwrap();
    symlink(format!("{HERE}/packaging/bake.sh"), at("bake.sh")).unwrap();
    fs::write(at("volinit.yaml"), config("/dev/xvdb", "/data/postgres")).unwrap();
    let output = Command::new("packer")
        .args(["validate", "-var", &format!("package={}", MADE.deb.display()), "-var", "config=volinit.yaml"])
        .arg("packer.pkr.hcl")
        .current_dir(folder.path())
        .env("CHECKPOINT_DISABLE", "1")
        .env("HOME", folder.path())
        .output()
        .expect("this test needs packer: `make deps`");
    assert!(output.status.success(), "{}", text(&output));
    seen(
        "packer: Debian's Packer 1.6 takes the template, without the block `required_plugins`, which it is too old for",
    );
}

#[test]
fn the_shells_take_their_completions() {
    let at = |name: &str| format!("{HERE}/packaging/completions/{name}");
    tool(["zsh", "-n", &at("_volinit")]);
    tool(["fish", "--no-execute", &at("volinit.fish")]);
    let offered =
        tool(["fish", "--no-config", "-c", &format!("source {}; complete -C 'volinit re'", at("volinit.fish"))]);
    let offered: Vec<&str> = offered.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(offered, ["release", "render"]);
    seen("completions: zsh and fish read theirs; fish offers release and render after `volinit re`");
}
