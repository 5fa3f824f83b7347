//! Arguments, log, run, exit code; nothing else.

use std::process::ExitCode;

use volinit::cli::Cli;
use volinit::commands;
use volinit::generator;
use volinit::report::log;

/// musl's allocator asks the kernel for memory, and gives it back, with each handful of objects: a third of all calls of a
/// run that finds nothing to do.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    if let Some(folder) = generator::asked(std::env::args_os()) {
        return generator::run(&folder);
    }
    let cli = match Cli::read(std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version come here too, with code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log::init(cli.verbose);
    commands::run(&cli)
}
