//! YAML texts, merged as files and drop-ins are: an error points into its text and prints fit for a terminal; what is
//! accepted keeps the rules that the later phases count on.
//!
//! A form feed ends one text and begins the next.

#![no_main]

use std::collections::BTreeSet;
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use volinit::config::{Config, Id, MountPoint, Problems, Source, Volume, VolumeId, parse, template};
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
}

fn volume(volume: &Volume) {
    let Volume { name, source, filesystem, mount, metadata } = volume;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) && name.len() <= 64);

    if let Some(label) = &filesystem.label {
        assert!((1..=filesystem.kind.label_limit()).contains(&label.len()), "{label:?}");
        assert!(!label.contains(|c: char| c.is_control() || c == '/'), "{label:?}");
    }
    assert!(!filesystem.mkfs_options.iter().any(String::is_empty));

    let at = mount.at.as_path();
    normal(at);
    assert_eq!(MountPoint::parse(&mount.at.to_string()).as_ref(), Ok(&mount.at));
    assert_eq!(unescaped(&unit_name(&mount.at, "mount")), at.to_str().expect("a config is UTF-8"));
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
        Source::Ebs(ebs) => match &ebs.volume {
            volinit::config::EbsVolume::Id(id) => assert_eq!(VolumeId::parse(&id.to_string()).as_ref(), Some(id)),
            volinit::config::EbsVolume::Tags(tags) | volinit::config::EbsVolume::Pool { tags, .. } => assert!(!tags.is_empty(), "any volume would do"),
        },
        Source::Nfs { export } => assert!(export.contains(":/")),
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
