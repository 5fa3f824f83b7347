//! The command line, as types. They say, they never act.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Brings a stateful service's volume back to its node before the service starts.
#[derive(Debug, Parser)]
#[command(name = "volinit", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done or nothing to do, 1 failed, 2 usage or config, 3 refused (data at risk), 4 not there."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,

    /// Take DIR for the root of the machine's files; the devices are those of this machine
    #[arg(long, value_name = "DIR", global = true)]
    pub root: Option<PathBuf>,

    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,

    /// Tell each decision and its reason on stderr; twice: each command too
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
}

impl Cli {
    /// The words that the process was started with.
    ///
    /// # Errors
    /// What clap prints, `--help` among it.
    pub fn read(words: impl IntoIterator<Item = OsString> + Clone) -> Result<Cli, clap::Error> {
        match Cli::at_boot(words.clone()) {
            Some(cli) => Ok(cli),
            None => Cli::try_parse_from(words),
        }
    }

    /// `volinit up NAME…`, as the units have it. clap makes all commands and options before it looks at the first word: a
    /// tenth of what a boot costs that finds nothing to do.
    fn at_boot(words: impl IntoIterator<Item = OsString>) -> Option<Cli> {
        let mut words = words.into_iter().skip(1);
        let names = |word: OsString| word.into_string().ok().filter(|name| !name.starts_with('-'));
        let which = |names| Which { names: Names { names }, ..Which::default() };
        if words.next()? != "up" {
            return None;
        }
        let command = Command::Up(which(words.map(names).collect::<Option<_>>()?));
        Some(Cli { command, config: Vec::new(), root: None, json: false, verbose: 0 })
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach, prepare, mount and publish the volumes, all at once; a second run does nothing
    Up(Which),
    /// Show what `up` would do, and why; touches nothing
    Plan(Which),
    /// Only grow what is mounted; fails when it can't (for cfn-hup or a timer)
    Grow(Names),
    /// Take the metadata back, unmount and detach, for a planned move; what is not here is released already
    Release(Names),
    /// Show what is declared beside what is there
    Status(Names),
    /// Check the config, and show each error with its line
    Check {
        /// The files to check [default: those that `up` would read]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the units that a boot needs, or write them under --root DIR; touches no device
    Render(Rendered),
    /// List the block devices, what they carry, and whether each could be used
    Devices,
}

/// Volumes by name.
#[derive(Debug, Default, Args)]
pub struct Names {
    /// The volumes [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// Volumes by name, or the one of a service.
#[derive(Debug, Args)]
pub struct Rendered {
    /// By name.
    #[command(flatten)]
    pub names: Names,

    /// In place of that the drop-in that binds SERVICE to the volume, with a folder there: postgres, redis, kafka, etcd,
    /// mysql, or any unit. The volume is the one named, that of the service's name, or the only one
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
}

/// Volumes by name, or one without a config.
#[derive(Debug, Default, Args)]
pub struct Which {
    /// By name.
    #[command(flatten)]
    pub names: Names,

    /// Without a config: the device, as in `volinit up --device /dev/xvdb --mount /data/postgres --fs btrfs`
    #[arg(long, value_name = "DEVICE", requires = "mount", conflicts_with_all = ["names", "config"])]
    pub device: Option<PathBuf>,

    /// Erase the one volume that is named, once, though it was refused: VOLUME is its volume id, serial or UUID, as the
    /// refusal says it. No config can say this
    #[arg(long, value_name = "VOLUME")]
    pub erase: Option<String>,

    /// Wait this long for what has to come, in place of each `timeout` of the config: 90s, 5min
    #[arg(long, value_name = "TIME")]
    pub deadline: Option<String>,

    /// Without a config: where to mount it
    #[arg(long, value_name = "DIR", requires = "device")]
    pub mount: Option<String>,

    /// Without a config: ext4, xfs or btrfs [default: ext4]
    #[arg(long, value_name = "TYPE", requires = "device")]
    pub fs: Option<String>,

    /// Without a config: the filesystem's label when it is made
    #[arg(long, value_name = "LABEL", requires = "device")]
    pub label: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_units_say_is_read_as_clap_reads_it() {
        let words = |line: &str| -> Vec<OsString> { line.split(' ').map(OsString::from).collect() };
        for line in ["volinit up", "volinit up pg", "volinit up pg redis", "volinit up help", "/usr/bin/volinit up up"]
        {
            let ours = Cli::at_boot(words(line)).expect("it is a unit's");
            let theirs = Cli::try_parse_from(words(line)).expect("clap takes it");
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{line}");
        }
        for line in
            ["volinit", "volinit plan", "volinit --json up", "volinit up --json", "volinit up pg -v", "volinit up --"]
        {
            assert!(Cli::at_boot(words(line)).is_none(), "{line}");
        }
    }
}
