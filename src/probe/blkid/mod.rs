//! What libblkid recognises on a device: the one file that names it.
//!
//! Low-level probing of an open descriptor only, never its cache, never udev's database. Nothing found, an
//! ambivalent find and an error are three different answers, which blkid(8)'s exit code 2 makes one; and
//! nothing found is no proof of a blank device, which is [`crate::probe::blank`]'s to give.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use libblkid_rs::{BlkidErr, BlkidProbe, BlkidProbeRet, BlkidSafeprobeRet, BlkidSublks, BlkidSublksFlags};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::ioctl;

/// libblkid passes over what is no larger (superblocks.c, `superblocks_probe`) and says that nothing is there.
const SMALLEST: i64 = 1024;

/// More than any device can carry: a bound for a loop that is libblkid's to end.
const MOST: usize = 64;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A filesystem.
    Filesystem,
    /// A member of a RAID or of a volume group.
    Raid,
    /// An encrypted volume.
    Crypto,
    /// Swap, a journal and the like.
    Other,
    /// A partition table.
    PartitionTable,
}

/// One thing that libblkid recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// libblkid's TYPE, or a partition table's PTTYPE.
    pub kind: String,
    /// What it is for.
    pub usage: Usage,
    /// Where its magic number is. libblkid-rs cannot ask for a partition table's.
    pub offset: Option<u64>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Its checksum is wrong.
    pub bad_checksum: bool,
}

/// All that libblkid recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Superblocks first, then partition tables; empty where nothing is recognised.
    pub found: Vec<Signature>,
    /// More than one claims the device, or libblkid says so: what it holds cannot be told.
    pub ambivalent: bool,
}

/// libblkid could not look, or not to the end. Not the same as nothing found.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its verdict on so small a device would mean nothing.
    #[error("its size of {0} bytes is too small for libblkid to look at")]
    TooSmall(i64),
    /// The device, or libblkid, failed.
    #[error("{doing} with libblkid")]
    Failed {
        /// At what, as a gerund.
        doing: &'static str,
        /// What it says; seldom much.
        source: BlkidErr,
    },
}

fn failed(doing: &'static str) -> impl Fn(BlkidErr) -> ProbeError {
    move |source| ProbeError::Failed { doing, source }
}

/// Asks libblkid twice, once for every signature and once for its own verdict; where they differ, the stricter
/// answer stands. The device must not be open with `O_DIRECT`, since libblkid reads as it likes.
pub fn signatures(device: &File) -> Result<Signatures, ProbeError> {
    // libblkid reads through the page cache, which can be stale (util-linux#3301). Only advice: where it is not
    // taken, our own direct reads still stand between a stale page and a format.
    if let Err(errno) = posix_fadvise(device, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
        log::debug!("dropping the cached pages of the device: {errno}");
    }

    read_ahead(device);
    let mut probe = probe(device)?;
    let mut found = all(device, &mut probe)?;
    // What it has read of the device it keeps.
    probe.reset();
    let verdict = probe.do_safeprobe().map_err(failed("probing"))?;
    let ambiguous = match verdict {
        BlkidSafeprobeRet::Ambiguous => true,
        BlkidSafeprobeRet::None => false,
        BlkidSafeprobeRet::Success => {
            if found.is_empty() {
                found.extend(claims(&probe)?);
            }
            false
        }
    };
    // libblkid itself stops at the first RAID or encryption and takes it for the answer.
    let superblocks = found.iter().filter(|signature| signature.usage != Usage::PartitionTable).count();
    let contested = superblocks > 1 || (superblocks == 1 && found.len() > 1);
    Ok(Signatures { found, ambivalent: ambiguous || contested })
}

