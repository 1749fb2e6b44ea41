//! The program's subcommands, one file each.

mod check;
mod configuration;
mod error;
mod example;
mod identity;
mod jobs;
mod logs;
mod metrics;
mod names;
mod operator;
mod plugins;
mod record;
mod run;
mod simulate;
mod source;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

use check::CheckArguments;
use identity::IdentityArguments;
use jobs::JobsArguments;
use logs::LogsArguments;
use metrics::MetricsArguments;
use plugins::PluginsArguments;
use program::Completions;
use record::RecordArguments;
use run::RunArguments;
use simulate::SimulateArguments;
use status::StatusArguments;

/// End of the program's help text.
pub(crate) const EXAMPLES: &str = "\
Examples:
  behaviour-host example > host.toml
  behaviour-host check
  behaviour-host run --config host.toml
  behaviour-host status
  behaviour-host plugins

Exit codes:
  0  done
  1  the host did not start, or the running host refused
  2  the command line is wrong
  3  no host is running with this configuration
  4  the host has no such plugin or job";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Connect to the hub and answer methods until Ctrl-C or SIGTERM
    Run(RunArguments),
    /// Simulate many devices to load-test a hub
    Simulate(SimulateArguments),
    /// Check the configuration and load the plugins without connecting
    Check(CheckArguments),
    /// Show the identity of the device
    Identity(IdentityArguments),
    /// Show the connection, the calls and the pending work of a running host
    Status(StatusArguments),
    /// Show the metrics of a running host as OpenMetrics text
    Metrics(MetricsArguments),
    /// List and control the plugins of a running host
    Plugins(PluginsArguments),
    /// Show the last log lines of a plugin of a running host
    Logs(LogsArguments),
    /// Record calls of a running host as test cases
    Record(RecordArguments),
    /// List and cancel the jobs that plugins of a running host have scheduled
    Jobs(JobsArguments),
    /// Print a commented configuration with all keys
    #[command(after_help = example::EXAMPLES)]
    Example,
    Completions(Completions),
}

impl Command {
    /// Runs the command and returns its exit code. Prints errors to standard error.
    pub(crate) fn execute(self) -> ExitCode {
        let outcome = match self {
            Command::Run(arguments) => run::run(arguments),
            Command::Simulate(arguments) => simulate::simulate(arguments),
            Command::Check(arguments) => return check::check(&arguments),
            Command::Identity(arguments) => identity::identity(arguments),
            Command::Status(arguments) => status::status(&arguments),
            Command::Metrics(arguments) => metrics::metrics(&arguments),
            Command::Plugins(arguments) => plugins::plugins(arguments),
            Command::Logs(arguments) => logs::logs(arguments),
            Command::Record(arguments) => record::record(arguments),
            Command::Jobs(arguments) => jobs::jobs(arguments),
            Command::Example => {
                example::print();
                Ok(())
            }
            Command::Completions(completions) => {
                completions.print("behaviour-host");
                Ok(())
            }
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }
}
