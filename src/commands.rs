//! Each command: what was said -> what [`crate::boot`] shall do -> what is printed, and the exit code.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use log::error;

use crate::boot::{self, Consent};
use crate::cli::{Cli, Command, Names, Rendered, Which};
use crate::config::{self, Config, Problems, Volume};
use crate::error::Failure;
use crate::locate::{Device, Sysfs};
use crate::plan;
use crate::probe;
use crate::publish;
use crate::release;
use crate::report::json::{self, Document};
use crate::report::{Report, Table, journal, progress};
use crate::root::Root;
use crate::signals;

/// Runs the command and gives the exit code; every error has been printed, once.
pub fn run(cli: &Cli) -> ExitCode {
    let root = cli.root.as_ref().map_or_else(Root::default, Root::new);
    if matches!(cli.command, Command::Up(_) | Command::Grow(_) | Command::Release(_)) {
        signals::take();
    }
    let ended = match &cli.command {
        Command::Up(_) | Command::Release(_) if root.is_host() && probe::are_hidden_from_host() => Err(hidden()),
        Command::Up(which) => of_volumes(cli, &root, which, boot::up),
        Command::Plan(which) => of_volumes(cli, &root, which, boot::plan),
        Command::Grow(names) if names.names.is_empty() => of_named(cli, &root, names, |root, config, volumes| {
            let can_grow = |volume: &&&Volume| !volume.is_export() && probe::is_mounted(&volume.mount, root);
            boot::grow(root, config, &volumes.iter().filter(can_grow).copied().collect::<Vec<_>>())
        }),
        Command::Grow(names) => of_named(cli, &root, names, boot::grow),
        Command::Status(names) => of_named(cli, &root, names, boot::status),
        Command::Release(names) => release(cli, &root, names),
        Command::Check { files } => check(cli, &root, files),
        Command::Render(which) => render(cli, &root, which),
        Command::Devices => devices(cli),
    };
    progress::clear();
    match ended {
        Ok(code) => code,
        Err(failure) => {
            error!("volinit: {failure}");
            ExitCode::from(&failure)
        }
    }
}

