//! What Kubernetes is told: the kubelet, labels of its node, merged into the `--node-labels=` of the file that its unit
//! reads (kubeadm's 10-kubeadm.conf); a person or a tool, a `PersistentVolume` of what is mounted, for
//! `kubectl apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::files::{self, File};
use super::unit::MARKER;
use super::{News, Published, envfile, json, pairs, systemd};
use crate::root::Root;

/// What reads the labels when it starts, and gives them to its node when that is made.
pub const SERVICES: [&str; 1] = ["kubelet.service"];

/// The kubelet's file, of the packages for Debian and of those for Red Hat's; the second where it is there.
const FILES: [&str; 2] = ["/etc/default/kubelet", "/etc/sysconfig/kubelet"];
const FLAG: &str = "--node-labels=";

/// The files that tell the kubelet and a person the news.
pub fn files(root: &Root, news: &News<'_>) -> Result<Vec<File>> {
    let [default, sysconfig] = FILES;
    let found = files::read(root, Path::new(sysconfig))?;
    let (path, text) = match found {
        Some(text) => (sysconfig, Some(text)),
        None => (default, files::read(root, Path::new(default))?),
    };
    let text = merge(text.as_deref(), &news.pairs, &news.keys)
        .with_context(|| format!("merging {}", root.path(path).display()))?;
    let mut files = news.each(("/etc/kubernetes/volinit/", ".yaml"), manifest)?;
    files.push(File::of(path.to_owned(), text));
    Ok(files)
}

/// Tells a person what a node that is there takes.
pub fn tell(root: &Root) -> Result<()> {
    if systemd::is_active(root, SERVICES[0])? {
        log::info!(
            "the kubelet gave its node the labels when that was made. To give it those of now: `kubectl label \
             --overwrite node NODE KEY=VALUE`; `KEY-` takes one back"
        );
    }
    log::info!("`kubectl apply -f /etc/kubernetes/volinit/` tells the cluster of the volumes");
    Ok(())
}

/// The kubelet's file with these labels, and without those of the `withdrawn` keys; `None` where no file need be.
pub fn merge(
    text: Option<&str>,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Option<String>> {
    envfile::merge(text, "KUBELET_EXTRA_ARGS", "", &|value| Ok(labels(value, pairs, withdrawn)))
}

/// The kubelet's arguments with the labels in the last list of them that there is, which counts, or in one of their own
/// at the end. A list that becomes empty goes, and its flag with it.
fn labels(arguments: &str, pairs: &BTreeMap<String, String>, withdrawn: &BTreeSet<String>) -> String {
    let mut words: Vec<&str> = arguments.split(' ').collect();
    let found = words.iter().rposition(|word| word.starts_with(FLAG));
    let said = found.map_or("", |nth| &words[nth][FLAG.len()..]);
    let list = pairs::merge(said, (',', '='), pairs, withdrawn);
    let word = format!("{FLAG}{list}");
    match found {
        _ if list == said => {}
        Some(nth) if list.is_empty() => drop(words.remove(nth)),
        Some(nth) => words[nth] = &word,
        None if arguments.is_empty() => words[0] = &word,
        None => words.push(&word),
    }
    words.join(" ")
}

/// The `PersistentVolume` of one that is mounted. Its affinity is to the volume's own labels, not to the node's name,
/// so that it is right on whichever node the volume is. Without a label there is nothing to find it by, and no
/// manifest.
fn manifest(published: &Published<'_>) -> Result<Option<String>> {
    let labels = published.metadata()?;
    let words = &published.words;
    let (Some(size), false) = (words.size, labels.is_empty()) else {
        return Ok(None);
    };
    // A name of DNS-1123, and another one for each volume of a pool.
    let id = words.volume_id.as_ref().or(words.uuid.as_ref());
    let name = format!("{}-{}", words.name, id.map_or("", String::as_str)).to_ascii_lowercase();
    let name = name.replace(['_', '.'], "-");
    let quoted = |text: &str| json(&text.into()).trim_end().to_owned();
    let mut terms = String::new();
    for (key, value) in labels {
        terms =
            format!("{terms}            - {{ key: {}, operator: In, values: [{}] }}\n", quoted(&key), quoted(&value));
    }
    // A string of JSON is one of YAML.
    Ok(Some(format!(
        "{MARKER} for the volume `{}`.
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: {} }}
spec:
  capacity: {{ storage: \"{}\" }}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: volinit
  local: {{ path: {} }}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions:
{terms}",
        words.name,
        quoted(name.trim_end_matches('-')),
        size.0,
        quoted(&words.mount.to_string()),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn labels_are_merged_into_the_last_list_and_taken_back() {
        let (ours, keys) = (map(&[("pg", "vol-1")]), BTreeSet::from(["pg".to_owned()]));
        for (before, after) in [
            ("", "--node-labels=pg=vol-1"),
            ("--v=2", "--v=2 --node-labels=pg=vol-1"),
            ("--node-labels=a=b", "--node-labels=a=b,pg=vol-1"),
            ("--v=2  --node-labels=a=b  --x", "--v=2  --node-labels=a=b,pg=vol-1  --x"),
            ("--node-labels=a=b --node-labels=c=d", "--node-labels=a=b --node-labels=c=d,pg=vol-1"),
        ] {
            let text = |value: &str| format!("KUBELET_EXTRA_ARGS=\"{value}\"\n# x\n");
            let merged = merge(Some(&text(before)), &ours, &BTreeSet::new()).unwrap().unwrap();
            assert_eq!(merged, text(after));
            assert_eq!(merge(Some(&merged), &ours, &BTreeSet::new()).unwrap().unwrap(), merged, "a second merge");
            assert_eq!(merge(Some(&merged), &map(&[]), &keys).unwrap().unwrap(), text(before));
        }
        assert_eq!(labels("--node-labels=pg=1,a=b", &ours, &BTreeSet::new()), "--node-labels=pg=vol-1,a=b");
        assert_eq!(labels("--node-labels=pg=1 --v=2", &map(&[]), &keys), "--v=2");
        assert_eq!(labels("--node-labels=pg=1", &map(&[]), &keys), "");
        assert_eq!(merge(None, &map(&[]), &keys).unwrap(), None);
        let made = merge(None, &ours, &BTreeSet::new()).unwrap().unwrap();
        assert_eq!(merge(Some(&made), &map(&[]), &keys).unwrap(), None);
    }
}
