//! The targets side by side: who reads what was written, when, and how one that runs hears of a change. What each is
//! told is in its own module.

use anyhow::Result;

use super::files::{Change, File};
use super::{News, Published, consul, ecs, env, fleet, kubernetes, mesos, nomad, script, swarm, systemd};
use crate::config::Target;
use crate::root::Root;

/// The services that read when they start what is written for these targets, between blanks.
pub(super) fn services(targets: &[Target]) -> String {
    let mut all = String::new();
    for target in targets {
        let services: &[&str] = match target {
            Target::Fleet => &fleet::SERVICES,
            Target::Swarm => &swarm::SERVICES,
            Target::Mesos => &mesos::SERVICES,
            Target::Nomad => &nomad::SERVICES,
            Target::Consul => &consul::SERVICES,
            Target::Ecs => &ecs::SERVICES,
            Target::Kubernetes => &kubernetes::SERVICES,
            Target::Env | Target::Script(_) => &[],
        };
        for service in services {
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str(service);
        }
    }
    all
}

/// The files that tell the target the news. Reads, and writes nothing.
pub(super) fn files(target: &Target, root: &Root, news: &News<'_>) -> Result<Vec<File>> {
    match target {
        Target::Fleet => fleet::files(root, news),
        Target::Swarm => swarm::files(root, news),
        Target::Mesos => mesos::files(root, news),
        Target::Nomad => nomad::files(news),
        Target::Consul => consul::files(news),
        Target::Ecs => ecs::files(root, news),
        Target::Kubernetes => kubernetes::files(root, news),
        Target::Env => env::files(news),
        Target::Script(command) => script::files(command, news),
    }
}

/// What has to be done before the target's files are written.
pub(super) fn prepare(target: &Target, root: &Root, mounted: &[&Published<'_>], files: &[File]) -> Result<Vec<Change>> {
    if *target == Target::Swarm { swarm::prepare(root, files, mounted) } else { Ok(Vec::new()) }
}

/// Who has to hear of it when the target's files change, a line of the lock file each.
pub(super) fn hear(target: &Target) -> Vec<String> {
    match target {
        // Its drop-in is systemd's.
        Target::Fleet => vec![super::Lock::SYSTEMD.to_owned(), target.name().to_owned()],
        Target::Swarm | Target::Mesos | Target::Nomad | Target::Consul | Target::Ecs | Target::Kubernetes => {
            vec![target.name().to_owned()]
        }
        Target::Env => Vec::new(),
        Target::Script(command) => vec![script::folder(command)],
    }
}

/// Tells a service that runs that its files have changed, or a person what it takes.
pub(super) fn tell(target: &Target, root: &Root) -> Result<()> {
    let person = |service: &str, what: &str| -> Result<()> {
        if systemd::is_active(root, service)? {
            log::info!("{service} goes by what was written when {what}");
        }
        Ok(())
    };
    match target {
        Target::Fleet => fleet::tell(root),
        Target::Swarm => systemd::hang_up(root, swarm::SERVICES[0]).map(drop),
        Target::Mesos => {
            mesos::tell(root);
            Ok(())
        }
        Target::Nomad => {
            person(nomad::SERVICES[0], "it is started anew, and its tasks run on: `systemctl restart nomad`")
        }
        Target::Consul => systemd::hang_up(root, consul::SERVICES[0]).map(drop),
        Target::Ecs => {
            person(ecs::SERVICES[0], "the instance is registered anew; till then `aws ecs put-attributes` does it")
        }
        Target::Kubernetes => kubernetes::tell(root),
        Target::Env => Ok(()),
        Target::Script(command) => script::tell(root, command),
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
