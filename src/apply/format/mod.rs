//! The rehearsed format. mkfs never sees the disk: it formats a file in memory of the same size, and what it
//! wrote there is copied to the disk through one exclusive descriptor, the sector with the magic last. Until
//! that sector is written nobody can take the disk for a filesystem, and by the record that stands in its place
//! ([`crate::intent`]) the next run knows a format that was cut off, and undoes it.
//!
//! | written, each flushed before the next | what a cut leaves |
//! |---|---|
//! | the record's header, where the magic will be | a blank disk, or a header |
//! | the record's list, in the filesystem's free space | a header and some of the list |
//! | the content, but for the sector with the magic | a record and some of the content |
//! | the sector with the magic, over the header | all but the magic, or the filesystem |
//! | zeros over the list | the filesystem; the rest of a list in its free space |
//!
//! Everything that is written is written to bytes that were all read, and were zero.

mod disk;
mod layout;
mod rehearse;
mod zeros;

use anyhow::{Context, Result, anyhow, bail};
use log::info;

use disk::Disk;
use layout::Layout;

use crate::bytes::Bytes;
use crate::config::Filesystem;
use crate::error::Failure;
use crate::intent::{self, Entry, Intent};
use crate::locate::Device;
use crate::plan;
use crate::probe::{self, DeviceFacts, Finding, Interrupted, Verdict};
use crate::report::progress;
use crate::signals;

/// Makes a filesystem on a device that is locked and was judged to be blank since.
///
/// # Errors
/// A refusal when what the filesystem will write to, or relies on to be zero, is not. Then, and when mkfs
/// fails, nothing has been written to the device.
pub fn format(device: &Device, filesystem: &Filesystem) -> Result<(), Failure> {
    let kind = filesystem.kind;
    let doing = || format!("formatting {} as {kind}", device.path.display());
    let about = probe::about(device)?;
    let scratch = rehearse::rehearse(&about, filesystem).with_context(doing)?;
    let layout = Layout::of(&scratch, kind, about.sector).with_context(doing)?;
    // From here to the end the disk is ours alone: the kernel lets nobody else mount or claim it.
    let mut disk = Disk::open(device).with_context(doing)?;
    prove(device, &about, &layout)?;
    let _held = signals::hold(|| format!("format as {kind} on {}", device.path.display()));
    info!("{}: {} to copy, in {} places", device.path.display(), layout.bytes(), layout.blocks.len());
    write(&mut disk, &layout, device.size).with_context(doing)?;
    drop(disk);

    match probe::superblock(device, kind)? {
        Finding::Superblock(_) => Ok(()),
        Finding::Absent | Finding::Damaged { .. } => {
            Err(anyhow!("{} does not read back as it was written", device.path.display()).context(doing()).into())
        }
    }
}

/// Takes away what a format left that was cut off, in the order that leaves it recognisable at every moment.
pub fn undo(device: &Device, ours: &Interrupted) -> Result<()> {
    let doing = || format!("taking away what a format left on {}", device.path.display());
    let mut disk = Disk::open(device).with_context(doing)?;
    for range in &ours.content {
        disk.zero(range).with_context(doing)?;
    }
    disk.flush().with_context(doing)?;
    for part in [&ours.list, &ours.header] {
        disk.zero(part).and_then(|()| disk.flush()).with_context(doing)?;
    }
    Ok(())
}

/// Makes all of the device zero, by a person's consent.
pub fn erase(device: &Device) -> Result<()> {
    let erasing = || format!("erasing {}", device.path.display());
    let _running = progress::start(erasing);
    Disk::open(device).and_then(|disk| disk.erase(device.size)).with_context(erasing)
}

/// Reads every byte that will be written; and every byte that the filesystem takes to be zero, or samples of those.
fn prove(device: &Device, about: &DeviceFacts, layout: &Layout) -> Result<(), Failure> {
    let sampled = plan::is_made_of_zeros(about);
    match probe::prove_ranges(&device.file, device.size, &layout.must_be_zero(sampled)) {
        Verdict::Zeros(proof) => {
            let what =
                if sampled { "that were read of what the format relies on" } else { "that the format relies on" };
            info!("{}: zeros in all {} {what}", device.path.display(), proof.bytes_read);
            Ok(())
        }
        Verdict::Data { offset, found } => Err(plan::data(about, offset, &found).into()),
        Verdict::Unreadable { offset, error } => {
            Err(plan::unreadable(about, &format!("byte {offset} could not be read: {error}")).into())
        }
    }
}

fn write(disk: &mut Disk, layout: &Layout, size: Bytes) -> Result<()> {
    let sector = layout.sector;
    let nonce = nonce()?;
    let entries = entries(layout, &nonce)?;
    let (mut list, list_hash) = intent::encode_list(&nonce, &entries);
    let list_start = layout.list.start;
    let record =
        Intent { nonce, kind: layout.kind, sector, size, list_start, list_length: list.len() as u64, list_hash };
    let header = record.encode();
    let header_at = layout.commit.start;
    // It has its place in whole blocks; the disk is written in whole sectors.
    list.resize(list.len().next_multiple_of(sector as usize), 0);

    disk.write(header_at, &header)?;
    disk.flush()?;
    disk.write(list_start, &list)?;
    disk.flush()?;
    for block in layout.but_commit() {
        layout.read(&block, |offset, bytes| disk.write(offset, bytes))?;
    }
    disk.flush()?;
    // A disk that is attached to two machines: the other one may have begun a format of its own.
    if disk.read(header_at, header.len())? != header {
        bail!("another machine is writing to the disk");
    }
    layout.read(&layout.commit, |offset, bytes| disk.write(offset, bytes))?;
    disk.flush()?;
    disk.zero(&record.list())?;
    disk.flush()
}

/// What the list says of all that is written, but for the sector that the header stands in.
fn entries(layout: &Layout, nonce: &[u8; 16]) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(usize::try_from(layout.bytes().0)? / intent::UNIT);
    for block in layout.but_commit() {
        layout.read(&block, |offset, bytes| {
            let units = (offset..).step_by(intent::UNIT).zip(bytes.chunks(intent::UNIT));
            entries.extend(units.map(|(offset, bytes)| Entry { offset, hash: Intent::hash(nonce, bytes) }));
            Ok(())
        })?;
    }
    Ok(entries)
}

fn nonce() -> Result<[u8; 16]> {
    let mut nonce = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut nonce))
        .context("reading /dev/urandom")?;
    Ok(nonce)
}
