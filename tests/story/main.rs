//! The story that volinit is made for: PostgreSQL on core1, with its data on an EBS volume; core1 dies; core2 has the
//! volume, and PostgreSQL with every row that was committed. Then back, in order.
//!
//! `make story` tells it to a person. Two real Debians with systemd boot, and nothing of volinit is enabled by hand: the
//! package, a config, and a unit that says `RequiresMountsFor=`. EC2 is the tests' own. A killed machine loses its memory,
//! and not what its kernel had given to the disk; what a disk forgets at a power cut is seen in tests/powercut.rs.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]
#![allow(clippy::doc_markdown, reason = "PostgreSQL is a name, and no code")]

#[path = "../ec2/mod.rs"]
mod ec2;
mod node;
mod region;
#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../vm/mod.rs"]
mod vm;

use std::time::Instant;

use node::{Node, Seen};
use region::{Region, VOL};
use vm::debian::Image;

/// So many are there to be lost.
const ROWS: u64 = 50;

#[test]
fn postgresql_and_every_committed_row_follow_the_volume_to_core2_and_back() {
    let folder = tempfile::Builder::new().prefix("volinit-story-").tempdir().unwrap();
    let image = Image::new(folder.path());
    let region = Region::new(&image);
    let began = Instant::now();
    let tell = |what: &str| println!("\n== {:.0} s: {what}", began.elapsed().as_secs_f32());

    tell("A blank volume, attached to nobody. core1 boots for the first time");
    says(&region, "available");
    let mut core1 = Node::boot(&region, &image, "core1", "i-core1");
    let first = core1.carries_the_volume("formatted as ext4, mounted at /data/postgres");
    says(&region, "in-use, attached to i-core1");
    assert_eq!(first.postgres.matches("initdb: ").count(), 1, "{}", first.postgres);

    tell("A client commits rows, one by one");
    core1.sql("CREATE TABLE orders (number bigint PRIMARY KEY, word text NOT NULL)");
    core1.commits(1, ROWS);

    tell("The power of core1 goes while the client writes, and EC2 terminates the instance");
    let committed = core1.dies(&region);
    println!("{committed} rows were committed");
    assert!(region.wants_recovery(), "core1 had it mounted");
    says(&region, "in-use, attached to i-core1");

    tell("core2 boots");
    let mut core2 = Node::boot(&region, &image, "core2", "i-core2");
    let second = core2.carries_the_volume("it was taken from i-core1");
    assert!(second.volinit.contains("checked, mounted at /data/postgres"), "{}", second.volinit);
    says(&region, "in-use, attached to i-core2");
    has_all(&mut core2, committed);
    core2.types(&format!("journalctl -q -o cat -u postgres@{VOL} | grep -o 'database system was not.*'"));
    same(&first, &second);

    tell("The client goes on there, and core2 is asked to give the volume back");
    let next = core2.sql("SELECT max(number) + 1 FROM orders").parse().unwrap();
    core2.commits(next, ROWS);
    core2.types("systemctl stop volinit@postgres");
    let committed = core2.committed().expect("it committed rows");
    println!("{committed} rows were committed");
    core2.types("journalctl -q -o cat -t volinit | tail -n 1");
    core2.carries_nothing();
    says(&region, "available");
    assert!(!region.wants_recovery(), "core2 unmounted it");

    tell("A new core1 boots");
    let mut core1 = Node::boot(&region, &image, "core1", "i-core1-again");
    let third = core1.carries_the_volume("mounted at /data/postgres");
    says(&region, "in-use, attached to i-core1-again");
    has_all(&mut core1, committed);
    assert!(!third.postgres.contains("was not properly shut down"), "{}", third.postgres);
    same(&first, &third);

    tell("Both are shut down in order");
    core2.powers_off(&region);
    core1.powers_off(&region);
    says(&region, "available");
    assert!(!region.wants_recovery(), "core1 unmounted it");
    assert_eq!((region.cloud.count("AttachVolume"), region.cloud.count("DetachVolume")), (3, 3));
    tell("The end");
}

/// What EC2 says of the volume.
fn says(region: &Region, expected: &str) {
    let said = region.volume();
    println!("EC2: {said}");
    assert_eq!(said, format!("{VOL}: {expected}"));
}

/// Every row up to this one, whole. One more may be there: its COMMIT had no time to return.
fn has_all(node: &mut Node, committed: u64) {
    let whole = format!("SELECT count(*) FROM orders WHERE number <= {committed} AND word = md5(number::text)");
    assert_eq!(node.sql(&whole), committed.to_string());
}

/// The same filesystem and the same cluster, made once.
fn same(first: &Seen, later: &Seen) {
    assert!(!later.volinit.contains("formatted"), "{}", later.volinit);
    assert!(!later.postgres.contains("initdb: "), "{}", later.postgres);
    assert_eq!((&first.uuid, &first.cluster), (&later.uuid, &later.cluster));
}
