//! Any text as a template: its parts put together are the template; expanded, each word stands for its value and every
//! other character for itself; what is refused says why.

#![no_main]

use libfuzzer_sys::fuzz_target;
use volinit::bytes::Bytes;
use volinit::config::MountPoint;
use volinit::config::template::{Piece, Word, pieces};
use volinit::publish::template::expand;
use volinit::publish::{CloudWords, Words};

fuzz_target!(|data: &[u8]| {
    let Ok(template) = std::str::from_utf8(data) else { return };
    let full = Words {
        volume_id: Some("vol-5afc0745".to_owned()),
        // A value is no template.
        uuid: Some("{name}".to_owned()),
        name: "}{".to_owned(),
        size: Some(Bytes(7)),
        mount: MountPoint::parse("/data").expect("it is one"),
        cloud: CloudWords { slot: Some("3".into()), zone: Some("z".into()), address: Some("10.0.0.3".into()) },
    };
    let bare = Words { volume_id: None, uuid: None, size: None, cloud: CloudWords::default(), ..full.clone() };
    let pieces = match pieces(template) {
        Ok(pieces) => pieces,
        Err(why) => {
            assert!(template.contains(['{', '}']), "{why}");
            assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}");
            assert!(expand(template, &full).is_err());
            return;
        }
    };
    let (mut again, mut expected) = (String::new(), String::new());
    for piece in &pieces {
        match piece {
            Piece::Text(text) => {
                assert!(!text.is_empty() && !text.contains(['{', '}']), "{text:?}");
                again.push_str(text);
                expected.push_str(text);
            }
            Piece::Word(word) => {
                again.extend(["{", word.name(), "}"]);
                expected.push_str(match word {
                    Word::VolumeId => "vol-5afc0745",
                    Word::Uuid => "{name}",
                    Word::Name => "}{",
                    Word::Size => "7",
                    Word::Mount => "/data",
                    Word::Slot => "3",
                    Word::Zone => "z",
                    Word::Address => "10.0.0.3",
                });
            }
        }
    }
    assert_eq!(again, template);
    assert_eq!(expand(template, &full).ok(), Some(expected));
    let lacking = |piece: &Piece| matches!(piece, Piece::Word(word) if !matches!(word, Word::Name | Word::Mount));
    assert_eq!(expand(template, &bare).is_err(), pieces.iter().any(lacking));
});
