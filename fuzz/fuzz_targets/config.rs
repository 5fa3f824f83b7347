//! YAML texts, merged as files and drop-ins are: an error points into its text and prints fit for a terminal; what is
//! accepted keeps the rules that the later phases count on.
//!
//! A form feed ends one text and begins the next.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use volinit::config::template::{Piece, Word};
use volinit::config::{
    Config, Ebs, EbsVolume, Eni, Id, Interface, MountPoint, Problems, Signal, Source, Takeover, Volume, VolumeId,
    parse, template,
};
use volinit::publish::escape::unit_name;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let texts: Vec<&str> = text.split('\x0c').collect();
    match parse(&texts) {
        Ok(config) => accepted(&config),
        Err(problems) => refused(&problems, &texts),
    }
});

fn refused(problems: &Problems, texts: &[&str]) {
    assert!(!problems.0.is_empty(), "refused for no reason");
    for problem in &problems.0 {
        assert!(!problem.message.is_empty());
        let text = texts[problem.subject.parse::<usize>().expect("the subject is the text's number")];
        let Some(position) = &problem.position else { continue };
        // What is missing at the end of the text is missing on the line after it.
        let ends = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
        let lines: Vec<String> = text.replace("\r\n", "\n").split(ends).map(str::to_owned).collect();
        assert!((1..=lines.len() + 1).contains(&position.line), "{position:?}");
        assert_eq!(lines.get(position.line - 1).map_or("", |line| line), position.text, "{position:?}");
        let characters = position.text.chars().count();
        assert!((1..=characters + 1).contains(&position.column), "{position:?}");
        assert!(position.width == 1 || position.column - 1 + position.width <= characters, "{position:?}");
    }
    let printed = problems.to_string();
    assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "a control character is printed: {printed:?}");
}

fn accepted(config: &Config) {
    assert!(config.volumes.is_sorted_by(|one, other| one.name < other.name), "names are sorted and not given twice");
    let places: BTreeSet<_> = config.volumes.iter().map(|volume| &volume.mount.at).collect();
    assert_eq!(places.len(), config.volumes.len(), "a mount point twice");
    config.volumes.iter().for_each(volume);
    let keys: Vec<_> = config.volumes.iter().flat_map(|volume| volume.metadata.keys()).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "a key of the metadata twice");
    assert!(keys.is_empty() || !config.publish.is_empty(), "nobody is told");
    config.volumes.iter().for_each(|volume| words(config, volume));
    config.interfaces.iter().for_each(|one| interface(config, one));
    let sorted = config.interfaces.is_sorted_by(|one, other| one.name < other.name);
    assert!(sorted, "names are sorted and not given twice");
    let indices: BTreeSet<_> = config.interfaces.iter().map(|one| one.device_index).collect();
    assert_eq!(indices.len(), config.interfaces.len(), "a device index twice");
    for (nth, one) in config.interfaces.iter().enumerate() {
        assert!(config.interfaces[..nth].iter().all(|other| other.eni != one.eni), "a network interface twice");
    }
    for (nth, signal) in config.signals.iter().enumerate() {
        assert!(!config.signals[..nth].contains(signal), "told twice");
        let (Signal::Stack { stack: one, resource: two } | Signal::Lifecycle { group: one, hook: two }) = signal;
        assert!([one, two].iter().all(|text| !text.is_empty() && !text.contains(char::is_control)), "{signal:?}");
    }
}

/// What stands in braces stands for something that there will be.
fn words(config: &Config, volume: &Volume) {
    let paired = |one: &Interface| one.eni == Eni::SlotOf(volume.name.clone());
    for template in volume.metadata.values() {
        for piece in template::pieces(template).expect("an accepted template is one") {
            let Piece::Word(word) = piece else { continue };
            assert!(match word {
                Word::Slot => slotted(volume),
                Word::Zone => matches!(volume.source, Source::Ebs(Ebs { attach: true, .. })),
                Word::Address => config.interfaces.len() == 1 || config.interfaces.iter().any(paired),
                Word::VolumeId | Word::Uuid | Word::Name | Word::Size | Word::Mount => true,
            });
        }
    }
}

fn slotted(volume: &Volume) -> bool {
    matches!(&volume.source, Source::Ebs(Ebs { volume: EbsVolume::Pool { slot_tag: Some(_), .. }, .. }))
}