/// [`boot::up`] and [`boot::plan`].
type Sequence = for<'a> fn(&Root, &'a Config, &[&'a Volume], Option<&Consent>) -> Report<'a>;
/// The others, which erase nothing.
type Look = for<'a> fn(&Root, &'a Config, &[&'a Volume]) -> Report<'a>;

fn of_volumes(cli: &Cli, root: &Root, which: &Which, sequence: Sequence) -> Result<ExitCode, Failure> {
    let mut config = match (&which.device, &which.mount) {
        (Some(device), Some(mount)) => {
            let volume =
                config::volume_from_flags(device, mount, which.fs.as_deref(), which.label.as_deref()).map_err(usage)?;
            Config { volumes: vec![volume], ..Config::default() }
        }
        _ => load(cli, root)?,
    };
    if let Some(deadline) = &which.deadline {
        let deadline = config::duration(deadline).map_err(|why| Failure::Usage(anyhow!("--deadline: {why}")))?;
        config.wait(deadline);
    }
    config.named = !which.names.names.is_empty();
    let consent = match (&which.erase, which.names.names.as_slice(), &config.volumes.as_slice()) {
        (None, ..) => None,
        (Some(to_erase), [volume], _) => Some(Consent { volume: volume.clone(), to_erase: to_erase.clone() }),
        (Some(to_erase), [], [only]) if which.device.is_some() => {
            Some(Consent { volume: only.name.clone(), to_erase: to_erase.clone() })
        }
        _ => {
            return Err(Failure::Usage(anyhow!(
                "--erase goes with the name of one volume: `volinit up NAME --erase VOLUME`"
            )));
        }
    };
    finish(cli, &sequence(root, &config, &chosen(&config, &which.names)?, consent.as_ref()))
}

fn release(cli: &Cli, root: &Root, names: &Names) -> Result<ExitCode, Failure> {
    let config = load(cli, root)?;
    // Those that the named ones lie on stay.
    let mut volumes = chosen(&config, names)?;
    volumes.retain(|volume| names.names.is_empty() || names.names.contains(&volume.name));
    let report = release::release(root, &config, &volumes);
    if cli.json {
        print_json(&Document::from(&report))?;
    } else if journal::is_behind(stdout()) {
        report.log();
    } else {
        print(&report)?;
    }
    progress::ended(&report.summary());
    Ok(report.failure().map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn of_named(cli: &Cli, root: &Root, names: &Names, look: Look) -> Result<ExitCode, Failure> {
    let config = load(cli, root)?;
    finish(cli, &look(root, &config, &chosen(&config, names)?))
}

/// Prints what came of it; the exit code is that of the worst.
fn finish(cli: &Cli, report: &Report) -> Result<ExitCode, Failure> {
    if cli.json {
        print_json(&Document::from(report))?;
    } else if report.command == "status" {
        print(&report.status())?;
    } else if !report.planned && journal::is_behind(stdout()) {
        report.log();
    } else {
        print(report)?;
    }
    if report.command == "up" {
        progress::ended(&report.summary());
        if report.failure().is_none() {
            progress::ready();
        }
    }
    Ok(report.failure().map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn check(cli: &Cli, root: &Root, files: &[std::path::PathBuf]) -> Result<ExitCode, Failure> {
    let files = if files.is_empty() { &cli.config } else { files };
    let loaded = config::load(root, files);
    if cli.json {
        let problems = loaded
            .as_ref()
            .err()
            .map(|problems| problems.0.iter().map(json::Problem::from).collect())
            .unwrap_or_default();
        print_json(&Document::Check { version: json::VERSION, problems })?;
    }
    match loaded {
        Ok(config) => {
            if !cli.json {
                let names: Vec<&str> = config.volumes.iter().map(|volume| volume.name.as_str()).collect();
                let volumes = if names.len() == 1 { "volume" } else { "volumes" };
                print(&format!("the config is right: {} {volumes}: {}\n", names.len(), names.join(", ")))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if cli.json => Ok(ExitCode::from(2)),
        Err(problems) => {
            // The one output of this command, so stdout and not the log.
            print(&format!("{problems}\n"))?;
            Ok(ExitCode::from(2))
        }
    }
}

fn render(cli: &Cli, root: &Root, which: &Rendered) -> Result<ExitCode, Failure> {
    let config = load(cli, root)?;
    let files = match &which.service {
        Some(service) => vec![publish::service::drop_in(root, service, of_service(&config, &which.names, service)?)?],
        None => boot::render(root, &config, &chosen(&config, &which.names)?)?,
    };
    if cli.json {
        let files = files.iter().map(json::Rendered::from).collect();
        print_json(&Document::Render { version: json::VERSION, files })?;
    } else if cli.root.is_none() {
        for file in files.iter().map(json::Rendered::from) {
            // As `systemctl cat` shows files: the path as a comment, then the text.
            print(&format!("# {}\n{}\n\n", file.path, file.content.unwrap_or_default().trim_end()))?;
        }
    } else {
        for change in publish::files::write(root, &files)? {
            print(&format!("{change}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn devices(cli: &Cli) -> Result<ExitCode, Failure> {
    let mut found = Vec::new();
    for disk in Sysfs::disks().context("listing /sys/block")? {
        for part in std::iter::once(disk.clone()).chain(disk.partitions()) {
            found.push(describe(&part));
        }
    }
    if cli.json {
        print_json(&Document::Devices { version: json::VERSION, devices: found })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::with_head(&["DEVICE", "SIZE", "VOLUME", "CONTENT", "MOUNT", "USABLE"]);
    for device in found {
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mount = (!device.mounts.is_empty()).then(|| device.mounts.join(","));
        let volume = device.volume_id.or(device.serial).map(|id| match &device.attached_as {
            Some(name) => format!("{id} ({})", name.trim_start_matches("/dev/")),
            None => id,
        });
        let usable = if device.usable { "yes: " } else { "no: " };
        table.row([
            device.device,
            crate::bytes::Bytes(device.size).to_string(),
            dash(volume),
            device.content,
            dash(mount),
            format!("{usable}{}", device.why),
        ]);
    }
    print(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// One row: a device that can't be read has one too.
fn describe(sysfs: &Sysfs) -> json::Device {
    let path = sysfs.node().display().to_string();
    let looked = Device::open(&sysfs.node()).and_then(|device| {
        let about = probe::about(&device)?;
        let content = probe::content(&device, &about)?;
        Ok((about, content, device.attached_as()))
    });
    match looked {
        Ok((about, content, attached_as)) => {
            let (usable, why) = plan::verdict(&about, &content);
            json::Device {
                device: path,
                size: about.size.0,
                content: content.to_string(),
                volume_id: about.volume_id.as_ref().map(ToString::to_string),
                attached_as,
                serial: about.serial,
                model: about.model,
                mounts: about.mounts.iter().map(|mounted| mounted.at.display().to_string()).collect(),
                usable,
                why,
            }
        }
        Err(error) => json::Device {
            device: path,
            size: sysfs.size().0,
            content: "unreadable".into(),
            volume_id: None,
            attached_as: None,
            serial: None,
            model: None,
            mounts: Vec::new(),
            usable: false,
            why: format!("{error:#}"),
        },
    }
}

fn load(cli: &Cli, root: &Root) -> Result<Config, Failure> {
    config::load(root, &cli.config).map_err(usage)
}

/// The named volumes, or all, and those that they lie on.
fn chosen<'a>(config: &'a Config, names: &Names) -> Result<Vec<&'a Volume>, Failure> {
    let known = || config.volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = names.names.iter().find(|name| !config.volumes.iter().any(|volume| volume.name == **name)) {
        return Err(Failure::Usage(anyhow!("there is no volume `{unknown}` in the config; it has: {}", known())));
    }
    let asked = |volume: &Volume| names.names.is_empty() || names.names.contains(&volume.name);
    let those = config.volumes.iter().filter(|volume| asked(volume));
    let carriers: Vec<&Volume> = those.flat_map(|volume| volume.carriers(&config.volumes)).collect();
    Ok(config.volumes.iter().filter(|volume| asked(volume) || carriers.contains(volume)).collect())
}

/// The volume that a service has its data on.
fn of_service<'a>(config: &'a Config, names: &Names, service: &str) -> Result<&'a Volume, Failure> {
    if !publish::service::is_name(service) {
        return Err(Failure::Usage(anyhow!(
            "--service: {service:?} is no unit's name, as in postgres or app-redis.service"
        )));
    }
    // Refuses a name that is not there.
    chosen(config, names)?;
    let called = |name: &str| config.volumes.iter().find(|volume| volume.name == name);
    let found = match (names.names.as_slice(), config.volumes.as_slice()) {
        ([name], _) => called(name),
        ([], [only]) => Some(only),
        ([], _) => called(service),
        _ => None,
    };
    let ask =
        || anyhow!("which volume has the data of `{service}`? Name it: `volinit render NAME --service {service}`");
    found.ok_or_else(|| Failure::Usage(ask()))
}

fn hidden() -> Failure {
    Failure::Failed(anyhow!(
        "the unit that runs volinit has a mount namespace of its own, so that nobody else would see what is mounted in \
         it: say RequiresMountsFor= in the unit and leave the volume to volinit@NAME.service, or run `nsenter \
         --mount=/proc/1/ns/mnt volinit up`, or take PrivateTmp=, ProtectSystem= and the like out of it. Nothing was done"
    ))
}

fn usage(problems: Problems) -> Failure {
    Failure::Usage(anyhow!(problems))
}

fn print_json(document: &Document) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).context("writing JSON")?;
    print(&format!("{text}\n"))
}

/// A reader that went away (`| head`) is no reason to fail.
fn print(text: &impl std::fmt::Display) -> Result<(), Failure> {
    progress::clear();
    match write!(stdout(), "{text}").and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow!(error).context("writing to stdout").into())
        }
        _ => Ok(()),
    }
}
