//! Disks that give errors: whatever can't be read is never formatted, and a format that can't be written is undone
//! and made anew by the next run. The errors are the kernel's own EIO, from a disk that this process serves.
//!
//! `FAULTS=long` lets each read fail, for each filesystem; without it some are passed over, for CI.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[path = "rig/faulty.rs"]
mod faulty;
mod rig;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use faulty::Faulty;
use rig::{MIB, Ran, Rig, tool};

/// Above what the proof reads whole, so that there are samples, and few enough reads to let each fail.
const SIZE: u64 = 640 * MIB;

const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];

fn up(rig: &Rig, disk: &Faulty, kind: &str) -> Ran {
    rig.volinit(&["up", "--device", disk.disk.name(), "--mount", "/data/pg", "--fs", kind])
}

/// As after a reboot.
fn unmount(rig: &Rig) {
    if rig.mount_at("/data/pg").is_some() {
        rig.unmount("/data/pg");
    }
    let _ = std::fs::remove_dir_all(rig.path("/var/lib/volinit"));
}

/// Every read of a first `up`, up to its first write: each offset once.
fn reads(rig: &Rig, disk: &Faulty, kind: &str) -> Vec<Range<u64>> {
    disk.renew();
    let ran = up(rig, disk, kind);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    unmount(rig);
    let traffic = disk.traffic.lock().unwrap();
    let before = traffic.reads_before_writes.unwrap();
    let offsets: BTreeSet<(u64, u64)> = traffic.reads[..before].iter().map(|read| (read.start, read.end)).collect();
    offsets.into_iter().map(|(start, end)| start..end).collect()
}

#[test]
fn a_disk_is_not_formatted_where_any_one_read_fails() {
    let started = Instant::now();
    let long = std::env::var("FAULTS").is_ok_and(|faults| faults == "long");
    let run = |part: usize| {
        let mut rig = Rig::new();
        let disk = Faulty::new(&mut rig, "faulty", SIZE);
        KINDS.map(|kind| {
            let all = reads(&rig, &disk, kind);
            // Else every second of ext4's; and of the others, whose proof is the same, every twentieth.
            let step = match kind {
                _ if long => 2,
                "ext4" => 4,
                _ => 40,
            };
            let mine: Vec<_> = all.iter().skip(part * step / 2).step_by(step).collect();
            for read in &mine {
                refused(&rig, &disk, kind, read);
            }
            format!("{kind}: {} of {} reads", mine.len(), all.len())
        })
    };
    let done =
        std::thread::scope(|scope| [0, 1].map(|part| scope.spawn(move || run(part))).map(|half| half.join().unwrap()));
    println!("each of them failed once, none was formatted, in {:?}: {done:?}", started.elapsed());
}

