//! Faults: power cuts at every write of a first format and of a grow, SIGKILL at every syscall, foreign bytes on
//! half-made disks, twenty at once on one. Each ends in a volume that stands, or in a refusal that changed nothing.
//!
//! `FAULTS=long` takes every case where the short run takes a sample; `FAULTS_SEED=7` draws others;
//! `FAULTS_KEEP=/folder` keeps the disks there that went wrong, as they were before.
//! Copies of one disk are looked at one after the other: they have one UUID, and the kernel knows Btrfs by it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod crowd;
mod cuts;
mod foreign;
mod grow;
mod kill;
mod recorder;
mod replay;
mod sectors;
mod tally;

#[path = "../rig/mod.rs"]
mod rig;
