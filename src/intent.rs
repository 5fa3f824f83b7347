//! The record that a format is under way, as it stands on the disk: what the next run knows an interrupted
//! first format by, on this host or another. Pure: bytes in, bytes out, and no byte makes it panic.
//!
//! Two parts. The **header** is one sector and stands where the sector with the filesystem's magic will be, so
//! that writing that sector ends the format and the record in one. The **list** stands in space that the
//! filesystem leaves free; it has the place and the hash of every 512 bytes that the format writes, so that a
//! disk is taken for ours only where each of its bytes is accounted for: it is zero, or it is one of those.
//!
//! A sector is written whole or not at all; more is not asked of the disk. The list counts in the smallest that
//! there are, so that a copy on a disk of other sectors can be taken away there, cut off again or not; of a header
//! in a larger one only the first 512 bytes are set. All numbers are little endian.

use std::hash::Hasher;
use std::ops::Range;

use siphasher::sip::SipHasher13;

use crate::bytes::Bytes;
use crate::config::FsType;
use crate::probe::is_zero;

const HEADER_MAGIC: &[u8; 16] = b"volinit intent 1";
const LIST_MAGIC: &[u8; 8] = b"volilist";
/// What the list counts in, in bytes: the smallest sector of any disk.
pub const UNIT: usize = 512;
/// Magic, nonce and number before the payload of a unit of the list, and its hash behind.
const LIST_FRAME: usize = 8 + 16 + 4 + 8;
const LIST_PAYLOAD: usize = UNIT - LIST_FRAME;

/// The header: which format it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Drawn anew for each format; it keys all hashes.
    pub nonce: [u8; 16],
    /// The filesystem that is made.
    pub kind: FsType,
    /// The logical sector size of the disk, in bytes.
    pub sector: u32,
    /// The size of the disk.
    pub size: Bytes,
    /// Where the list begins.
    pub list_start: u64,
    /// How long the list is, in bytes.
    pub list_length: u64,
    /// The hash of the list's payload.
    pub list_hash: u64,
}

/// [`UNIT`] bytes that the format writes: where they are, and the hash of what they will be; 0 stands for zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In bytes from the beginning of the disk.
    pub offset: u64,
    /// As [`Intent::hash`] gives it.
    pub hash: u64,
}

/// What stands in the list's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// All of it.
    Whole(Vec<Entry>),
    /// Some of its units, zeros in place of the others. Content is written only once the list is whole.
    Partial,
    /// Something that is not ours, at this offset.
    Foreign(u64),
}

impl Intent {
    /// Where the sector with the filesystem's magic is: ext4's at 1080, XFS's at 0, Btrfs's at 65600.
    pub fn place(kind: FsType, sector: u32) -> u64 {
        let magic: u64 = match kind {
            FsType::Ext4 => 1080,
            FsType::Xfs => 0,
            FsType::Btrfs => 65600,
        };
        magic - magic % u64::from(sector)
    }

    /// The bytes of the list's place.
    pub fn list(&self) -> Range<u64> {
        self.list_start..self.list_start.saturating_add(self.list_length)
    }

    /// The hash of a unit's content; never 0, and of zeros always 0.
    pub fn hash(nonce: &[u8; 16], content: &[u8]) -> u64 {
        if is_zero(content) {
            return 0;
        }
        keyed(nonce, &[content]).max(1)
    }

    /// The header's sector.
    pub fn encode(&self) -> Vec<u8> {
        let mut sector = vec![0; self.sector as usize];
        sector[..16].copy_from_slice(HEADER_MAGIC);
        sector[16..32].copy_from_slice(&self.nonce);
        let name = self.kind.name().as_bytes();
        sector[32..32 + name.len()].copy_from_slice(name);
        sector[40..44].copy_from_slice(&self.sector.to_le_bytes());
        // 44 to 64 stay zero: ext4 has its magic at 56, and nobody shall take this for an ext4.
        sector[64..72].copy_from_slice(&self.size.0.to_le_bytes());
        sector[72..80].copy_from_slice(&self.list_start.to_le_bytes());
        sector[80..88].copy_from_slice(&self.list_length.to_le_bytes());
        sector[88..96].copy_from_slice(&self.list_hash.to_le_bytes());
        let hash = keyed(&self.nonce, &[&sector[..96]]);
        sector[96..104].copy_from_slice(&hash.to_le_bytes());
        sector
    }