/// Has the kernel fetch at once what libblkid reads one after the other, and without read-ahead (it asks for random
/// access): half a MiB at each end, and single blocks at 1, 2 and 4 MiB and before the tail. On a disk across a network each
/// of these would take a millisecond. Only advice: what is not fetched is read when it is asked for.
fn read_ahead(device: &File) {
    const KIB: i64 = 1024;
    let Ok(size) = ioctl::size(device).map(|size| size.0.cast_signed()) else { return };
    let places =
        [(0, 512), (size - 512 * KIB, 512), (1024 * KIB, 4), (2048 * KIB, 4), (4096 * KIB, 4), (size - 1544 * KIB, 4)];
    for (offset, kib) in places.into_iter().filter(|(offset, _)| (0..size).contains(offset)) {
        let _ = posix_fadvise(device, offset, kib * KIB, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }
}

fn probe(device: &File) -> Result<BlkidProbe, ProbeError> {
    let setting_up = failed("setting up a probe");
    let mut probe = BlkidProbe::new().map_err(&setting_up)?;
    // Offset 0 and size 0: all of it.
    probe.set_device(device.as_raw_fd(), 0, 0).map_err(&setting_up)?;
    let size = probe.get_size();
    if size <= SMALLEST {
        return Err(ProbeError::TooSmall(size));
    }
    let flags = BlkidSublksFlags::new(vec![
        BlkidSublks::Type,
        BlkidSublks::Usage,
        BlkidSublks::Uuid,
        BlkidSublks::Label,
        BlkidSublks::Version,
        BlkidSublks::Magic,
        // From 2.39 on, a superblock with a wrong checksum is passed over in silence without this.
        BlkidSublks::Badcsum,
    ]);
    probe.enable_superblocks(true).map_err(&setting_up)?;
    probe.set_superblock_flags(flags).map_err(&setting_up)?;
    probe.enable_partitions(true).map_err(&setting_up)?;
    Ok(probe)
}

/// Every signature of both chains.
fn all(device: &File, probe: &mut BlkidProbe) -> Result<Vec<Signature>, ProbeError> {
    let mut found: Vec<Signature> = Vec::new();
    for _ in 0..MOST {
        match probe.do_probe().map_err(failed("probing"))? {
            BlkidProbeRet::Done => break,
            BlkidProbeRet::Success => found.extend(claims(probe)?),
        }
    }
    // A GPT has a protective MBR before it, which libblkid tells as a table of its own.
    if found.iter().any(|signature| signature.kind == "gpt") {
        found.retain(|signature| signature.kind != "PMBR");
    }
    // These begin with a boot sector of their own, whose 55 AA libblkid takes for that of an MBR too.
    if found.iter().any(|signature| matches!(signature.kind.as_str(), "exfat" | "udf")) {
        found.retain(|signature| signature.kind != "dos");
    }
    for table in found.iter_mut().filter(|signature| signature.usage == Usage::PartitionTable) {
        table.offset = table.offset.or_else(|| table_offset(device, &table.kind));
    }
    Ok(found)
}

/// Where a partition table's magic stands: libblkid would tell, but libblkid-rs cannot ask it to.
fn table_offset(device: &File, kind: &str) -> Option<u64> {
    let (magic, places): (&[u8], &[u64]) = match kind {
        "dos" => (&[0x55, 0xaa], &[510]),
        // In the second sector, of whatever size the sectors are.
        "gpt" => (b"EFI PART", &[512, 4096]),
        _ => return None,
    };
    let mut bytes = [0; 8];
    let bytes = &mut bytes[..magic.len()];
    places.iter().copied().find(|place| device.read_exact_at(bytes, *place).is_ok() && bytes == magic)
}

/// What the probe stands at: a superblock, a partition table, or (after a safe probe) both.
fn claims(probe: &BlkidProbe) -> Result<Vec<Signature>, ProbeError> {
    // libblkid-rs has one error for a tag that is missing and for any other; a tag that is there and cannot be
    // read (a label that is not UTF-8) is no less of a signature.
    let value = |tag: &str| probe.lookup_value(tag).ok();
    let has = |tag: &str| probe.has_value(tag).map_err(failed("reading the result"));
    let mut claims = Vec::new();
    if has("TYPE")? {
        claims.push(Signature {
            kind: value("TYPE").unwrap_or_else(|| "unknown".to_owned()),
            usage: match value("USAGE").as_deref() {
                Some("filesystem") => Usage::Filesystem,
                Some("raid") => Usage::Raid,
                Some("crypto") => Usage::Crypto,
                Some(_) | None => Usage::Other,
            },
            offset: value("SBMAGIC_OFFSET").and_then(|offset| offset.parse().ok()),
            uuid: value("UUID"),
            label: value("LABEL"),
            bad_checksum: has("SBBADCSUM")?,
        });
    }
    if has("PTTYPE")? {
        claims.push(Signature {
            kind: value("PTTYPE").unwrap_or_else(|| "unknown".to_owned()),
            usage: Usage::PartitionTable,
            offset: value("PTMAGIC_OFFSET").and_then(|offset| offset.parse().ok()),
            uuid: value("PTUUID"),
            label: None,
            bad_checksum: false,
        });
    }
    Ok(claims)
}
