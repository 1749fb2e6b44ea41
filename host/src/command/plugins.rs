//! `behaviour-host plugins`.

use behaviour_host::control::ControlRequest;
use clap::{Args, Subcommand};
use program::candidates;

use super::error::CommandError;
use super::names;
use super::operator::{OperatorArguments, operate};

const EXAMPLES: &str = "\
Examples:
  behaviour-host plugins
  behaviour-host plugins --json | jq '.plugins[].state'
  behaviour-host plugins disable reboot
  behaviour-host plugins rollback reboot --config /etc/behaviour/host.toml";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PluginsArguments {
    #[command(subcommand)]
    command: Option<PluginsCommand>,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Subcommand)]
enum PluginsCommand {
    /// List the plugins with their versions, states and counters
    List,
    /// Answer a plugin's methods with 503 until it is enabled, even after a restart
    Disable(Name),
    /// Enable a disabled plugin immediately
    Enable(Name),
    /// Load a plugin's file again, even if its version was rolled back
    Reload(Name),
    /// Return to the previous version until the file changes
    Rollback(Name),
}

#[derive(Args)]
struct Name {
    /// Name of the plugin in host.toml
    #[arg(value_name = "NAME", add = candidates(names::plugins))]
    plugin: String,
}

pub(super) fn plugins(
    PluginsArguments { command, operator }: PluginsArguments,
) -> Result<(), CommandError> {
    let request = match command.unwrap_or(PluginsCommand::List) {
        PluginsCommand::List => ControlRequest::List {},
        PluginsCommand::Disable(Name { plugin }) => ControlRequest::Disable { plugin },
        PluginsCommand::Enable(Name { plugin }) => ControlRequest::Enable { plugin },
        PluginsCommand::Reload(Name { plugin }) => ControlRequest::Reload { plugin },
        PluginsCommand::Rollback(Name { plugin }) => ControlRequest::Rollback { plugin },
    };
    operate(&operator, &request)
}
