//! What a device carries, decided from three witnesses: libblkid, our own parsers, our own reads.
//! Pure: the witnesses are given. Where they disagree, the stricter one wins.

use std::fmt;

use anyhow::Result;

use super::blank::{Found, Proof, Verdict};
use super::blkid::{Signature, Signatures, Usage};
use super::interrupted::Interrupted;
use super::superblock::{Finding, Superblock};
use crate::config::FsType;

/// What a device carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: every witness says so, and zeros were read.
    Blank(Proof),
    /// One whole filesystem of a type that volinit knows.
    Filesystem(Superblock),
    /// A first format of ours that was cut off; every byte of it is known to be ours.
    Interrupted(Interrupted),
    /// Something that is not ours to touch.
    Foreign(Sign),
    /// A filesystem that needs a person.
    Damaged {
        /// Its type.
        kind: FsType,
        /// What is wrong, and where.
        evidence: String,
        /// The command that may mend it; the device's path is to be put for `DEVICE`.
        repair: String,
    },
    /// Two or more that exclude each other.
    Ambiguous(Vec<Sign>),
    /// No signature, and yet not zeros.
    Data {
        /// The first byte that is set, or the place of what was recognised.
        offset: u64,
        /// What it looks like.
        found: Found,
    },
    /// It could not be read, so that nothing is known.
    Unreadable(String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Blank(_) => f.write_str("blank"),
            Content::Interrupted(ours) => write!(f, "interrupted format as {}", ours.kind),
            Content::Filesystem(found) if found.label.is_empty() => write!(f, "{}", found.kind),
            Content::Filesystem(found) => write!(f, "{} `{}`", found.kind, found.label),
            Content::Foreign(sign) => f.write_str(&sign.kind),
            Content::Damaged { kind, .. } => write!(f, "damaged {kind}"),
            Content::Ambiguous(signs) => {
                let kinds: Vec<&str> = signs.iter().map(|sign| sign.kind.as_str()).collect();
                write!(f, "ambiguous: {}", kinds.join(", "))
            }
            Content::Data { .. } => f.write_str("data"),
            Content::Unreadable(_) => f.write_str("unreadable"),
        }
    }
}

impl Content {
    /// The UUIDs of what is there, as a refusal tells them.
    pub fn uuids(&self) -> Vec<&str> {
        match self {
            Content::Filesystem(found) => vec![&found.uuid],
            Content::Foreign(sign) => sign.uuid.as_deref().into_iter().collect(),
            Content::Ambiguous(signs) => signs.iter().filter_map(|sign| sign.uuid.as_deref()).collect(),
            Content::Blank(_)
            | Content::Interrupted(_)
            | Content::Damaged { .. }
            | Content::Data { .. }
            | Content::Unreadable(_) => Vec::new(),
        }
    }
}

impl From<Verdict> for Content {
    fn from(verdict: Verdict) -> Content {
        match verdict {
            Verdict::Zeros(proof) => Content::Blank(proof),
            Verdict::Data { offset, found } => Content::Data { offset, found },
            Verdict::Unreadable { offset, error } => {
                Content::Unreadable(format!("byte {offset} could not be read: {error}"))
            }
        }
    }
}

/// A signature that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// libblkid's name for it: `crypto_LUKS`, `gpt`, `swap`.
    pub kind: String,
    /// What it is, for a person: `a partition table`.
    pub what: &'static str,
    /// Where its magic is, in bytes.
    pub offset: Option<u64>,
    /// Its UUID, where it has one.
    pub uuid: Option<String>,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.what, self.kind)?;
        if let Some(offset) = self.offset {
            write!(f, ", at byte {offset}")?;
        }
        f.write_str(")")
    }
}

/// Decides. `ours` reads the superblocks; `unmarked` finds out what a device without any signature carries, and
/// only when it comes to that.
pub(super) fn decide<E: fmt::Display>(
    libblkid: Result<Signatures, E>,
    ours: impl FnOnce() -> Result<Vec<Finding>>,
    unmarked: impl FnOnce() -> Result<Content>,
) -> Content {
    let signatures = match libblkid {
        Ok(signatures) => signatures,
        Err(error) => return Content::Unreadable(error.to_string()),
    };
    let ours = match ours() {
        Ok(ours) => ours,
        Err(error) => return Content::Unreadable(format!("{error:#}")),
    };

    let mut signs: Vec<Sign> = Vec::new();
    for signature in &signatures.found {
        let what = word(signature.usage);
        let Signature { kind, offset, uuid, .. } = signature.clone();
        let sign = Sign { kind, what, offset, uuid };
        if !signs.iter().any(|known| known.kind == sign.kind) {
            signs.push(sign);
        }
    }
    for finding in &ours {
        let kind = finding_kind(finding);
        if let Some(kind) = kind.filter(|kind| !signs.iter().any(|sign| sign.kind == kind.name())) {
            signs.push(Sign { kind: kind.name().into(), what: word(Usage::Filesystem), offset: None, uuid: None });
        }
    }

    match signs.as_slice() {
        [] if signatures.ambivalent => Content::Ambiguous(signs),
        [] => unmarked().unwrap_or_else(|error| Content::Unreadable(format!("{error:#}"))),
        [one] if !signatures.ambivalent => whole(one, &ours, signatures.found.iter().any(|found| found.bad_checksum)),
        _ => Content::Ambiguous(signs),
    }
}

/// One kind of signature was found: a filesystem of ours that parses, or something else.
fn whole(sign: &Sign, ours: &[Finding], bad_checksum: bool) -> Content {
    let Some(kind) = FsType::parse(&sign.kind) else { return Content::Foreign(sign.clone()) };
    let damaged = |evidence: String| Content::Damaged { kind, evidence, repair: repair(kind).to_owned() };
    match ours.iter().find(|finding| finding_kind(finding) == Some(kind)) {
        Some(Finding::Damaged { evidence, .. }) => damaged(evidence.clone()),
        Some(Finding::Superblock(_)) if bad_checksum => {
            damaged("libblkid finds a superblock with a wrong checksum".into())
        }
        Some(Finding::Superblock(superblock)) => Content::Filesystem(superblock.clone()),
        Some(Finding::Absent) | None => damaged("libblkid finds a superblock that makes no sense".into()),
    }
}

fn finding_kind(finding: &Finding) -> Option<FsType> {
    match finding {
        Finding::Absent => None,
        Finding::Superblock(superblock) => Some(superblock.kind),
        Finding::Damaged { kind, .. } => Some(*kind),
    }
}

/// The command that mends a primary superblock of this type.
fn repair(kind: FsType) -> &'static str {
    match kind {
        // e2fsck falls back to the backup superblocks by itself when the primary one is bad.
        FsType::Ext4 => "e2fsck -f DEVICE",
        FsType::Xfs => "xfs_repair DEVICE",
        FsType::Btrfs => "btrfs rescue super-recover DEVICE",
    }
}

fn word(usage: Usage) -> &'static str {
    match usage {
        Usage::Filesystem => "a filesystem",
        Usage::Raid => "a member of a RAID or of a volume group",
        Usage::Crypto => "an encrypted volume",
        Usage::PartitionTable => "a partition table",
        Usage::Other => "something of another program's",
    }
}
