//! The program `behaviour`: the list of its commands.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

mod command;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// The plugin author's tool.
#[derive(Parser)]
#[command(name = "behaviour", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(command::new::New),
    Setup(command::setup::Setup),
    Build(command::build::Build),
    Call(command::call::Call),
    Check(command::check::Check),
    Test(command::test::Test),
    Watch(command::watch::Watch),
    Completions(command::completions::Completions),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::New(new) => new.run(),
        Command::Setup(setup) => setup.run(),
        Command::Build(build) => build.run(),
        Command::Call(call) => call.run(),
        Command::Check(check) => check.run(),
        Command::Test(test) => test.run(),
        Command::Watch(watch) => watch.run(),
        Command::Completions(completions) => completions.run(Arguments::command()),
    }
}
