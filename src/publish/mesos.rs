//! What the agent of Mesos is told: attributes. DC/OS has them on one line of an `EnvironmentFile=`, merged into what
//! others say there; Mesosphere's packages have a file for each. What disks there are is for `make_disk_resources.py`,
//! which DC/OS runs before the agent: it finds what is mounted at /dcos/volumeN. A registered agent's state is never
//! touched: a person is told what to run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::files::{self, File};
use super::{News, envfile, pairs};
use crate::root::Root;

/// What reads the files when it starts.
pub const SERVICES: [&str; 3] = ["dcos-mesos-slave.service", "dcos-mesos-slave-public.service", "mesos-slave.service"];

const VARIABLE: &str = "MESOS_ATTRIBUTES";
/// The last of the agent's files that is an administrator's (dcos-mesos-slave.service).
const COMMON: &str = "/var/lib/dcos/mesos-slave-common";
/// Those that are read before it, and the role of the agent that reads each (dcos-mesos-slave*.service).
const EARLIER: [(&str, &str); 4] = [
    ("/opt/mesosphere/etc/mesos-slave-common", ""),
    ("/opt/mesosphere/etc/mesos-slave", "/etc/mesosphere/roles/slave"),
    ("/opt/mesosphere/etc/mesos-slave-public", "/etc/mesosphere/roles/slave_public"),
    ("/opt/mesosphere/etc/mesos-slave-common-extras", ""),
];
/// The folder of Mesosphere's packages, and the one of the attributes in it (mesos-init-wrapper).
const PACKAGED: [&str; 2] = ["/etc/mesos-slave", "/etc/mesos-slave/attributes"];
/// The state of an agent that is registered: of DC/OS, and of Mesosphere's packages.
const REGISTERED: [&str; 2] = ["/var/lib/mesos/slave/meta/slaves/latest", "/var/lib/mesos/meta/slaves/latest"];

/// The files that tell the agent the news.
pub fn files(root: &Root, News { pairs, keys, .. }: &News<'_>) -> Result<Vec<File>> {
    let [folder, attributes] = PACKAGED;
    if root.path(folder).is_dir() {
        if root.path(attributes).is_file() {
            bail!("{} is a file: make it a folder with a file for each attribute", root.path(attributes).display());
        }
        let mut files = Vec::new();
        for (key, value) in pairs {
            files.push(File::of(format!("{attributes}/{key}"), Some(format!("{value}\n"))));
        }
        for key in keys {
            files.push(File::of(format!("{attributes}/{key}"), None));
        }
        return Ok(files);
    }
    // On the first boot they may not be there yet: then what DC/OS gives a public agent.
    let [_, _, (public, role), _] = EARLIER;
    let installed = root.path(public).exists() || !root.path(role).exists();
    let mut earlier = if installed { String::new() } else { "public_ip:true".to_owned() };
    for (path, role) in EARLIER {
        if (role.is_empty() || root.path(role).exists())
            && let Some(text) = files::read(root, Path::new(path))?
        {
            let said =
                envfile::get(&text, VARIABLE).with_context(|| format!("reading {}", root.path(path).display()))?;
            earlier = said.map_or(earlier, str::to_owned);
        }
    }
    let text = merge(files::read(root, Path::new(COMMON))?.as_deref(), &earlier, pairs, keys)
        .with_context(|| format!("merging {}", root.path(COMMON).display()))?;
    Ok(vec![File::of(COMMON.to_owned(), text)])
}

