//! The text of a metadata value, its words replaced by what they stand for.
//! Pure: what a word stands for was found before.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::config::MountPoint;
use crate::config::template::{Piece, Word, pieces};

/// What the words stand for, for one volume. `None` where nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// `{volume-id}`: the EBS volume's id, from its serial or from the API.
    pub volume_id: Option<String>,
    /// `{uuid}`: the filesystem's.
    pub uuid: Option<String>,
    /// `{name}`: the volume's name in the config.
    pub name: String,
    /// `{size}`: the device's, in bytes, as a number.
    pub size: Option<Bytes>,
    /// `{mount}`: the mount point.
    pub mount: MountPoint,
    /// What EC2 said: `{slot}`, `{zone}`, `{address}`.
    pub cloud: CloudWords,
}

/// What EC2 said of a volume, this time or the time it was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudWords {
    /// The value of the pool's `slot-tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The private IP address of the network interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// `template` with what its words stand for.
///
/// # Errors
/// A word that stands for nothing on this volume, with the reason and the way out.
pub fn expand(template: &str, words: &Words) -> Result<String> {
    let pieces = pieces(template).map_err(|problem| anyhow!(problem))?;
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => Ok(text.to_owned()),
            Piece::Word(word) => words.value(word),
        })
        .collect()
}

impl Words {
    /// What is known of the volume, by the names that programs have for it; the size in bytes.
    pub fn facts(&self) -> [(&'static str, Option<String>); 8] {
        [
            ("name", Some(self.name.clone())),
            ("mount", Some(self.mount.to_string())),
            ("volume_id", self.volume_id.clone()),
            ("uuid", self.uuid.clone()),
            ("size", self.size.map(|size| size.0.to_string())),
            ("slot", self.cloud.slot.clone()),
            ("zone", self.cloud.zone.clone()),
            ("address", self.cloud.address.clone()),
        ]
    }

    fn value(&self, word: Word) -> Result<String> {
        let (value, why) = match word {
            Word::VolumeId => (
                self.volume_id.clone(),
                "its device reports no EBS serial; use {uuid}, or write the id in place of the word",
            ),
            Word::Uuid => (self.uuid.clone(), "its filesystem reports none; use {name}"),
            Word::Size => (self.size.map(|size| size.0.to_string()), "its device is not known yet; write the number"),
            Word::Name => (Some(self.name.clone()), ""),
            Word::Mount => (Some(self.mount.to_string()), ""),
            Word::Slot => (self.cloud.slot.clone(), "it is the tag named by `slot-tag`, of a volume from a pool"),
            Word::Zone => (self.cloud.zone.clone(), "EC2 says it when it attaches the volume; write the zone"),
            Word::Address => (self.cloud.address.clone(), "it is that of a network interface: see `interfaces`"),
        };
        value.ok_or_else(|| anyhow!("the volume `{}` has no value for {{{}}}: {why}", self.name, word.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words {
            volume_id: Some("vol-5afc0745".into()),
            uuid: Some("0b1c".into()),
            name: "postgres".into(),
            size: Some(Bytes::mib(64)),
            mount: MountPoint::parse("/data/postgres").unwrap(),
            cloud: CloudWords {
                slot: Some("3".into()),
                zone: Some("eu-central-1a".into()),
                address: Some("10.0.0.3".into()),
            },
        }
    }

    #[test]
    fn words_are_filled_in() {
        for (template, text) in [
            ("", ""),
            ("plain", "plain"),
            ("{volume-id}", "vol-5afc0745"),
            ("a-{uuid}.{name}", "a-0b1c.postgres"),
            ("{size}{mount}", "67108864/data/postgres"),
            ("{slot}:{zone}:{address}", "3:eu-central-1a:10.0.0.3"),
        ] {
            assert_eq!(expand(template, &words()).unwrap(), text, "{template}");
        }
        // A value is not a template.
        let odd = Words { name: "{uuid}".into(), ..words() };
        assert_eq!(expand("{name}", &odd).unwrap(), "{uuid}");
    }

    #[test]
    fn a_word_without_a_value_says_the_way_out() {
        let bare = Words { volume_id: None, ..words() };
        assert_eq!(
            expand("{volume-id}", &bare).unwrap_err().to_string(),
            "the volume `postgres` has no value for {volume-id}: its device reports no EBS serial; \
             use {uuid}, or write the id in place of the word"
        );
        assert!(expand("{name", &bare).is_err());
        for word in Word::ALL {
            assert!(expand(&format!("{{{}}}", word.name()), &words()).is_ok());
        }
    }
}