/// The disk with this place gone bad is refused, and was not written to.
fn refused(rig: &Rig, disk: &Faulty, kind: &str, bad: &Range<u64>) {
    disk.renew();
    let before = disk.fingerprint();
    disk.traffic.lock().unwrap().bad = vec![bad.clone()];
    let ran = up(rig, disk, kind);
    let traffic = disk.traffic.lock().unwrap();
    assert!(traffic.failed > 0, "{kind} {bad:?}: it was not read: {ran:?}");
    assert_eq!((ran.code, traffic.writes), (Some(3), 0), "{kind} {bad:?}: {ran:?}");
    drop(traffic);
    assert_eq!(disk.fingerprint(), before, "{kind} {bad:?}");
    // The place that it names lies in the read that failed, or the read that failed in what was to be read there.
    let named = ran.out.split("byte ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let near = named.is_some_and(|at| at < bad.end && bad.start < at + 128 * 1024);
    assert!(near && ran.out.contains("could not be read: I/O error"), "{kind} {bad:?}: {}", ran.out);
}

#[test]
fn a_disk_that_gives_nothing_but_errors_is_not_formatted() {
    let mut rig = Rig::new();
    let disk = Faulty::new(&mut rig, "faulty", SIZE);
    for kind in KINDS {
        refused(&rig, &disk, kind, &(0..SIZE));
    }
    // Its size can be asked for all the same; and once it is healed it comes up by itself.
    disk.heal();
    assert_eq!(up(&rig, &disk, "xfs").code, Some(0));
    unmount(&rig);
}

/// How much a format writes and how often it flushes, without the mount: it fails for its options.
fn format_alone(rig: &Rig, disk: &Faulty, kind: &str) -> (usize, usize) {
    disk.renew();
    rig.config(&format!(
        "volumes:\n  pg:\n    source: {{ device: {} }}\n    filesystem: {{ type: {kind} }}\n    mount: {{ at: /data/pg, options: [no_such_option] }}\n",
        disk.disk.name()
    ));
    let ran = rig.volinit(&["up"]);
    assert!(ran.code == Some(1) && ran.out.contains("mounting "), "{ran:?}");
    let traffic = disk.traffic.lock().unwrap();
    (traffic.writes, traffic.flushes)
}

/// Lets each write, or each flush, of a first format fail in turn: a failure, which the next run makes good by itself.
fn each_fails(kind: &str, flushes: bool) -> String {
    let mut rig = Rig::new();
    let disk = Faulty::new(&mut rig, "faulty", SIZE);
    let (writes, all_flushes) = format_alone(&rig, &disk, kind);
    let count = if flushes { all_flushes } else { writes };
    for number in 0..count {
        disk.renew();
        {
            let mut traffic = disk.traffic.lock().unwrap();
            *(if flushes { &mut traffic.bad_flush } else { &mut traffic.bad_write }) = Some(number);
        }
        let ran = up(&rig, &disk, kind);
        assert_eq!(ran.code, Some(1), "{kind} {number} of {count}: {ran:?}");
        assert!(ran.out.contains("I/O error") && ran.out.contains(disk.disk.name()), "{ran:?}");
        assert!(rig.mount_at("/data/pg").is_none(), "{kind} {number} of {count}: {ran:?}");
        comes_up(&rig, &disk, kind, &ran);
    }
    format!("{kind}: {count}")
}

/// The disk works again: the next run needs no help, and what it made is sound.
fn comes_up(rig: &Rig, disk: &Faulty, kind: &str, before: &Ran) {
    disk.heal();
    let next = up(rig, disk, kind);
    assert_eq!(next.code, Some(0), "{kind}: {before:?}\nthen {next:?}");
    std::fs::write(rig.path("/data/pg/row"), "committed").unwrap();
    unmount(rig);
    // The file below, since the device may still be somebody's for a moment.
    let file = disk.disk.file.to_str().unwrap();
    match kind {
        "ext4" => tool(["e2fsck", "-f", "-n", file]),
        "xfs" => tool(["xfs_repair", "-n", "-f", file]),
        _ => tool(["btrfs", "check", "--readonly", file]),
    };
}

#[test]
fn a_format_is_made_good_by_the_next_run_where_any_one_write_fails() {
    println!("writes: {:?}", KINDS.map(|kind| each_fails(kind, false)));
}

#[test]
fn a_format_is_made_good_by_the_next_run_where_any_one_flush_fails() {
    println!("flushes: {:?}", KINDS.map(|kind| each_fails(kind, true)));
}

#[test]
fn a_disk_that_goes_away_in_the_middle_is_a_failure_and_comes_up_when_it_is_back() {
    for kind in KINDS {
        let mut rig = Rig::new();
        let disk = Faulty::new(&mut rig, "faulty", SIZE);
        for number in [0, 1, 2, 5, 9] {
            disk.renew();
            disk.traffic.lock().unwrap().gone_at_write = Some(number);
            let ran = up(&rig, &disk, kind);
            assert_eq!(ran.code, Some(1), "{kind} {number}: {ran:?}");
            assert!(ran.out.contains(disk.disk.name()) && ran.out.contains("I/O error"), "{ran:?}");
            // While it is away nothing is known of it, and nothing is made of that.
            let away = up(&rig, &disk, kind);
            assert_eq!(away.code, Some(3), "{kind} {number}: {away:?}");
            comes_up(&rig, &disk, kind, &ran);
        }
    }
}