/// The file with these attributes, and without those of the `withdrawn` keys; `None` where no file need be. `earlier`
/// is what the files before it say, which it stands in for.
pub fn merge(
    text: Option<&str>,
    earlier: &str,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Option<String>> {
    envfile::merge(text, VARIABLE, earlier, &|value| Ok(pairs::merge(value, (';', ':'), pairs, withdrawn)))
}

/// Tells a person what a registered agent takes: by default it does not start with other attributes.
pub fn tell(root: &Root) {
    for latest in REGISTERED.iter().filter(|latest| root.path(latest).is_symlink()) {
        log::warn!(
            "the Mesos agent is registered with other attributes than it has now. To register it anew, which ends its \
             tasks: stop it, `rm -f /var/lib/dcos/mesos-resources {latest}`, start it. With \
             MESOS_RECONFIGURATION_POLICY=additive and attributes that only came, leave {latest}, and its tasks run on"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// `Attributes::parse()` of Mesos' src/common/attributes.cpp and `values::parse()` of values.cpp: the name, the
    /// type and the value of each; `None` where the agent ends.
    fn parse(text: &str) -> Option<Vec<(String, &'static str, String)>> {
        let tokens = text.split([';', '\n']).filter(|token| !token.is_empty());
        let attribute = |token: &str| {
            let (name, value) = token.split_once(':').filter(|(name, value)| !name.is_empty() && !value.is_empty())?;
            let value = value.replace(' ', "");
            let kind = match value.chars().next()? {
                '[' => "ranges",
                // A set is no attribute.
                '{' => return None,
                _ if value.contains(['[', '{']) => return None,
                _ if value.parse::<f64>().is_ok() => "scalar",
                _ => "text",
            };
            Some((name.to_owned(), kind, value))
        };
        tokens.map(attribute).collect()
    }

    #[test]
    fn attributes_parse_by_the_rules_of_mesos() {
        let ours = map(&[("pg", "vol-5afc0745"), ("slot", "3")]);
        for (existing, others) in [
            ("", vec![]),
            ("a:b;c:d", vec![("a", "text", "b"), ("c", "text", "d")]),
            ("ports:[1-2,5-6]", vec![("ports", "ranges", "[1-2,5-6]")]),
            ("pg:old;a:b", vec![("a", "text", "b")]),
            ("a:b;", vec![("a", "text", "b")]),
            ("at:10.0.0.3;x:y:z", vec![("at", "text", "10.0.0.3"), ("x", "text", "y:z")]),
        ] {
            let text = format!("MESOS_ATTRIBUTES={existing}\n");
            let merged = merge(Some(&text), "", &ours, &BTreeSet::new()).unwrap().unwrap();
            let value = merged.strip_prefix("MESOS_ATTRIBUTES=").unwrap().trim_end();
            let mut read = parse(value).unwrap();
            for own in [("pg", "text", "vol-5afc0745"), ("slot", "scalar", "3")] {
                let own = (own.0.to_owned(), own.1, own.2.to_owned());
                read.remove(read.iter().position(|one| *one == own).expect(value));
            }
            let others: Vec<_> =
                others.iter().map(|(key, kind, text)| (key.to_string(), *kind, text.to_string())).collect();
            assert_eq!(read, others);
            assert_eq!(merge(Some(&merged), "", &ours, &BTreeSet::new()).unwrap().unwrap(), merged, "a second merge");
        }
        assert_eq!([parse("a"), parse("a:"), parse(":b"), parse("a:{b}")], [None, None, None, None]);
    }

    #[test]
    fn others_lines_stay_as_they_are() {
        let (ours, keys) = (map(&[("pg", "vol-1")]), BTreeSet::from(["pg".to_owned()]));
        let before = "# a\nMESOS_ATTRIBUTES=\"az:us-east-1a\"\nMESOS_IP=10.0.0.1\n";
        let merged = merge(Some(before), "public_ip:true", &ours, &BTreeSet::new()).unwrap().unwrap();
        assert_eq!(merged, "# a\nMESOS_ATTRIBUTES=\"az:us-east-1a;pg:vol-1\"\nMESOS_IP=10.0.0.1\n");
        assert_eq!(merge(Some(&merged), "public_ip:true", &map(&[]), &keys).unwrap().unwrap(), before);
        // A line of our own stands in for the earlier file's, and goes again.
        let made = merge(None, "public_ip:true", &ours, &BTreeSet::new()).unwrap().unwrap();
        assert!(made.ends_with("\nMESOS_ATTRIBUTES=public_ip:true;pg:vol-1\n"), "{made}");
        assert_eq!(merge(Some(&made), "public_ip:true", &map(&[]), &keys).unwrap(), None);
        assert!(merge(Some("MESOS_ATTRIBUTES=a:b\\\n;c:d\n"), "", &ours, &keys).is_err());
    }
}