    /// The header in this sector, where there is a whole one and the rest of the sector is zero.
    fn decode(bytes: &[u8]) -> Option<Intent> {
        let nonce: [u8; 16] = bytes.get(16..32)?.try_into().ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let sector = u32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?);
        let whole = &bytes[..16] == HEADER_MAGIC
            && number(96)? == keyed(&nonce, &[bytes.get(..96)?])
            && matches!(sector, 512 | 4096)
            && bytes.get(104..sector as usize)?.iter().all(|byte| *byte == 0);
        let name = std::str::from_utf8(&bytes[32..40]).ok()?.trim_end_matches('\0');
        let intent = Intent {
            nonce,
            kind: FsType::parse(name)?,
            sector,
            size: Bytes(number(64)?),
            list_start: number(72)?,
            list_length: number(80)?,
            list_hash: number(88)?,
        };
        let aligned = |value: u64| value.is_multiple_of(UNIT as u64);
        let sane = aligned(intent.list_start) && aligned(intent.list_length) && intent.list().end <= intent.size.0;
        (whole && sane).then_some(intent)
    }

    /// The header on a disk that begins with `head`, and where it stands. Two of them are none: no run of ours
    /// leaves that.
    pub fn find(head: &[u8], size: Bytes) -> Option<(u64, Intent)> {
        let mut places: Vec<u64> =
            FsType::ALL.iter().flat_map(|kind| [512, 4096].map(|sector| Intent::place(*kind, sector))).collect();
        places.sort_unstable();
        places.dedup();
        let mut found = places.into_iter().filter_map(|place| {
            let intent = Intent::decode(head.get(usize::try_from(place).ok()?..)?)?;
            let own = Intent::place(intent.kind, intent.sector) == place && intent.size <= size;
            own.then_some((place, intent))
        });
        found.next().filter(|_| found.next().is_none())
    }
}

/// How many bytes the list of so many entries takes, in whole units.
pub fn list_length(entries: usize) -> u64 {
    ((8 + entries * 16).div_ceil(LIST_PAYLOAD) * UNIT) as u64
}

/// The list, and the hash for the header.
pub fn encode_list(nonce: &[u8; 16], entries: &[Entry]) -> (Vec<u8>, u64) {
    let mut stream = Vec::with_capacity(8 + entries.len() * 16);
    stream.extend((entries.len() as u64).to_le_bytes());
    for entry in entries {
        stream.extend(entry.offset.to_le_bytes());
        stream.extend(entry.hash.to_le_bytes());
    }
    let mut list = Vec::new();
    for (number, part) in (0u32..).zip(stream.chunks(LIST_PAYLOAD)) {
        let begin = list.len();
        list.extend(LIST_MAGIC);
        list.extend(nonce);
        list.extend(number.to_le_bytes());
        list.extend(part);
        list.resize(begin + UNIT - 8, 0);
        let hash = keyed(nonce, &[&list[begin..]]);
        list.extend(hash.to_le_bytes());
    }
    (list, keyed(nonce, &[&stream]))
}

/// What the bytes in the list's place are.
pub fn decode_list(intent: &Intent, bytes: &[u8]) -> List {
    let mut stream = Vec::with_capacity(bytes.len());
    let mut whole = true;
    for (number, part) in (0u32..).zip(bytes.chunks(UNIT)) {
        if is_zero(part) {
            whole = false;
        } else if is_of_list(intent, number, part) {
            stream.extend(&part[28..UNIT - 8]);
        } else {
            return List::Foreign(intent.list_start + u64::from(number) * UNIT as u64);
        }
    }
    if !whole {
        return List::Partial;
    }
    entries(intent, &stream).map_or(List::Foreign(intent.list_start), List::Whole)
}

fn is_of_list(intent: &Intent, number: u32, part: &[u8]) -> bool {
    let Some((content, hash)) = part.split_last_chunk::<8>() else { return false };
    part.len() == UNIT
        && content.starts_with(LIST_MAGIC)
        && content[8..24] == intent.nonce
        && content[24..28] == number.to_le_bytes()
        && keyed(&intent.nonce, &[content]) == u64::from_le_bytes(*hash)
}

/// The entries of a whole list; `None` where it is not the one of this header.
fn entries(intent: &Intent, stream: &[u8]) -> Option<Vec<Entry>> {
    let (count, rest) = stream.split_first_chunk::<8>()?;
    let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
    let length = count.checked_mul(16)?;
    let (rest, padding) = rest.split_at_checked(length)?;
    let own = keyed(&intent.nonce, &[count.to_le_bytes().as_slice(), rest]) == intent.list_hash;
    let entry = |bytes: &[u8; 16]| {
        let (offset, hash) = bytes.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of sixteen bytes is eight"));
        Entry { offset: number(offset), hash: number(hash) }
    };
    let all: Vec<Entry> = rest.as_chunks::<16>().0.iter().map(entry).collect();
    let unit = UNIT as u64;
    let sane = |entry: &Entry| {
        entry.offset.is_multiple_of(unit) && entry.offset.checked_add(unit).is_some_and(|end| end <= intent.size.0)
    };
    (own && padding.iter().all(|byte| *byte == 0) && all.iter().all(sane)).then_some(all)
}

