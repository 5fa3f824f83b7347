//! The claim of volumes and interfaces, with the real client of the SDK and in virtual time, against the tests' own
//! EC2: what is asked of it, and what comes of each answer. No network, no disk, no clock of the wall's.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[path = "../ec2/mod.rs"]
mod ec2;

mod errors;
mod interfaces;
mod node;
mod pool;
mod random;
mod secrets;
mod storm;
mod takeover;
