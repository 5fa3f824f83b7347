//! volinit as a generator of systemd's (systemd.generator(7)): under the name `volinit-generator` it is started at the
//! beginning of the boot and at each reload, and gives systemd the units of the config's volumes. Nothing has to be
//! enabled, and a service that says `RequiresMountsFor=` waits for its volume on the very first boot.
//!
//! It looks at no device, starts no process, and writes only into the folder that systemd names.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::boot;
use crate::config;
use crate::publish::{self, Content, File, files, order, unit};
use crate::root::Root;

/// Where the package's own units are.
const VENDOR: &str = "/usr/lib/systemd/system";

/// The folder for the units, where volinit was started as a generator: it gets three, and writes into the first.
pub fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let name = PathBuf::from(arguments.next()?);
    (name.file_name()? == "volinit-generator").then(|| arguments.next().map(PathBuf::from))?
}

/// Writes the units. What goes wrong is told to the kernel's log, since nobody else listens yet; a boot goes on.
pub fn run(folder: &Path) -> ExitCode {
    let root = Root::default();
    // The initramfs has another root, and mounts nothing but that.
    if std::env::var_os("SYSTEMD_IN_INITRD").is_some_and(|there| there == "1") || !config::is_there(&root) {
        return ExitCode::SUCCESS;
    }
    let (files, problems) = units(&root, folder);
    let written = files::write(&root, &files).map_err(|error| format!("{error:#}"));
    for problem in problems.into_iter().chain(written.err()) {
        complain(&problem);
    }
    ExitCode::SUCCESS
}

/// The units, in `folder`, and what is wrong with the config or a volume.
pub fn units(root: &Root, folder: &Path) -> (Vec<File>, Vec<String>) {
    let all = |name: &str| link(folder, "multi-user.target.wants", name, name);
    let config = match config::load(root, &[]) {
        Ok(config) => config,
        // It fails, and says why in its status: a failed unit is seen, the kernel's log is not.
        Err(problems) => return (vec![all("volinit.service")], vec![problems.to_string()]),
    };
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for volume in &config.volumes {
        match boot::generate(root, &config, volume) {
            Ok(of_volume) => {
                files.extend(of_volume.into_iter().filter_map(|file| moved(file, folder)));
                // As `systemctl enable` makes it of the drop-in's RequiredBy=.
                let requires = format!("{}.requires", unit::name(&volume.mount.at));
                files.push(link(folder, &requires, "volinit@.service", &order::service(&volume.name)));
            }
            Err(failure) => problems.push(format!("{}: {failure}", volume.name)),
        }
    }
    if !config.interfaces.is_empty() || !config.signals.is_empty() {
        files.push(all("volinit.service"));
    }
    files.extend(publish::all_files(&config).into_iter().filter_map(|file| moved(file, folder)));
    (files, problems)
}

/// `name`, which is the package's `unit`, in the folder of who wants or requires it.
fn link(folder: &Path, by: &str, unit: &str, name: &str) -> File {
    File { path: folder.join(by).join(name), content: Content::Link(Path::new(VENDOR).join(unit)) }
}

/// The same in `folder`, in place of /etc/systemd/system; what is to be removed there is not in here.
fn moved(file: File, folder: &Path) -> Option<File> {
    let here = |path: &Path| path.strip_prefix(unit::UNITS).map_or_else(|_| path.to_owned(), |rest| folder.join(rest));
    let content = match file.content {
        Content::Text(text) => Content::Text(text),
        Content::Link(target) => Content::Link(here(&target)),
        Content::Absent => return None,
    };
    Some(File { path: here(&file.path), content })
}

/// A line each, as the kernel's log has them; priority 3 is an error.
fn complain(problem: &str) {
    let mut to = fs::File::options().write(true).open("/dev/kmsg");
    for line in problem.lines() {
        match &mut to {
            Ok(kmsg) => drop(kmsg.write_all(format!("<3>volinit-generator: {line}\n").as_bytes())),
            Err(_) => eprintln!("volinit-generator: {line}"),
        }
    }
}
