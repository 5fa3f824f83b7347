//! What an NVMe controller says of itself in answer to Identify Controller; of an EBS volume also the device name that
//! it was attached as. The parser is pure, and takes any bytes; [`ask`] alone talks to a disk, and changes nothing on it.

use std::fs::File;

use log::debug;

use crate::ioctl;

/// The length of the answer (NVM Express Base Specification, "Identify Controller data structure").
pub const IDENTIFY: usize = 4096;
/// Amazon's PCI vendor id.
pub const AMAZON: u16 = 0x1D0F;
/// The model of an EBS volume.
pub const EBS: &str = "Amazon Elastic Block Store";
/// The model of an instance store's disk: what is on it is gone once the instance stops.
pub const INSTANCE_STORE: &str = "Amazon EC2 NVMe Instance Storage";

/// Where the specification leaves room for the vendor, EBS has 32 bytes for the device name (amazon-ec2-utils,
/// ebsnvme-id).
const NAME: std::ops::Range<usize> = 3072..3104;

/// A controller. A text that is empty, or no printable ASCII, is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its PCI vendor id.
    pub vendor: u16,
    /// Its serial number; of an EBS volume the id without its dash.
    pub serial: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// The device name that EC2 attached an EBS volume as, always with its folder: `/dev/sdf`.
    pub attached_as: Option<String>,
}

/// Reads the answer.
pub fn parse(identify: &[u8; IDENTIFY]) -> Controller {
    let vendor = u16::from_le_bytes([identify[0], identify[1]]);
    let model = text(&identify[24..64]);
    let is_ebs = vendor == AMAZON && model == Some(EBS);
    let attached_as = text(&identify[NAME]).filter(|_| is_ebs).and_then(device_name);
    Controller {
        vendor,
        serial: text(&identify[4..24]).map(str::to_owned),
        model: model.map(str::to_owned),
        attached_as,
    }
}

/// What is left between the spaces, or zero bytes, that a field is padded with.
fn text(field: &[u8]) -> Option<&str> {
    let text = str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (printable && !text.is_empty()).then_some(text)
}

/// `sdf` from a volume that was there at launch, `/dev/sdf` from one that came later.
fn device_name(text: &str) -> Option<String> {
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    let known = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    known.then(|| format!("/dev/{name}"))
}

/// What the controller behind an open disk says; `None` where there is none, or it may not be asked.
pub fn ask(disk: &File) -> Option<Controller> {
    ioctl::identify_controller(disk)
        .inspect_err(|errno| debug!("asking for an NVMe controller: {errno}"))
        .ok()
        .as_deref()
        .map(parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(vendor: u16, model: &str, name: &[u8]) -> [u8; IDENTIFY] {
        let mut identify = [0; IDENTIFY];
        identify[..2].copy_from_slice(&vendor.to_le_bytes());
        for (at, length, text) in
            [(4, 20, &b"vol0123456789abcdef0"[..]), (24, 40, model.as_bytes()), (NAME.start, NAME.len(), name)]
        {
            identify[at..at + length].fill(b' ');
            identify[at..at + text.len()].copy_from_slice(text);
        }
        identify
    }

    #[test]
    fn a_volume_tells_the_name_it_was_attached_as() {
        let told = |name: &[u8]| parse(&answer(AMAZON, EBS, name)).attached_as;
        for (name, expected) in [
            (&b"sdf"[..], Some("/dev/sdf")),
            (b"/dev/sdf", Some("/dev/sdf")),
            (b"/dev/sdf\0\0\0", Some("/dev/sdf")),
            (b"xvdba", Some("/dev/xvdba")),
            (b"/dev/sda1", Some("/dev/sda1")),
            (b"", None),
            (&[0; 32], None),
            (b"/dev/", None),
            (b"/dev/../sdf", None),
            (b"/dev//sdf", None),
            (b"sd f", None),
            (b"sdf\0x", None),
            (b"sdf\n", None),
            (b"1", None),
            ("säf".as_bytes(), None),
            (b"\xFF\xFE", None),
        ] {
            assert_eq!(told(name).as_deref(), expected, "{}", name.escape_ascii());
        }
        // A name that fills its field has nothing to be padded with.
        assert_eq!(told(&[b's'; 32]).unwrap().len(), "/dev/".len() + 32);
    }

    #[test]
    fn only_of_an_ebs_volume_the_name_is_believed() {
        let whole = parse(&answer(AMAZON, EBS, b"sdf"));
        let expected = Controller {
            vendor: AMAZON,
            serial: Some("vol0123456789abcdef0".into()),
            model: Some(EBS.into()),
            attached_as: Some("/dev/sdf".into()),
        };
        assert_eq!(whole, expected);
        for (vendor, model) in [(0x144D, EBS), (AMAZON, INSTANCE_STORE), (AMAZON, ""), (AMAZON, "Amazon Elastic")] {
            assert_eq!(parse(&answer(vendor, model, b"sdf")).attached_as, None, "{vendor:x} {model}");
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let nothing = Controller { vendor: 0, serial: None, model: None, attached_as: None };
        assert_eq!(parse(&[0; IDENTIFY]), nothing);
        for byte in 1..=255 {
            let Controller { serial, model, attached_as, .. } = parse(&[byte; IDENTIFY]);
            assert_eq!(attached_as, None);
            let printable = matches!(byte, b'!'..=b'~');
            assert_eq!((serial.is_some(), model.is_some()), (printable, printable), "{byte}");
        }
    }

    #[test]
    fn a_disk_without_such_a_controller_tells_nothing() {
        let disk = crate::ioctl::tests::Loop::new();
        assert_eq!(ask(&disk.file), None);
        assert_eq!(ask(&File::open("/dev/null").unwrap()), None);
    }
}
