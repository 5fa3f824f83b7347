//! What only shows across entries: two of them that want one thing, metadata that its target cannot carry.
//! Pure, over the decoded config; the tree is asked for places only. That two paths may be one device through
//! a link is for [`crate::locate`] to find.

use std::collections::BTreeMap;

use crate::config::carried;
use crate::config::position::Place;
use crate::config::problem::{Report, instead, tick};
use crate::config::schema::{Config, Ebs, EbsVolume, Eni, Interface, Source, Target, Volume};
use crate::config::template::{self, Piece, Word};
use crate::config::tree::{Node, Value};

/// Reports all of it.
pub fn across(config: &Config, tree: &Node, report: &mut Report) {
    let volumes = &config.volumes;
    let place = |volume: &Volume, path: &[&str]| tree.place(&[&["volumes", &volume.name], path].concat(), false);

    let mounts = volumes.iter().map(|volume| {
        let thing = format!("the mount point {}", tick(&volume.mount.at.to_string()));
        (thing, called(volume), place(volume, &["mount", "at"]))
    });
    twice(report, mounts, "give each volume its own");

    let sources = volumes.iter().filter_map(|volume| {
        let (kind, thing) = source(&volume.source)?;
        Some((thing, called(volume), place(volume, &["source", kind])))
    });
    twice(report, sources, "one source makes one volume, remove one of the two");

    let keys = volumes.iter().flat_map(|volume| volume.metadata.keys().map(move |key| (volume, key)));
    let keys = keys
        .map(|(volume, key)| (format!("the metadata key {}", tick(key)), called(volume), key_place(tree, volume, key)));
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
        } else if volume.carriers(volumes).contains(&volume) {
            // Mount points alone make no circle: there is an image in it, and that can lie elsewhere.
            let on: Vec<String> =
                volumes.iter().filter(|other| volume.lies_on(other)).map(|other| tick(&other.name)).collect();
            let message = format!(
                "{} lies on {}, which in turn lies on it: none of them could be first. Put an image elsewhere, such as \
                 /var/lib/volinit/{}.img",
                called(volume),
                on.join(", "),
                volume.name
            );
            report.add(&place(volume, &["source"]), message);
        }
        if config.publish.contains(&Target::Swarm) && volume.name.len() < 2 {
            // moby's volume/local/local.go.
            let message =
                "no volume of Docker's has so short a name: write two characters at least, or leave out `swarm`";
            report.add(&tree.place(&["volumes", &volume.name], true), message);
        }
        metadata(config, volume, tree, report);
    }
    interfaces(config, tree, report);
}

fn called(volume: &Volume) -> String {
    format!("volume {}", tick(&volume.name))
}

/// Reports each thing that a second entry claims: the thing, the entry that claims it, and where.
fn twice(report: &mut Report, claims: impl Iterator<Item = (String, String, Place)>, way_out: &str) {
    let mut taken: BTreeMap<String, (String, Place)> = BTreeMap::new();
    for (thing, entry, place) in claims {
        if let Some((first, there)) = taken.get(&thing) {
            let line = report.line_of(there);
            report.add(&place, format!("{thing} is taken by {first} ({line}): {way_out}"));
        } else {
            taken.insert(thing, (entry, place));
        }
    }
}

fn interfaces(config: &Config, tree: &Node, report: &mut Report) {
    let place = |interface: &Interface, path: &[&str], on_key| {
        tree.place(&[&["interfaces", &interface.name], path].concat(), on_key)
    };
    let called = |interface: &Interface| format!("interface {}", tick(&interface.name));

    let indices = config.interfaces.iter().map(|interface| {
        let thing = format!("the device index {}", interface.device_index);
        let mut at = place(interface, &["device-index"], false);
        // Where it is the default, the interface's name.
        at.on_key = at.path.len() < 3;
        (thing, called(interface), at)
    });
    twice(report, indices, "give each interface its own `device-index`");

    let enis = config.interfaces.iter().map(|interface| {
        let (thing, path, on_key) = match &interface.eni {
            Eni::Id(id) => (format!("the network interface {}", tick(id)), &["eni"][..], false),
            Eni::Tags(tags) => (format!("the network interface with the tags {tags:?}"), &["eni", "tags"][..], true),
            Eni::SlotOf(volume) => (format!("the slot of volume {}", tick(volume)), &["eni", "slot-of"][..], false),
        };
        (thing, called(interface), place(interface, path, on_key))
    });
    twice(report, enis, "one network interface is attached once, remove one of the two");

    for interface in &config.interfaces {
        if let Eni::SlotOf(name) = &interface.eni
            && let Some(message) = no_slot(config, tree, name)
        {
            report.add(&place(interface, &["eni", "slot-of"], false), message);
        }
    }
}

