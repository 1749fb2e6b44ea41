//! The program's subcommands, one file each.

mod check;
mod configuration;
mod error;
mod plugins;
mod run;
mod simulate;

use std::process::ExitCode;

use clap::Subcommand;

use check::CheckArguments;
use plugins::PluginsArguments;
use run::RunArguments;
use simulate::SimulateArguments;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Connect to the hub and answer methods until Ctrl-C or SIGTERM
    Run(RunArguments),
    /// Simulate many devices to load-test a hub
    Simulate(SimulateArguments),
    /// Check the configuration and load the plugins without connecting
    Check(CheckArguments),
    /// List and control the plugins of a running host
    Plugins(PluginsArguments),
}

impl Command {
    /// Runs the command and returns its exit code. Prints errors to standard error.
    pub(crate) fn execute(self) -> ExitCode {
        let outcome = match self {
            Command::Run(arguments) => run::run(arguments),
            Command::Simulate(arguments) => simulate::simulate(arguments),
            Command::Check(arguments) => return check::check(&arguments),
            Command::Plugins(arguments) => plugins::plugins(arguments),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }
}