fn interface(config: &Config, interface: &Interface) {
    let Interface { name, eni, device_index, timeout } = interface;
    named(name);
    assert!((1..=15).contains(device_index) && !timeout.is_zero());
    match eni {
        Eni::Id(id) => assert!(id.starts_with("eni-") && matches!(id.len(), 12 | 21), "{id:?}"),
        Eni::Tags(tags) => tagged(tags),
        Eni::SlotOf(name) => assert!(config.volumes.iter().any(|volume| volume.name == *name && slotted(volume))),
    }
}

fn ebs(ebs: &Ebs) {
    match &ebs.volume {
        EbsVolume::Id(id) => assert_eq!(VolumeId::parse(&id.to_string()).as_ref(), Some(id)),
        EbsVolume::Tags(tags) => tagged(tags),
        EbsVolume::Pool { tags, slot_tag } => {
            tagged(tags);
            assert!(ebs.attach, "nobody could tell which one");
            assert!(slot_tag.as_ref().is_none_or(|key| (1..=128).contains(&key.chars().count())), "{slot_tag:?}");
        }
    }
    assert!(!ebs.timeout.is_zero());
    assert!(ebs.attach || ebs.takeover == Takeover::default(), "a takeover without an attach");
    assert!(!matches!(ebs.takeover, Takeover::Force { after } if after.is_zero()), "forced at once");
}

fn tagged(tags: &BTreeMap<String, String>) {
    assert!(!tags.is_empty(), "any one would do");
    for (key, value) in tags {
        assert!((1..=128).contains(&key.chars().count()) && value.chars().count() <= 256, "{key:?}: {value:?}");
    }
}

fn named(name: &str) {
    assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) && name.len() <= 64);
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

fn volume(volume: &Volume) {
    let Volume { name, source, filesystem, mount, metadata } = volume;
    named(name);

    if let Some(label) = &filesystem.label {
        assert!((1..=filesystem.kind.label_limit()).contains(&label.len()), "{label:?}");
        assert!(!label.contains(|c: char| c.is_control() || c == '/'), "{label:?}");
    }
    assert!(!filesystem.mkfs_options.iter().any(String::is_empty));

    let at = mount.at.as_path();
    normal(at);
    assert_eq!(MountPoint::parse(&mount.at.to_string()).as_ref(), Ok(&mount.at));
    assert_eq!(unescaped(&unit_name(mount.at.as_path(), "mount")), at.to_str().expect("a config is UTF-8"));
    for option in &mount.options {
        assert!(!option.is_empty() && !option.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()));
    }
    assert!(mount.mode.is_none_or(|mode| mode <= 0o7777));
    if let Some(owner) = &mount.owner {
        assert!(owner.user.is_some() || owner.group.is_some(), "an owner of nobody");
        for id in [&owner.user, &owner.group].into_iter().flatten() {
            match id {
                Id::Number(number) => assert_ne!(*number, u32::MAX, "chown(2)'s word for none"),
                Id::Name(name) => assert!(!name.is_empty() && !name.contains([':', '/', '\n']), "{name:?}"),
            }
        }
    }

    match source {
        Source::Device { path, timeout } => {
            normal(path);
            assert!(path.starts_with("/dev") && path != Path::new("/dev") && !timeout.is_zero());
        }
        Source::Image { path, size } => {
            normal(path);
            assert!(!path.starts_with("/dev") && !path.starts_with(at) && size.0 > 0);
        }
        Source::Ebs(found) => ebs(found),
        Source::Nfs { export, .. } => assert!(export.contains(":/")),
    }
    for (key, value) in metadata {
        assert!(!key.is_empty() && key.chars().all(plain), "{key:?}");
        template::pieces(value).expect("an accepted template is one");
    }
}

/// Absolute, with names alone behind the slash.
fn normal(path: &Path) {
    let text = path.to_str().expect("a config is UTF-8");
    let mut parts = path.components();
    assert_eq!(parts.next(), Some(Component::RootDir), "{text:?}");
    assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{text:?}");
    assert!(!text.contains(char::is_control) && !text.contains("//") && !text.contains("/./"), "{text:?}");
    assert!(text.len() > 1 && !text.ends_with('/') && !text.ends_with("/."), "{text:?}");
}

/// The path of a unit's name, the other way round than volinit makes it.
fn unescaped(unit: &str) -> String {
    let name = unit.strip_suffix(".mount").expect("it was asked for");
    let mut bytes = vec![b'/'];
    let mut rest = name.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'-' => b'/',
            b'\\' => {
                let code = std::str::from_utf8(&tail[1..3]).expect("two digits");
                rest = &tail[3..];
                u8::from_str_radix(code, 16).expect("two digits")
            }
            plain => *plain,
        });
    }
    String::from_utf8(bytes).expect("it was UTF-8 before")
}