/// `SipHash` 1-3: what the standard library uses too, but there it may change, and this is on disks.
fn keyed(nonce: &[u8; 16], parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(nonce);
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(kind: FsType, sector: u32, count: u64) -> (Intent, Vec<Entry>, Vec<u8>) {
        let nonce = *b"0123456789abcdef";
        let entries: Vec<Entry> =
            (0..count).map(|n| Entry { offset: n * UNIT as u64, hash: n.wrapping_mul(0x9e37_79b9) }).collect();
        let (list, list_hash) = encode_list(&nonce, &entries);
        assert_eq!(list.len() as u64, list_length(entries.len()));
        let list_length = list.len() as u64;
        let intent = Intent { nonce, kind, sector, size: Bytes::mib(512), list_start: 1 << 28, list_length, list_hash };
        (intent, entries, list)
    }

    fn disk(intent: &Intent) -> Vec<u8> {
        let mut head = vec![0; 128 * 1024];
        let place = usize::try_from(Intent::place(intent.kind, intent.sector)).unwrap();
        head[place..place + intent.sector as usize].copy_from_slice(&intent.encode());
        head
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in FsType::ALL {
            for sector in [512, 4096] {
                for count in [0, 1, 29, 30, 31, 1000] {
                    let (intent, entries, list) = made(kind, sector, count);
                    let head = disk(&intent);
                    assert_eq!(Intent::find(&head, intent.size), Some((Intent::place(kind, sector), intent)));
                    assert_eq!(Intent::find(&head, Bytes::mib(511)), None, "a disk that was cut");
                    assert_eq!(decode_list(&intent, &list), List::Whole(entries));
                }
            }
        }
    }

    #[test]
    fn a_list_is_whole_partial_or_foreign() {
        let (intent, _, list) = made(FsType::Ext4, 512, 100);
        for lost in 0..list.len() / 512 {
            let mut part = list.clone();
            part[lost * 512..][..512].fill(0);
            assert_eq!(decode_list(&intent, &part), List::Partial);
            part[lost * 512 + 300] = 1;
            assert_eq!(decode_list(&intent, &part), List::Foreign(intent.list_start + lost as u64 * 512));
        }
        let other = Intent { nonce: [7; 16], ..intent };
        assert_eq!(decode_list(&other, &list), List::Foreign(intent.list_start));
        let other = Intent { list_hash: 7, ..intent };
        assert_eq!(decode_list(&other, &list), List::Foreign(intent.list_start));
    }

    #[test]
    fn a_changed_byte_makes_a_header_none() {
        let (intent, ..) = made(FsType::Ext4, 512, 1);
        let head = disk(&intent);
        for at in 1024..1536 {
            let mut changed = head.clone();
            changed[at] ^= 0x40;
            assert_eq!(Intent::find(&changed, intent.size), None, "byte {at}");
        }
        let mut two = head.clone();
        let (other, ..) = made(FsType::Xfs, 512, 1);
        two[..512].copy_from_slice(&other.encode());
        assert_eq!(Intent::find(&two, intent.size), None, "two headers");
    }

    #[test]
    fn no_magic_of_a_filesystem_is_in_a_header() {
        for kind in FsType::ALL {
            let (intent, ..) = made(kind, 512, 1);
            let sector = intent.encode();
            assert_eq!(sector[56..58], [0, 0], "ext4's");
            assert!(!sector.starts_with(b"XFSB") && !sector.windows(8).any(|bytes| bytes == b"_BHRfS_M"));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            head in proptest::collection::vec(any::<u8>(), 0..5000),
            list in proptest::collection::vec(any::<u8>(), 0..3000),
            flips in proptest::collection::vec((0usize..3072, any::<u8>()), 0..4),
        ) {
            Intent::find(&head, Bytes::mib(512));
            let (intent, _, mut real) = made(FsType::Btrfs, 512, 60);
            decode_list(&intent, &list);
            let length = real.len();
            for (at, byte) in flips {
                real[at % length] ^= byte;
            }
            decode_list(&intent, &real);
        }
    }
}
