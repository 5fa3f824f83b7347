//! What is made from the command line's types and kept in git: it must be what they would make now.
//! `make generated` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use volinit::cli::Cli;

/// What clap does not know.
const MORE: &str = include_str!("../packaging/man/volinit.8.in");

#[test]
fn the_man_page_is_that_of_the_command_line() {
    same("packaging/man/volinit.8", &man());
}

/// Under the names by which the shells look for them.
#[test]
fn the_completions_are_those_of_the_command_line() {
    for (shell, name) in [(Shell::Bash, "volinit"), (Shell::Zsh, "_volinit"), (Shell::Fish, "volinit.fish")] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "volinit", &mut text);
        same(&format!("packaging/completions/{name}"), &String::from_utf8(text).unwrap());
    }
}

/// One page for all: a person who runs `man volinit` has not yet heard of subcommands.
fn man() -> String {
    let mut cli = Cli::command();
    cli.build();
    let page = Man::new(cli.clone()).title("VOLINIT").section("8").source("volinit").manual("System administration");
    let mut text = Vec::new();
    page.render_title(&mut text).unwrap();
    page.render_name_section(&mut text).unwrap();
    page.render_synopsis_section(&mut text).unwrap();
    page.render_description_section(&mut text).unwrap();
    page.render_options_section(&mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap();

    text.push_str(".SH COMMANDS\n");
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        let mut own = command.clone();
        // The options of all commands were told above.
        let global: Vec<_> =
            own.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id().clone()).collect();
        for id in global {
            own = own.mut_arg(id, |arg| arg.hide(true));
        }
        let own = own.disable_help_flag(true).mut_args(|arg| if arg.get_id() == "help" { arg.hide(true) } else { arg });
        let about = roff(&own.get_about().unwrap().to_string());
        writeln!(text, ".SS volinit {}\n{about}.", command.get_name()).unwrap();
        for arg in own.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let value = arg.get_value_names().map(|names| names[0].to_string()).unwrap_or_default();
            let tag = match arg.get_long() {
                Some(long) => format!("\\fB\\-\\-{}\\fR \\fI{value}\\fR", roff(long)),
                None => format!("\\fI{value}\\fR"),
            };
            writeln!(text, ".TP\n{tag}\n{}.", roff(&arg.get_help().unwrap().to_string())).unwrap();
        }
    }
    text.push_str(MORE);
    text
}

fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Compares a file with what it should be, or with `UPDATE=1` writes it.
fn same(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, text).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "{path} is not what the code says now: run `make generated`, and look at the difference");
}
