//! The sequence, for one volume and for many at once. Read this first: it is the whole program in one line,
//!
//! ```text
//! config -> locate -> probe -> plan -> apply -> publish -> report
//! ```
//!
//! and every other module is one word of it.

use std::thread;

use anyhow::anyhow;
use log::{debug, warn};

use crate::apply;
use crate::config::{Config, Ebs, EbsVolume, Eni, Interface, Source, Volume};
use crate::error::Failure;
use crate::interfaces;
use crate::locate::{self, Device, Effort};
use crate::nfs;
use crate::plan::{self, Action, Plan};
use crate::probe::{self, Content, DeviceFacts, Facts, MountTable, Mounted, Superblock, TargetState};
use crate::publish::{self, CloudWords, Published, Words};
use crate::report::{Brought, Done, Outcome, Report};
use crate::root::Root;
use crate::side_by_side::side_by_side;
use crate::signal;
use crate::state::{self, Remembered};

/// A person's word that what is on a volume may be erased; see [`plan::plan`].
#[derive(Clone, Debug)]
pub struct Consent {
    /// The volume, by its name in the config.
    pub volume: String,
    /// What the disk, or what is on it, goes by.
    pub to_erase: String,
}

/// Attaches, prepares and mounts the volumes, all at once, then tells systemd and the schedulers.
pub fn up<'a>(root: &Root, config: &'a Config, volumes: &[&'a Volume], consent: Option<&Consent>) -> Report<'a> {
    let volumes_up = || side_by_side(volumes, |volume| bring_up(volume, root, config, consent));
    let (interfaces, outcomes) = beside_interfaces(root, &config.interfaces, volumes_up);
    let files = publish(root, config, &outcomes, &interfaces);
    let report = Report { command: "up", planned: false, outcomes, interfaces, files };
    if volumes.len() == config.volumes.len() {
        signal::tell(root, config, &report);
    }
    report
}

/// What `up` would do. Touches nothing.
pub fn plan<'a>(root: &Root, config: &'a Config, volumes: &[&'a Volume], consent: Option<&Consent>) -> Report<'a> {
    look("plan", root, config, volumes, consent)
}

/// What is declared beside what is there. Touches nothing.
pub fn status<'a>(root: &Root, config: &'a Config, volumes: &[&'a Volume]) -> Report<'a> {
    look("status", root, config, volumes, None)
}

/// Grows what is mounted, and nothing else.
pub fn grow<'a>(root: &Root, config: &'a Config, volumes: &[&'a Volume]) -> Report<'a> {
    // What others lie on is among them: of an export nobody asked then that it grows.
    let carries = |volume: &Volume| volumes.iter().any(|other| other.lies_on(volume));
    let meant: Vec<_> = volumes.iter().copied().filter(|volume| !(volume.is_export() && carries(volume))).collect();
    let outcomes = side_by_side(&meant, |volume| grow_mounted(volume, root, config));
    Report { command: "grow", planned: false, outcomes, interfaces: Vec::new(), files: Ok(Vec::new()) }
}

/// One volume, from its source to its mount.
fn bring_up(volume: &Volume, root: &Root, config: &Config, consent: Option<&Consent>) -> Result<Done, Failure> {
    if let Source::Nfs { export, timeout } = &volume.source {
        return nfs::bring_up(volume, export, *timeout, root, config);
    }
    let mut device = locate::locate(volume, &config.interfaces, root, Effort::Bring)?;
    // What is not mounted can't be as it should be: it is looked at once, under the lock.
    let mut table = MountTable::read()?;
    let mounted = probe::mounted(table.then(), &volume.mount, root);
    let mut done = match mounted.map(|_| judge(volume, &device, root, table.then(), consent)) {
        // A boot that changes nothing takes no lock.
        Some(Ok((facts, plan))) if plan.steps.is_empty() => as_found(facts, plan),
        // Whatever else was found, a refusal included, may be the half of another's work.
        _ => change(volume, &mut device, root, &mut table, consent)?,
    };
    if let Some(found) = &done.filesystem {
        let before = state::recall::<Remembered>(root, &volume.name);
        let erased = done.plan.erased.clone().or(before.as_ref().and_then(|before| before.erased.clone()));
        let stands = Remembered::of(found, done.volume_id(), erased);
        // The volume stands: that it could not be written down is no reason to say it does not.
        if before.as_ref() != Some(&stands)
            && let Err(error) = state::remember(root, &volume.name, &stands)
        {
            warn!("{}: {error:#}", volume.name);
            done.plan.warnings.push(format!("it could not be remembered: {error:#}"));
        }
    }
    Ok(done)
}

/// Carries out what is decided now that the disk is ours.
fn change(
    volume: &Volume,
    device: &mut Device,
    root: &Root,
    table: &mut MountTable,
    consent: Option<&Consent>,
) -> Result<Done, Failure> {
    let mut lock = apply::lock(device)?;
    device.refresh()?;
    let (mut facts, mut plan) = judge(volume, device, root, table.now()?, consent)?;
    if plan.formats()
        && device.cloud.is_none()
        && let Source::Ebs(ebs @ Ebs { attach: true, .. }) = &volume.source
    {
        // It was attached before, so EC2 was not asked yet; its word is part of the proof.
        device.cloud = locate::ask(device, ebs.timeout)?;
        facts.device.cloud.clone_from(&device.cloud);
        plan = decide(volume, &facts, state::recall(root, &volume.name).as_ref(), consent)?;
    }
    // What is to be formatted is asked about once more, just before; and every byte that will be written is read then.
    let unmarked = matches!(facts.content, Content::Blank(_) | Content::Interrupted(_));
    if plan.formats() && unmarked && !probe::is_unmarked(device) {
        (facts, plan) = judge(volume, device, root, table.now()?, consent)?;
        if plan.formats() {
            return Err(plan::unreadable(&facts.device, "each look finds something else on it").into());
        }
    }
    if plan.writes_to_device() {
        lock.writes(device)?;
    }
    let (only_mounts, mounts) = (plan.only_mounts(), plan.mounts());
    let plan = apply::apply(volume, device, plan, &lock)?;
    if only_mounts {
        return Ok(as_found(facts, plan));
    }
    device.refresh()?;
    if mounts {
        return done(volume, device, plan);
    }
    // It was mounted before, and is larger now.
    let filesystem = probe::filesystem(device, &facts.device, volume.filesystem.kind)?;
    let about = DeviceFacts { size: device.size, ..facts.device };
    Ok(standing(about, plan, filesystem))
}

/// Does `work` while the network interfaces are attached. Those of a volume's slot come with it, in `work`.
fn beside_interfaces<'a, T>(
    root: &Root,
    interfaces: &'a [Interface],
    work: impl FnOnce() -> T,
) -> (Vec<Brought<'a>>, T) {
    let bring = |interface| (interface, interfaces::bring_up(interface, root));
    let (paired, alone): (Vec<_>, Vec<_>) =
        interfaces.iter().partition(|interface| matches!(interface.eni, Eni::SlotOf(_)));
    let (mut brought, done): (Vec<_>, T) = if alone.is_empty() {
        (Vec::new(), work())
    } else {
        thread::scope(|scope| {
            let alone = scope.spawn(|| alone.into_iter().map(bring).collect());
            let done = work();
            (alone.join().expect("the interfaces' thread does not panic"), done)
        })
    };
    brought.extend(paired.into_iter().map(bring));
    (brought, done)
}

/// Facts, and the plan that follows from them. Where all that is left to do is to mount what stood here before, its
/// superblock is enough to know it by; for anything else every witness is asked.
fn judge(
    volume: &Volume,
    device: &Device,
    root: &Root,
    mounts: &[Mounted],
    consent: Option<&Consent>,
) -> Result<(Facts, Plan), Failure> {
    let before = state::recall::<Remembered>(root, &volume.name);
    let uuid = before.as_ref().map(|before| before.uuid.as_str());
    let mut facts = probe::facts(device, &volume.mount, root, mounts, uuid)?;
    let mut plan = decide(volume, &facts, before.as_ref(), consent);
    if facts.recognised && !plan.as_ref().is_ok_and(Plan::only_mounts) {
        facts = probe::facts(device, &volume.mount, root, mounts, None)?;
        plan = decide(volume, &facts, before.as_ref(), consent);
    }
    debug!("{}: {facts:?}", volume.name);
    Ok((facts, plan?))
}

fn decide(
    volume: &Volume,
    facts: &Facts,
    before: Option<&Remembered>,
    consent: Option<&Consent>,
) -> Result<Plan, Failure> {
    let consent = consent.filter(|consent| consent.volume == volume.name).map(|consent| consent.to_erase.as_str());
    Ok(plan::plan(volume, facts, before, consent)?)
}

fn look<'a>(
    command: &'static str,
    root: &Root,
    config: &'a Config,
    volumes: &[&'a Volume],
    consent: Option<&Consent>,
) -> Report<'a> {
    let outcomes = side_by_side(volumes, |volume| {
        // The folder that is there now will be hidden below the parent's mount.
        let hidden = config.volumes.iter().any(|other| volume.lies_on(other) && !probe::is_mounted(&other.mount, root));
        if let Source::Nfs { export, .. } = &volume.source {
            return nfs::look(volume, export, root, config, hidden);
        }
        let device = locate::locate(volume, &config.interfaces, root, Effort::Look)?;
        let mut facts = probe::facts(&device, &volume.mount, root, &probe::mounts()?, None)?;
        if hidden {
            facts.target.state = TargetState::Absent;
        }
        let plan = decide(volume, &facts, state::recall(root, &volume.name).as_ref(), consent)?;
        done(volume, &device, plan)
    });
    let there = |interface: &'a Interface| Some((interface, Ok(interfaces::look(interface, root)?)));
    let interfaces: Vec<_> = config.interfaces.iter().filter_map(there).collect();
    let files = publish::files(root, &config.publish, &published(config, &outcomes, &interfaces), &down(&outcomes));
    let files = files.and_then(|files| publish::files::pending(root, &files)).map_err(Failure::Failed);
    Report { command, planned: true, outcomes, interfaces, files }
}

fn grow_mounted(volume: &Volume, root: &Root, config: &Config) -> Result<Done, Failure> {
    if let Source::Nfs { export, .. } = &volume.source {
        return Err(Failure::Usage(anyhow!("{export} grows on its server: there is nothing to grow here")));
    }
    let mut device = locate::locate(volume, &config.interfaces, root, Effort::Look)?;
    if !probe::is_mounted(&volume.mount, root) {
        return Err(Failure::Failed(anyhow!(
            "it is not mounted at {}: only what is mounted grows here (`volinit up` mounts it)",
            volume.mount.at
        )));
    }
    if let Source::Ebs(ebs @ Ebs { attach: true, .. }) = &volume.source {
        locate::wait_for_size(&mut device, ebs.timeout)?;
    }
    let lock = apply::lock(&device)?;
    device.refresh()?;
    let (_, mut plan) = judge(volume, &device, root, &probe::mounts()?, None)?;
    plan.steps.retain(|step| matches!(step.action, Action::EnlargeImage { .. } | Action::Grow { .. }));
    let plan = apply::apply(volume, &device, plan, &lock)?;
    device.refresh()?;
    // At boot a volume that can't grow is better than none. Here growing is all that was asked for, and
    // cfn-hup runs a hook again that failed.
    match plan.warnings.first() {
        Some(warning) => Err(Failure::Failed(anyhow!("{warning}"))),
        None => done(volume, &device, plan),
    }
}

/// What is there now, for the report and for the templates.
fn done(volume: &Volume, device: &Device, plan: Plan) -> Result<Done, Failure> {
    let about = probe::about(device)?;
    let filesystem = probe::filesystem(device, &about, volume.filesystem.kind)?;
    Ok(standing(about, plan, filesystem))
}

/// What is as it was found, or is mounted now.
fn as_found(facts: Facts, plan: Plan) -> Done {
    let filesystem = if let Content::Filesystem(found) = facts.content { Some(found) } else { None };
    standing(facts.device, plan, filesystem)
}

fn standing(device: DeviceFacts, plan: Plan, filesystem: Option<Superblock>) -> Done {
    Done { name: device.path.display().to_string(), device: Some(device), plan, filesystem, on_demand: false }
}

fn publish(
    root: &Root,
    config: &Config,
    outcomes: &[Outcome<'_>],
    interfaces: &[Brought<'_>],
) -> Result<Vec<publish::Change>, Failure> {
    Ok(publish::publish(root, &config.publish, &published(config, outcomes, interfaces), &down(outcomes))?)
}

/// The unit files of volumes as the config gives them, for an image that is baked: no device is looked at.
/// Metadata is not among them, since it says that the mount stands.
pub fn render(root: &Root, config: &Config, volumes: &[&Volume]) -> Result<Vec<publish::File>, Failure> {
    let mut files = Vec::new();
    for volume in volumes {
        files.extend(units(root, config, volume, locate::declared(&volume.source)?.display().to_string())?);
    }
    files.extend(publish::all_files(config));
    Ok(files)
}

/// The same of one volume, for [`crate::generator`]: where it is known on the instance only which volume it will be, the
/// unit says so, and waits for volinit all the same.
pub fn generate(root: &Root, config: &Config, volume: &Volume) -> Result<Vec<publish::File>, Failure> {
    // An export has no better name than the config's.
    let known = if volume.is_export() { None } else { publish::known_what(root, volume)? };
    let what = match known {
        Some(known) => known,
        None => match &volume.source {
            Source::Ebs(Ebs { volume: EbsVolume::Tags(_) | EbsVolume::Pool { .. }, .. }) => {
                format!("volinit:{}", volume.name)
            }
            source => locate::declared(source)?.display().to_string(),
        },
    };
    units(root, config, volume, what)
}

fn units(root: &Root, config: &Config, volume: &Volume, what: String) -> Result<Vec<publish::File>, Failure> {
    let words = Words {
        volume_id: None,
        uuid: None,
        name: volume.name.clone(),
        size: None,
        mount: volume.mount.at.clone(),
        cloud: CloudWords::default(),
    };
    let declared = Published { volume, what, words, network: volume.needs_network(&config.volumes), stands: false };
    Ok(publish::boot_files(root, &declared, config)?)
}

/// Stands in a plan for the UUID that mkfs will draw.
const NEW_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// What systemd and the schedulers are told of the volumes that stand.
fn published<'a>(config: &Config, outcomes: &[Outcome<'a>], interfaces: &[Brought<'_>]) -> Vec<Published<'a>> {
    // That of its slot, or of the only one.
    let address = |volume: &Volume| {
        let own = config.interfaces.iter().find(|interface| interface.is_slot_of(&volume.name));
        let only = || config.interfaces.first().filter(|_| config.interfaces.len() == 1);
        let meant = own.or_else(only)?;
        let (_, brought) = interfaces.iter().find(|(interface, _)| interface.name == meant.name)?;
        Some(brought.as_ref().ok()?.link.address.clone())
    };
    let standing = outcomes.iter().filter_map(|outcome| Some((outcome.volume, outcome.result.as_ref().ok()?)));
    standing
        .map(|(volume, done)| {
            let device = done.device.as_ref();
            let words = Words {
                volume_id: done.volume_id(),
                uuid: done
                    .filesystem
                    .as_ref()
                    .map(|found| found.uuid.clone())
                    .or_else(|| done.plan.formats().then(|| NEW_UUID.into())),
                name: volume.name.clone(),
                size: device.map(|device| device.size),
                mount: volume.mount.at.clone(),
                cloud: CloudWords {
                    address: address(volume),
                    ..device.map(|device| device.words.clone()).unwrap_or_default()
                },
            };
            Published {
                volume,
                what: device.map_or_else(|| done.name.clone(), |device| device.stable.display().to_string()),
                words,
                network: volume.needs_network(&config.volumes),
                stands: !done.on_demand,
            }
        })
        .collect()
}

/// The volumes that do not stand: nobody shall be told of them any more.
fn down<'a>(outcomes: &[Outcome<'a>]) -> Vec<&'a Volume> {
    let stands = |outcome: &&Outcome<'_>| outcome.result.as_ref().is_ok_and(|done| !done.on_demand);
    outcomes.iter().filter(|outcome| !stands(outcome)).map(|outcome| outcome.volume).collect()
}
