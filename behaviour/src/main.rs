//! The program `behaviour`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

mod command;

use std::process::ExitCode;

use clap::Parser;

use command::Command;

/// The plugin author's tool.
#[derive(Parser)]
#[command(name = "behaviour", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match program::parse::<Arguments>(&program::build_info!()) {
        Ok(arguments) => arguments.command.execute(),
        Err(code) => code,
    }
}

#[cfg(test)]
#[path = "../../docs/command_definition.rs"]
mod command_definition;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_help_texts_are_valid() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_examples(&definition);
    }

    #[test]
    fn the_version_includes_that_of_wasmtime() {
        assert!(program::build_info!().wasmtime.is_some());
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_manual(definition);
    }
}
