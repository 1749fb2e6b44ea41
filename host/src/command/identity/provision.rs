//! `behaviour-host identity provision`.

use clap::Args;
use program::LogFilter;
use serde_json::json;

use super::print;
use crate::command::configuration::{ConfigurationArguments, read};
use crate::command::error::CommandError;
use crate::command::run::{LOG_TARGETS, hide_memory, until_signal};
use crate::command::source::registration_and_source;

const EXAMPLES: &str = "\
Examples:
  behaviour-host identity provision
  behaviour-host identity provision --json | jq -r .hub";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ProvisionArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Print the assignment as JSON
    #[arg(long)]
    json: bool,
    /// Log filter: error, warn, info, debug, trace, or a filter of tracing
    #[arg(long, default_value = "warn", env = "BEHAVIOUR_LOG", value_name = "FILTER")]
    log: LogFilter,
}

/// Registers the device once. A running host uses the assignment for its next connection.
pub(super) fn provision(arguments: &ProvisionArguments) -> Result<(), CommandError> {
    let _log = program::log(&arguments.log, false, LOG_TARGETS)?;
    hide_memory();
    let config = read(&arguments.common)?;
    let (registration, _) = registration_and_source(&config)?;
    let assigned = until_signal(|stopped| async move {
        tokio::select! {
            assigned = behaviour_host::provision(&config, &registration) => assigned.map(Some),
            () = stopped => Ok(None),
        }
    })?;
    let Some(assigned) = assigned else {
        return Err(anyhow::anyhow!("stopped before the device was assigned to a hub").into());
    };
    let facts = vec![
        ("device", "device", json!(assigned.device)),
        ("hub", "hub", json!(assigned.hub)),
        ("assigned", "assignedAt", json!(assigned.at.to_string())),
    ];
    print(facts, arguments.json);
    Ok(())
}
