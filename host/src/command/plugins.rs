//! `behaviour-host plugins`: the operator's client of a running host.

use std::path::PathBuf;

use behaviour_host::control::{ControlAnswer, ControlRequest, ask};
use clap::{Args, Subcommand};
use program::{candidates, say};

use super::error::{CommandError, CommandErrorKind};
use super::names;

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
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Configuration file of the host
    #[arg(long, default_value = "host.toml", value_name = "FILE", global = true)]
    config: PathBuf,
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
    /// The plugin's name in host.toml
    #[arg(value_name = "NAME", add = candidates(names::plugins))]
    plugin: String,
}

impl PluginsArguments {
    /// Returns the request to the host.
    fn request(self) -> ControlRequest {
        match self.command.unwrap_or(PluginsCommand::List) {
            PluginsCommand::List => ControlRequest::List {},
            PluginsCommand::Disable(Name { plugin }) => ControlRequest::Disable { plugin },
            PluginsCommand::Enable(Name { plugin }) => ControlRequest::Enable { plugin },
            PluginsCommand::Reload(Name { plugin }) => ControlRequest::Reload { plugin },
            PluginsCommand::Rollback(Name { plugin }) => ControlRequest::Rollback { plugin },
        }
    }
}

pub(super) fn plugins(arguments: PluginsArguments) -> Result<(), CommandError> {
    say(operate(arguments)?);
    Ok(())
}

/// Sends the request and returns the text to print.
fn operate(plugins: PluginsArguments) -> Result<String, CommandError> {
    let (json, config) = (plugins.json, plugins.config.clone());
    let answer = ask(&config, &plugins.request())?;
    let kind = match answer {
        ControlAnswer::Error(_) => CommandErrorKind::Other,
        ControlAnswer::UnknownPlugin(_) => CommandErrorKind::UnknownPlugin,
        answer if json => return Ok(answer.to_json()),
        answer => return Ok(answer.to_text()),
    };
    Err(CommandError::new(kind, answer.to_text()))
}
