//! `behaviour-host plugins`: the operator's view of a host that runs.

use std::path::PathBuf;

use behaviour_host::control::{ControlAnswer, ControlRequest, PluginStatus, ask};
use clap::{Args, Subcommand};
use program::say;

use super::error::{CommandError, CommandErrorKind};

#[derive(Args)]
pub(crate) struct PluginsArguments {
    #[command(subcommand)]
    what: Option<PluginsCommand>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The configuration of the host
    #[arg(long, default_value = "host.toml", value_name = "FILE", global = true)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum PluginsCommand {
    /// List the plugins with their versions, states and counters
    List,
    /// Answer a plugin's methods with 503 until it is enabled, over restarts of the host too
    Disable(Name),
    /// Let a plugin take calls again, at once
    Enable(Name),
    /// Take a plugin's file again, even if its version was rolled back
    Reload(Name),
    /// Put the version before back, until the file changes
    Rollback(Name),
}

#[derive(Args)]
struct Name {
    /// The plugin's name in host.toml
    #[arg(value_name = "NAME")]
    plugin: String,
}

impl PluginsArguments {
    /// Returns the request to the host.
    fn request(self) -> ControlRequest {
        match self.what.unwrap_or(PluginsCommand::List) {
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
    match answer {
        ControlAnswer::Error(why) => Err(CommandError::new(CommandErrorKind::Other, why)),
        ControlAnswer::UnknownPlugin(name) => {
            let message = format!("the host has no plugin `{name}`");
            Err(CommandError::new(CommandErrorKind::UnknownPlugin, message))
        }
        answer if json => {
            Ok(serde_json::to_string_pretty(&answer).expect("all keys of an answer are strings"))
        }
        ControlAnswer::Done(done) => Ok(done),
        ControlAnswer::Plugins { plugins, configuration_refused, restart_needed } => {
            let mut lines = table(&plugins);
            lines.extend(plugins.iter().filter_map(what_is_wrong));
            lines.extend(configuration_refused.map(|why| format!("host.toml is refused: {why}")));
            let restart = "changes under [hub] or [host] wait for the host to be started again";
            lines.extend(restart_needed.then(|| restart.to_owned()));
            Ok(lines.join("\n"))
        }
    }
}

const HEAD: [&str; 10] =
    ["NAME", "VERSION", "STATE", "CALLS", "FAILED", "MEAN", "LONGEST", "MEMORY", "SWAPS", "DIGEST"];

/// For people: a line a plugin, under a line of heads.
fn table(plugins: &[PluginStatus]) -> Vec<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(plugins.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[String; HEAD.len()]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn what_is_wrong(plugin: &PluginStatus) -> Option<String> {
    Some(format!("{}: {}", plugin.name, plugin.last_error.as_ref()?))
}

fn row(plugin: &PluginStatus) -> [String; HEAD.len()] {
    let counters = &plugin.counters;
    [
        plugin.name.clone(),
        plugin.version.to_string(),
        plugin.state.clone(),
        counters.calls().to_string(),
        counters.failed().to_string(),
        format!("{} ms", counters.mean_ms()),
        format!("{} ms", counters.longest_ms),
        format!("{} KiB", counters.memory_bytes / 1024),
        counters.swaps.to_string(),
        plugin.digest.chars().take(12).collect(),
    ]
}
