//! volinit brings a stateful service's volume back to its node before the service starts.
//!
//! ```text
//! config -> locate -> probe -> plan -> apply -> publish -> report
//! (YAML)    Device    Facts    Plan    effects  files     Outcome
//! ```
//!
//! Each phase takes what the one before it made and adds one thing; nothing flows back.
//! [`boot`] is that line as code: read it first.

pub mod apply;
pub mod boot;
pub mod bytes;
pub mod cli;
pub mod commands;
pub mod config;
#[cfg(feature = "ec2")]
pub mod ec2;
pub mod error;
pub mod generator;
pub mod intent;
pub mod interfaces;
mod ioctl;
pub mod locate;
mod nfs;
pub mod plan;
pub mod probe;
pub mod publish;
pub mod release;
pub mod report;
pub mod root;
mod side_by_side;
mod signal;
mod signals;
pub mod state;
