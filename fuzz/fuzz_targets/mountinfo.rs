//! The mount table. Any bytes: no panic, at most one mount a line. A line as the kernel writes it is read back exactly,
//! whatever is in its names.
//!
//! The input: the device's number, then three names, each ended by a zero byte.

#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use volinit::probe::parse_mounts;

fuzz_target!(|data: &[u8]| {
    assert!(parse_mounts(data).len() <= data.split(|byte| *byte == b'\n').count());

    let Some((&[major, minor, optional], names)) = data.split_first_chunk::<3>() else { return };
    let mut names = names.splitn(3, |byte| *byte == 0);
    let [root, at, source] = [(); 3].map(|()| names.next().unwrap_or_default());
    let (root, at) = ([b"/", root].concat(), [b"/", at].concat());
    // The kernel writes "none" where a source is empty, and nothing has a zero byte in it.
    if source.is_empty() || source.contains(&0) {
        return;
    }
    let mut line = format!("36 35 {major}:{minor} ").into_bytes();
    for (name, behind) in [(&root[..], " "), (&at[..], " rw,noatime")] {
        escape(name, &mut line);
        line.extend_from_slice(behind.as_bytes());
    }
    for field in ["shared:1", "master:2", "propagate_from:3", "unbindable"].into_iter().take(usize::from(optional) % 5)
    {
        line.extend_from_slice(format!(" {field}").as_bytes());
    }
    line.extend_from_slice(b" - ext4 ");
    escape(source, &mut line);
    line.extend_from_slice(b" rw\n");

    let mounts = parse_mounts(&line.repeat(2));
    assert_eq!(mounts.len(), 2, "{}", line.escape_ascii());
    for mounted in mounts {
        assert_eq!(mounted.root, OsStr::from_bytes(&root));
        assert_eq!(mounted.at, OsStr::from_bytes(&at));
        assert_eq!(mounted.source, OsStr::from_bytes(source));
        assert_eq!(mounted.fstype, "ext4");
        assert_eq!(mounted.number, u64::from(major) << 8 | u64::from(minor));
    }
});

/// `seq_escape()` of Linux, `fs/seq_file.c`, with what `fs/proc_namespace.c` asks it to escape.
fn escape(name: &[u8], line: &mut Vec<u8>) {
    for byte in name {
        if b" \t\n\\#".contains(byte) {
            line.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            line.push(*byte);
        }
    }
}