/// Why the volume of this name has no slot.
fn no_slot(config: &Config, tree: &Node, name: &str) -> Option<String> {
    let Some(volume) = config.volumes.iter().find(|volume| volume.name == name) else {
        // One that is there and is no volume has been reported.
        let named = tree.get("volumes").is_some_and(|volumes| volumes.get(name).is_some());
        let known: Vec<_> = config.volumes.iter().map(|volume| volume.name.as_str()).collect();
        let instead = if known.is_empty() { "name one that is a pool".to_owned() } else { instead(name, &known) };
        return (!named).then(|| format!("there is no volume {}: {instead}", tick(name)));
    };
    match slots(&volume.source) {
        Slots::Tagged => None,
        Slots::Untagged => {
            Some(format!("the pool of {} has no slots: add slot-tag: KEY beside `pool`", called(volume)))
        }
        Slots::NoPool => Some(format!(
            "{} has no slot: make it one of a pool, as in ebs: {{ pool: {{ tags: {{ cluster: kafka }} }}, slot-tag: \
             slot }}, or name the network interface by its id or tags",
            called(volume)
        )),
    }
}

/// Whether something tells a pool's volumes apart.
#[derive(PartialEq)]
enum Slots {
    /// Its `slot-tag`.
    Tagged,
    /// Nothing: it has none.
    Untagged,
    /// It is no pool.
    NoPool,
}

fn slots(source: &Source) -> Slots {
    match source {
        Source::Ebs(Ebs { volume: EbsVolume::Pool { slot_tag: Some(_), .. }, .. }) => Slots::Tagged,
        Source::Ebs(Ebs { volume: EbsVolume::Pool { slot_tag: None, .. }, .. }) => Slots::Untagged,
        Source::Ebs(_) | Source::Device { .. } | Source::Image { .. } | Source::Nfs { .. } => Slots::NoPool,
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
                && let Some(why) = lacks(config, volume, *word, tree)
            {
                report.add(&value, why);
            }
        }
        // What is not known yet is any text, of which publishing finds out; these are as it may well be.
        let said: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => (*text).to_owned(),
                Piece::Word(Word::Mount) => volume.mount.at.to_string(),
                Piece::Word(Word::Name) => volume.name.clone(),
                Piece::Word(Word::Address) => "10.0.0.3".to_owned(),
                Piece::Word(Word::VolumeId | Word::Uuid | Word::Size | Word::Slot | Word::Zone) => "0a".to_owned(),
            })
            .collect();
        for target in &config.publish {
            if let Err(message) = carried::key(target, key) {
                report.add(&key_place(tree, volume, key), message);
            }
            if let Err(message) = carried::value(target, &said) {
                report.add(&value, message);
            }
        }
    }
}

/// Why the volume has nothing for the word.
fn lacks(config: &Config, volume: &Volume, word: Word, tree: &Node) -> Option<String> {
    const NFS: &str = "an nfs export has no volume id, uuid or size: use {name}, {mount} or a text";
    let nfs = matches!(volume.source, Source::Nfs { .. });
    match word {
        Word::Name | Word::Mount => None,
        Word::VolumeId if matches!(volume.source, Source::Image { .. }) => {
            Some("an image has no volume id: use {uuid}, its filesystem's".to_owned())
        }
        Word::VolumeId | Word::Uuid | Word::Size => nfs.then(|| NFS.to_owned()),
        Word::Slot => match slots(&volume.source) {
            Slots::Tagged => None,
            Slots::Untagged => {
                Some("the pool has no slots: add slot-tag: KEY beside `pool`, or write a text".to_owned())
            }
            Slots::NoPool => {
                Some("only a volume of a pool with a `slot-tag` has {slot}: use {name} or a text".to_owned())
            }
        },
        Word::Zone => match &volume.source {
            Source::Ebs(ebs) if ebs.attach => None,
            Source::Ebs(_) => {
                Some("EC2 says the zone when volinit attaches: add `attach: true`, or write the zone".to_owned())
            }
            Source::Device { .. } | Source::Image { .. } | Source::Nfs { .. } => {
                Some("only an EBS volume that volinit attaches has {zone}: write the zone in its place".to_owned())
            }
        },
        Word::Address => no_address(config, volume, tree),
    }
}

/// Why no network interface is the one whose address is meant.
fn no_address(config: &Config, volume: &Volume, tree: &Node) -> Option<String> {
    let paired = config.interfaces.iter().any(|one| one.eni == Eni::SlotOf(volume.name.clone()));
    // With those that are wrong, which have been reported.
    let named = match tree.get("interfaces").map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.len(),
        Some(_) => return None,
        None => 0,
    };
    match named {
        _ if paired => None,
        0 => Some(
            "there is no network interface to take {address} from: add one in `interfaces`, or write the address"
                .to_owned(),
        ),
        1 => None,
        _ if config.interfaces.len() != named => None,
        _ => {
            let way_out = if slots(&volume.source) == Slots::Tagged {
                format!("give one of them eni: {{ slot-of: {} }}", volume.name)
            } else {
                "write the address in its place".to_owned()
            };
            Some(format!("{{address}} could be that of each of the {named} network interfaces: {way_out}"))
        }
    }
}
