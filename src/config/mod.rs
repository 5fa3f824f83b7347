//! What the user said: files found, merged, read and checked, with errors that point at the line.
//! Nothing here looks at a device or changes anything.
//!
//! The files, under the root:
//!
//! 1. `volinit.yaml` of `/usr/lib/volinit`, `/etc/volinit` and `/run/volinit`, every one that exists.
//! 2. Then `conf.d/*.yaml` of the same three folders, in the order of their file names whatever their
//!    folder. Of one name in two folders only the later folder's is read; where that one is empty or a
//!    link to `/dev/null` it masks the earlier one.
//!
//! Later wins, key by key: maps are merged deeply, lists and scalars are replaced. One exception: a
//! `source` that names its kind replaces an earlier one whole, since a volume has one source and there is no
//! way to take a key back; so does an `eni` and a `signal`. With `--config FILE` only those files are read, merged in their order.
//!
//! `files` finds and reads, `tree` parses and merges, `cursor` and `decode` turn the tree into
//! [`schema::Config`] by the rules of `value`, `ec2`, `mkfs` and [`template`], `check` looks across entries (`carried`
//! is the table of what each target takes), and `position` and `problem` say where it went wrong.

pub(crate) mod carried;
mod check;
mod cursor;
mod decode;
mod ec2;
mod files;
mod flags;
mod mkfs;
mod position;
mod problem;
pub mod schema;
pub mod template;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::path::PathBuf;

pub use ec2::instance_tag;
pub use flags::volume_from_flags;
pub use position::Position;
pub use problem::{Problem, Problems};
pub use schema::*;
pub use value::duration;

use crate::root::Root;

/// What the files say: `explicit` ones as this process opens them, or those found under `root`.
///
/// # Errors
/// Every problem that they have, not the first only.
pub fn load(root: &Root, explicit: &[PathBuf]) -> Result<Config, Problems> {
    if explicit.is_empty() { read(&files::find(root)?) } else { read(&files::read_all(explicit)?) }
}

/// Whether `root` has a config, right or wrong.
pub fn is_there(root: &Root) -> bool {
    files::are_there(root)
}

/// What these texts say, merged in their order. No file is read: this is for the fuzzer.
#[doc(hidden)]
pub fn parse(texts: &[&str]) -> Result<Config, Problems> {
    let file = |(nth, text): (usize, &&str)| files::File { path: nth.to_string().into(), text: (*text).to_owned() };
    read(&texts.iter().enumerate().map(file).collect::<Vec<_>>())
}

fn read(files: &[files::File]) -> Result<Config, Problems> {
    let mut report = problem::Report::new(files);
    let Some(tree) = tree::merged(files, &mut report) else {
        return Err(report.into_problems());
    };
    let config = decode::config(&tree, &mut report);
    report.finish(config)
}
