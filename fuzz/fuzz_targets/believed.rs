//! What must be true of anything that a parser says.

use volinit::config::FsType;
use volinit::probe::{Finding, State};

pub fn check(asked: FsType, finding: &Finding) {
    match finding {
        Finding::Absent => {}
        Finding::Superblock(found) => {
            assert_eq!(found.kind, asked);
            assert!(found.block_size.is_power_of_two() && (512..=65536).contains(&found.block_size), "{found:?}");
            assert!(found.size.0 > 0, "{found:?}");
            let whole = found.size.0.is_multiple_of(u64::from(found.block_size));
            assert!(whole || asked == FsType::Btrfs, "{found:?}");
            // Field widths; a byte that is no UTF-8 becomes one character.
            let field = if asked == FsType::Btrfs { 256 } else { asked.label_limit() };
            assert!(found.label.chars().count() <= field && !found.label.contains('\0'), "{found:?}");
            let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let uuid = found.uuid.bytes().enumerate();
            let mut shape =
                uuid.map(|(at, byte)| if [8, 13, 18, 23].contains(&at) { byte == b'-' } else { hexadecimal(byte) });
            assert!(found.uuid.len() == 36 && shape.all(|right| right), "{found:?}");
            match &found.state {
                State::Clean => {}
                State::NeedsCheck { reason } => assert!(asked == FsType::Ext4 && !reason.is_empty()),
            }
        }
        Finding::Damaged { kind, evidence } => {
            assert_eq!(*kind, asked);
            assert!(evidence.starts_with(&format!("{kind} superblock at byte ")), "{evidence:?}");
            assert!(!evidence.contains(char::is_control), "{evidence:?}");
        }
    }
}
