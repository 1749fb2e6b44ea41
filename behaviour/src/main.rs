//! The program `behaviour`: the list of its commands.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The plugin author's tool.
#[derive(Parser)]
#[command(name = "behaviour", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(command::build::Build),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Build(build) => build.run(),
    }
}
