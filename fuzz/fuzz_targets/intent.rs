//! The record of a format under way. Any bytes: nothing panics. Any bytes whose hashes are right: a header is believed
//! only where all that it names lies on the disk. A list that was written is read back; one that was changed is never
//! read as another.
//!
//! The input: nonce, header, which type and sector size, then the list's entries.

#![no_main]

use std::hash::Hasher;

use libfuzzer_sys::fuzz_target;
use siphasher::sip::SipHasher13;
use volinit::bytes::Bytes;
use volinit::config::FsType;
use volinit::intent::{Entry, Intent, List, UNIT, decode_list, encode_list, list_length};

const DISK: Bytes = Bytes::mib(512);
/// Magic, nonce and number before the payload of a unit of the list.
const LIST_HEAD: usize = 8 + 16 + 4;

fuzz_target!(|data: &[u8]| {
    Intent::find(data, DISK);

    let Some((header, rest)) = data.split_first_chunk::<96>() else { return };
    let Some((&[which, at_low, at_high, change], rest)) = rest.split_first_chunk::<4>() else { return };
    let kind = FsType::ALL[usize::from(which) % 3];
    let sector: u32 = if which & 0x80 == 0 { 512 } else { 4096 };
    hashed_header(header, kind, sector);

    let nonce: [u8; 16] = header[16..32].try_into().expect("sixteen bytes");
    let header = |stream: &[u8], length: usize| Intent {
        nonce,
        kind,
        sector,
        size: DISK,
        list_start: 1 << 28,
        list_length: length as u64,
        list_hash: keyed(&nonce, &[stream]),
    };

    // The rest as a list's payload, whatever it says.
    let list = framed(&nonce, rest);
    let count = rest.first_chunk().map_or(0, |count| u64::from_le_bytes(*count));
    let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(16)?.checked_add(8));
    let stream = length.and_then(|length| rest.get(..length)).unwrap_or(rest);
    if let List::Whole(entries) = decode_list(&header(stream, list.len()), &list) {
        assert_eq!(entries.len() as u64, count);
        assert!(entries.iter().all(on_disk), "{entries:?}");
    }

    // The rest as entries, written by volinit itself.
    let entry = |bytes: &[u8; 16]| {
        let number = |half: usize| u64::from_le_bytes(bytes[half..half + 8].try_into().expect("eight bytes"));
        Entry { offset: number(0), hash: number(8) }
    };
    let entries: Vec<Entry> = rest.as_chunks::<16>().0.iter().map(entry).collect();
    let (mut list, list_hash) = encode_list(&nonce, &entries);
    assert_eq!(list.len() as u64, list_length(entries.len()));
    let intent = Intent { list_hash, ..header(&[], list.len()) };
    let place = usize::try_from(Intent::place(kind, sector)).expect("it is in the head");
    let mut head = vec![0; place];
    head.extend(intent.encode());
    assert_eq!(Intent::find(&head, DISK), Some((place as u64, intent)));
    let written = decode_list(&intent, &list);
    if entries.iter().all(on_disk) {
        assert_eq!(written, List::Whole(entries.clone()));
    } else {
        assert_eq!(written, List::Foreign(intent.list_start));
    }
    let at = usize::from(u16::from_le_bytes([at_low, at_high])) % list.len();
    list[at] ^= change;
    match decode_list(&intent, &list) {
        List::Whole(read) => assert_eq!((read, change), (entries, 0)),
        List::Partial => panic!("a unit with one byte changed is not zero"),
        List::Foreign(offset) => assert!(intent.list().contains(&offset)),
    }
});

/// A header of any content with the right magic and hash.
fn hashed_header(fields: &[u8; 96], kind: FsType, sector: u32) {
    let mut bytes = fields.to_vec();
    bytes[..16].copy_from_slice(b"volinit intent 1");
    let nonce: [u8; 16] = bytes[16..32].try_into().expect("sixteen bytes");
    bytes.extend(keyed(&nonce, &[&bytes]).to_le_bytes());
    bytes.resize(4096, 0);
    let place = Intent::place(kind, sector);
    let mut head = vec![0; usize::try_from(place).expect("it is in the head")];
    head.extend(bytes);
    if let Some((found, intent)) = Intent::find(&head, DISK) {
        assert_eq!(found, Intent::place(intent.kind, intent.sector));
        assert!(intent.size <= DISK && intent.list().end <= intent.size.0, "{intent:?}");
        assert!(intent.list().start <= intent.list().end, "{intent:?}");
    }
}

/// The payload in units as volinit frames them.
fn framed(nonce: &[u8; 16], stream: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (number, part) in (0u32..).zip(stream.chunks(UNIT - LIST_HEAD - 8)) {
        let begin = list.len();
        list.extend(b"volilist");
        list.extend(nonce);
        list.extend(number.to_le_bytes());
        list.extend(part);
        list.resize(begin + UNIT - 8, 0);
        list.extend(keyed(nonce, &[&list[begin..]]).to_le_bytes());
    }
    list
}

fn on_disk(entry: &Entry) -> bool {
    let end = entry.offset.checked_add(UNIT as u64);
    entry.offset.is_multiple_of(UNIT as u64) && end.is_some_and(|end| end <= DISK.0)
}

fn keyed(nonce: &[u8; 16], parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(nonce);
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}
