//! What only shows across entries: two volumes that want one thing, metadata that its target cannot carry.
//! Pure, over the decoded config; the tree is asked for places only. That two paths may be one device through
//! a link is for [`crate::locate`] to find.

use std::collections::BTreeMap;

use crate::config::position::Place;
use crate::config::problem::{Report, tick};
use crate::config::schema::{Config, EbsVolume, Source, Target, Volume};
use crate::config::template::{self, Piece, Word};
use crate::config::tree::{Node, Value};

/// Reports all of it.
pub fn across(config: &Config, tree: &Node, report: &mut Report) {
    let volumes = &config.volumes;
    let place = |volume: &Volume, path: &[&str]| tree.place(&[&["volumes", &volume.name], path].concat(), false);

    let mounts = volumes.iter().map(|volume| {
        (format!("the mount point {}", tick(&volume.mount.at.to_string())), volume, place(volume, &["mount", "at"]))
    });
    twice(report, mounts, "give each volume its own");

    let sources = volumes.iter().filter_map(|volume| {
        let (kind, thing) = source(&volume.source)?;
        Some((thing, volume, place(volume, &["source", kind])))
    });
    twice(report, sources, "one source makes one volume, remove one of the two");

    let keys = volumes.iter().flat_map(|volume| volume.metadata.keys().map(move |key| (volume, key)));
    let keys =
        keys.map(|(volume, key)| (format!("the metadata key {}", tick(key)), volume, key_place(tree, volume, key)));
    twice(report, keys, "a node has one value for a key, choose another key");

    for volume in volumes {
        if let Source::Image { path, .. } = &volume.source
            && path.starts_with(volume.mount.at.as_path())
        {
            let message = format!(
                "the image {} lies below {}, where this volume is mounted over it: put it elsewhere, such as \
                 /var/lib/volinit/{}.img",
                tick(&path.to_string_lossy()),
                tick(&volume.mount.at.to_string()),
                volume.name
            );
            report.add(&place(volume, &["source", "image"]), message);
        }
        metadata(config, volume, tree, report);
    }
}

/// Reports each thing that a second volume claims.
fn twice<'v>(report: &mut Report, claims: impl Iterator<Item = (String, &'v Volume, Place)>, way_out: &str) {
    let mut taken: BTreeMap<String, (&Volume, Place)> = BTreeMap::new();
    for (thing, volume, place) in claims {
        if let Some((first, there)) = taken.get(&thing) {
            let line = report.line_of(there);
            report.add(&place, format!("{thing} is taken by volume {} ({line}): {way_out}", tick(&first.name)));
        } else {
            taken.insert(thing, (volume, place));
        }
    }
}

/// What two volumes cannot share, and its key. Volumes found by tags may well be two, and one export may be
/// mounted in two places.
fn source(source: &Source) -> Option<(&'static str, String)> {
    match source {
        Source::Device { path, .. } => Some(("device", format!("the device {}", tick(&path.to_string_lossy())))),
        Source::Image { path, .. } => Some(("image", format!("the image {}", tick(&path.to_string_lossy())))),
        Source::Ebs(ebs) => match &ebs.volume {
            EbsVolume::Id(id) => Some(("ebs", format!("the EBS volume {}", tick(&id.to_string())))),
            EbsVolume::Tags(_) | EbsVolume::Pool { .. } => None,
        },
        Source::Nfs { .. } => None,
    }
}

fn key_place(tree: &Node, volume: &Volume, key: &str) -> Place {
    tree.place(&["volumes", &volume.name, "metadata", key], true)
}

fn metadata(config: &Config, volume: &Volume, tree: &Node, report: &mut Report) {
    // A list with a wrong name in it has been reported, and it is not nobody.
    let nobody = tree.get("publish").is_none_or(|node| node.value == Value::Seq(Vec::new()));
    if nobody && !volume.metadata.is_empty() {
        let place = tree.place(&["volumes", &volume.name, "metadata"], true);
        report.add(&place, "nobody would be told this metadata: add `publish: [fleet]` at the top level, or remove it");
    }
    for (key, template) in &volume.metadata {
        let value = tree.place(&["volumes", &volume.name, "metadata", key], false);
        let pieces = template::pieces(template).expect("decode took it for a template");
        for piece in &pieces {
            if let Piece::Word(word) = piece
                && let Some(why) = lacks(&volume.source, *word)
            {
                report.add(&value, why);
            }
        }
        if config.publish.contains(&Target::Fleet) {
            if !fleet_key(key) {
                let message =
                    format!("fleet cannot carry the key {}: use letters, digits, `_`, `.` and `-`", tick(key));
                report.add(&key_place(tree, volume, key), message);
            }
            let mount = volume.mount.at.to_string();
            // The other words stand for what fleet can carry.
            let said = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => *text,
                Piece::Word(Word::Mount) => &mount,
                Piece::Word(
                    Word::VolumeId | Word::Uuid | Word::Name | Word::Size | Word::Slot | Word::Zone | Word::Address,
                ) => "",
            });
            if let Some(wrong) = said.flat_map(str::chars).find(|c| !fleet_takes(*c)) {
                let message = format!("fleet cannot carry {} in a value: leave it out", tick(&wrong.to_string()));
                report.add(&value, message);
            }
        }
    }
}

/// Why the source has nothing for the word.
fn lacks(source: &Source, word: Word) -> Option<&'static str> {
    match source {
        Source::Image { .. } => {
            (word == Word::VolumeId).then_some("an image has no volume id: use {uuid}, its filesystem's")
        }
        Source::Nfs { .. } => matches!(word, Word::VolumeId | Word::Uuid | Word::Size)
            .then_some("an nfs export has no volume id, uuid or size: use {name}, {mount} or a text"),
        Source::Device { .. } | Source::Ebs(_) => None,
    }
}

/// fleet's api-v1.md: keys match `[A-Za-z0-9_.-]+`.
fn fleet_key(key: &str) -> bool {
    key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// fleet splits its metadata at every `,` and `=`, and the value goes through a quoted line of a unit file.
fn fleet_takes(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || "=,#;\"'\\".contains(c))
}
