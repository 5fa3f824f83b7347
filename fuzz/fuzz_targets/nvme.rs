//! Any bytes as the answer to Identify Controller: no panic; a text that is given prints, and only an EBS volume has a
//! device name, one that EC2 could have given. Written into an EBS volume's answer in both ways, it is read back.
//!
//! The first 64 bytes of the input are the answer's first, the rest is what begins where the vendor has its room: so
//! that inputs are short.

#![no_main]

use libfuzzer_sys::fuzz_target;
use volinit::locate::{nvme, xen};

const VENDOR: usize = 3072;

fuzz_target!(|data: &[u8]| {
    let (head, rest) = data.split_at(data.len().min(64));
    let mut identify = [0; nvme::IDENTIFY];
    identify[..head.len()].copy_from_slice(head);
    let room = rest.len().min(nvme::IDENTIFY - VENDOR);
    identify[VENDOR..VENDOR + room].copy_from_slice(&rest[..room]);

    let told = nvme::parse(&identify);
    for text in [&told.serial, &told.model, &told.attached_as].into_iter().flatten() {
        assert!(!text.is_empty() && text.trim() == text, "{text:?}");
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    }
    // Any text at all as a name.
    if let Ok(text) = str::from_utf8(rest) {
        check_candidates(text);
    }
    let Some(name) = &told.attached_as else { return };
    assert!(told.vendor == nvme::AMAZON && told.model.as_deref() == Some(nvme::EBS), "{told:?}");
    let bare = name.strip_prefix("/dev/").expect("it is a path");
    assert!(!bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}");
    check_candidates(name);
    for written in [name, bare] {
        if written.len() > 32 {
            continue;
        }
        let mut again = identify;
        again[VENDOR..VENDOR + 32].fill(b' ');
        again[VENDOR..VENDOR + written.len()].copy_from_slice(written.as_bytes());
        assert_eq!(nvme::parse(&again), told);
    }
});

/// Names of Xen's disks, no two the same, and the same ones with the folder and without it.
fn check_candidates(attached_as: &str) {
    let all = xen::candidates(attached_as);
    assert!(all.len() <= 2 && (all.len() < 2 || all[0] != all[1]), "{all:?}");
    for name in &all {
        let letters = name.strip_prefix("xvd").unwrap_or_default();
        assert!(letters.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        assert!(letters.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
    }
    if !attached_as.starts_with("/dev/") {
        assert_eq!(xen::candidates(&format!("/dev/{attached_as}")), all);
    }
}
