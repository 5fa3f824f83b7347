//! What Kubernetes is told: the kubelet, labels of its node, merged into the `--node-labels=` of the file that its unit
//! reads (kubeadm's 10-kubeadm.conf); a person or a tool, a `PersistentVolume` of what is mounted, for
//! `kubectl apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::files::{self, Content, File};
use super::unit::MARKER;
use super::{News, Published, envfile, json, pairs, systemd};
use crate::root::Root;

/// What reads the labels when it starts, and gives them to its node when that is made.
pub const SERVICES: [&str; 1] = ["kubelet.service"];

/// The kubelet's file, of the packages for Debian and of those for Red Hat's; the second where it is there.
const FILES: [&str; 2] = ["/etc/default/kubelet", "/etc/sysconfig/kubelet"];
const FLAG: &str = "--node-labels";

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
    let mut files = news.each(|name| format!("/etc/kubernetes/volinit/{name}.yaml"), manifest)?;
    files.push(File::of(path, text));
    Ok(files)
}

/// Tells a person what a node that is there takes.
pub fn tell(root: &Root) -> Result<()> {
    if systemd::is_active(root, SERVICES[0])? {
        log::info!(
            "the kubelet gave its node the labels when that was made: to give it those of now, `kubectl label --overwrite \
             node NODE KEY=VALUE`, and `KEY-` takes one back"
        );
    }
    log::info!("`kubectl apply -f /etc/kubernetes/volinit/` tells the cluster of the volumes");
    Ok(())
}

/// The kubelet's file with these labels, and without those of the `withdrawn` keys; `None` where no file need be.
#[doc(hidden)] // for the fuzzer
pub fn merge(
    text: Option<&str>,
    pairs: &BTreeMap<String, String>,
    withdrawn: &BTreeSet<String>,
) -> Result<Option<String>> {
    envfile::merge(text, "KUBELET_EXTRA_ARGS", "", |value| Ok(labels(value, pairs, withdrawn)))
}

/// The kubelet's arguments with the labels in the last list of them that there is, or in one of their own at the end. All
/// of the lists count, so that none of the others may have a key of ours; an empty one would be an empty key.
fn labels(arguments: &str, pairs: &BTreeMap<String, String>, withdrawn: &BTreeSet<String>) -> String {
    let mut merged = arguments.to_owned();
    let all = lists(arguments);
    let ours: BTreeSet<String> = pairs.keys().chain(withdrawn).cloned().collect();
    for (nth, list) in all.iter().enumerate().rev() {
        let (pairs, gone) = if nth + 1 == all.len() { (pairs, withdrawn) } else { (&BTreeMap::new(), &ours) };
        let said = &arguments[list.clone()];
        let new = pairs::merge(said, (',', '='), pairs, gone);
        if new.is_empty() && !said.is_empty() {
            // With the flag, and the blank before it.
            let before = merged[..list.start].trim_end_matches('=').trim_end();
            let start = before.strip_suffix(FLAG).unwrap_or(before).trim_end().len();
            let end = if start == 0 {
                list.end + (merged[list.end..].len() - merged[list.end..].trim_start().len())
            } else {
                list.end
            };
            merged.replace_range(start..end, "");
        } else {
            merged.replace_range(list.clone(), &new);
        }
    }
    if all.is_empty() && !pairs.is_empty() {
        let gap = if merged.is_empty() || merged.ends_with(' ') { "" } else { " " };
        merged = format!("{merged}{gap}{FLAG}={}", pairs::merge("", (',', '='), pairs, withdrawn));
    }
    merged
}

/// Where the lists of labels are: behind `--node-labels=`, or in the word after it.
fn lists(arguments: &str) -> Vec<Range<usize>> {
    let mut lists = Vec::new();
    let mut flag = false;
    for word in arguments.split([' ', '\t']) {
        let end = word.as_ptr() as usize - arguments.as_ptr() as usize + word.len();
        if let Some(list) = word.strip_prefix(FLAG).and_then(|rest| rest.strip_prefix('=')) {
            lists.push(end - list.len()..end);
        } else if flag && !word.is_empty() {
            lists.push(end - word.len()..end);
        }
        flag = word == FLAG || (flag && word.is_empty());
    }
    lists
}

/// The `PersistentVolume` of one that is mounted. Its affinity is to the volume's own labels, not to the node's name, so
/// that it is right on whichever node the volume is. Without a label there is nothing to find it by, and no manifest.
fn manifest(published: &Published<'_>) -> Result<Content> {
    let labels = published.metadata()?;
    let words = &published.words;
    let (Some(size), false) = (words.size, labels.is_empty()) else {
        return Ok(Content::Absent);
    };
    // A name of DNS-1123, and another one for each volume of a pool.
    let id = words.volume_id.as_ref().or(words.uuid.as_ref());
    let name = [Some(&words.name), id].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("-");
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let quoted = |text: &str| json(&text.into()).trim_end().to_owned();
    let term = |(key, value): (String, String)| {
        format!("            - {{ key: {}, operator: In, values: [{}] }}\n", quoted(&key), quoted(&value))
    };
    // A string of JSON is one of YAML.
    Ok(Content::Text(format!(
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
{}",
        words.name,
        quoted(name.trim_end_matches('-')),
        size.0,
        quoted(&words.mount.to_string()),
        labels.into_iter().map(term).collect::<String>(),
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
            ("--v=2 --node-labels a=b  --x", "--v=2 --node-labels a=b,pg=vol-1  --x"),
            ("--node-labels=a=b --node-labels=c=d", "--node-labels=a=b --node-labels=c=d,pg=vol-1"),
        ] {
            let text = |value: &str| format!("KUBELET_EXTRA_ARGS=\"{value}\"\n# x\n");
            let merged = merge(Some(&text(before)), &ours, &BTreeSet::new()).unwrap().unwrap();
            assert_eq!(merged, text(after));
            assert_eq!(merge(Some(&merged), &ours, &BTreeSet::new()).unwrap().unwrap(), merged, "a second merge");
            assert_eq!(merge(Some(&merged), &map(&[]), &keys).unwrap().unwrap(), text(before));
        }
        // A key has one value, wherever it was.
        let twice = "--node-labels=pg=1,a=b --node-labels=pg=2";
        assert_eq!(labels(twice, &ours, &BTreeSet::new()), "--node-labels=a=b --node-labels=pg=vol-1");
        assert_eq!(labels("--node-labels=pg=1 --v=2", &map(&[]), &keys), "--v=2");
        assert_eq!(labels("--node-labels pg=1", &map(&[]), &keys), "");
        assert_eq!(merge(None, &map(&[]), &keys).unwrap(), None);
        let made = merge(None, &ours, &BTreeSet::new()).unwrap().unwrap();
        assert_eq!(merge(Some(&made), &map(&[]), &keys).unwrap(), None);
    }
}
