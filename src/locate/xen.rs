//! What the kernel calls a volume on Xen, where no serial tells which disk is which.

use std::path::Path;

use log::warn;

use super::Device;
use crate::bytes::Bytes;
use crate::config::VolumeId;
use crate::error::Failure;

/// The disk in `folder` of a volume that EC2 attached as `attached_as`, and that has this size by EC2's word. `None` where
/// it is not there yet, and where it is not known which name this kernel gives it: the other one may be another volume.
pub fn find(folder: &Path, attached_as: &str, size: Bytes, id: &VolumeId) -> Result<Option<Device>, Failure> {
    let candidates = candidates(attached_as);
    // The disk that the system runs from is attached as sda1, and tells how this kernel counts.
    let there = |letter| ["", "1"].iter().any(|part| folder.join(format!("xvd{letter}{part}")).exists());
    let name = match (candidates.as_slice(), there('a'), there('e')) {
        ([only], ..) => only,
        ([same, _], true, _) => same,
        ([_, shifted], false, true) => shifted,
        _ => {
            warn!("{id}: this kernel's names for disks are not known: name the device in place of the volume");
            return Ok(None);
        }
    };
    match Device::open(&folder.join(name)) {
        Ok(device) if device.size == size && device.volume_id().is_none() => {
            Ok(Some(Device { named: Some(id.clone()), ..device }))
        }
        Ok(_) => Ok(None),
        Err(error) if super::comes_later(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The kernel's names, without `/dev/`, that a volume may have that EC2 attached as `attached_as` (`/dev/sdf` or `sdf`),
/// the likeliest first; none for a name that EC2 does not give.
///
/// A name is no proof. Where the kernel shifts by four letters, `xvdf` is the volume that was attached as `/dev/sdb`; the
/// disk that the system runs from, attached as `/dev/sda1`, is `xvde` there and `xvda` elsewhere.
pub fn candidates(attached_as: &str) -> Vec<String> {
    let name = attached_as.strip_prefix("/dev/").unwrap_or(attached_as);
    let scsi = name.strip_prefix("sd");
    let Some(rest) = scsi.or_else(|| name.strip_prefix("xvd")) else { return Vec::new() };
    let (letters, partition) = rest.split_at(rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len()));
    let numbered = !partition.starts_with('0') && partition.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=2).contains(&letters.len()) || !numbered {
        return Vec::new();
    }
    // Red Hat's kernels of old count SCSI's names from xvde on, behind four IDE disks, unless told `sda_is_xvda`;
    // others take them as they are (xen-blkfront.c, emulated_sd_disk_name_offset).
    let shifted = scsi.and(shifted(letters));
    let all = [Some(letters.to_owned()), shifted].into_iter().flatten();
    all.map(|letters| format!("xvd{letters}{partition}")).collect()
}

/// The fourth disk after this one: `b` -> `f`, `y` -> `ac`.
fn shifted(letters: &str) -> Option<String> {
    let number = letters.bytes().fold(0, |number, letter| number * 26 + u32::from(letter - b'a') + 1);
    let index = number - 1 + 4;
    let letter = |index: u32| char::from_u32('a' as u32 + index);
    if index < 26 {
        return Some(letter(index)?.to_string());
    }
    let (first, last) = (index / 26 - 1, index % 26);
    (first < 26).then(|| Some([letter(first)?, letter(last)?].into_iter().collect()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_disk_tells_which_name_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let id = VolumeId::parse("vol-5afc0745").unwrap();
        let make = |name: &str, size| std::fs::File::create(folder.path().join(name)).unwrap().set_len(size).unwrap();
        let found = || find(folder.path(), "/dev/sdf", Bytes::gib(1), &id).unwrap().map(|device| device.path);
        make("xvdf", 1 << 30);
        make("xvdj", 1 << 30);
        assert_eq!(found(), None, "it may be either");
        make("xvde1", 1 << 30);
        assert_eq!(found(), Some(folder.path().join("xvdj")));
        make("xvda1", 1 << 30);
        assert_eq!(found(), Some(folder.path().join("xvdf")));
        make("xvdf", 1 << 29);
        assert_eq!(found(), None, "it has another size, and the other name is another disk's");
    }

    #[test]
    fn the_kernel_s_names_of_an_attached_one() {
        for (attached_as, expected) in [
            ("/dev/sdf", &["xvdf", "xvdj"][..]),
            ("sdb", &["xvdb", "xvdf"]),
            ("/dev/sda1", &["xvda1", "xvde1"]),
            ("/dev/sdf15", &["xvdf15", "xvdj15"]),
            ("/dev/sdw", &["xvdw", "xvdaa"]),
            ("/dev/sdz", &["xvdz", "xvdad"]),
            ("/dev/sdaz", &["xvdaz", "xvdbd"]),
            ("/dev/sdzz", &["xvdzz"]),
            ("/dev/xvdf", &["xvdf"]),
            ("xvdba", &["xvdba"]),
            ("/dev/xvdcz", &["xvdcz"]),
        ] {
            assert_eq!(candidates(attached_as), expected, "{attached_as}");
        }
        for other in [
            "",
            "/dev/",
            "sd",
            "xvd",
            "/dev/sd1",
            "/dev/nvme1n1",
            "sdabc",
            "sdF",
            "sd/../f",
            "sdf0",
            "sdf1p",
            "/sdf",
            "sdä",
        ] {
            assert_eq!(candidates(other), [""; 0], "{other}");
        }
    }
}
