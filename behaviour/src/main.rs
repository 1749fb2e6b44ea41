//! The program `behaviour`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

mod command;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use command::Command;

/// The plugin author's tool.
#[derive(Parser)]
#[command(name = "behaviour", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    Arguments::parse().command.execute(Arguments::command())
}
