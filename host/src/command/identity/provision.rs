//! `behaviour-host identity provision` and `behaviour-host identity renew`.

use clap::Args;
use program::LogFilter;
use serde_json::json;

use super::{facts_of_sign_in, print};
use crate::command::configuration::{ConfigurationArguments, read};
use crate::command::error::CommandError;
use crate::command::run::{LOG_TARGETS, hide_memory, until_signal};
use crate::command::source::registration_and_source;

const EXAMPLES: &str = "\
Examples:
  behaviour-host identity provision
  behaviour-host identity provision --json | jq -r .hub
  behaviour-host identity renew";

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
    register(arguments, false)
}

/// Registers the device once, for a new certificate.
pub(super) fn renew(arguments: &ProvisionArguments) -> Result<(), CommandError> {
    register(arguments, true)
}

fn register(arguments: &ProvisionArguments, renews: bool) -> Result<(), CommandError> {
    let _log = program::log(&arguments.log, false, LOG_TARGETS)?;
    hide_memory();
    let config = read(&arguments.common)?;
    let (registration, source) = registration_and_source(&config)?;
    let (settings, registrant) = (config.clone(), registration.clone());
    let assigned = until_signal(|stopped| async move {
        let registering = async {
            match renews {
                true => behaviour_host::renew(&settings, &registrant).await,
                false => behaviour_host::provision(&settings, &registrant).await,
            }
        };
        tokio::select! {
            assigned = registering => assigned.map(Some),
            () = stopped => Ok(None),
        }
    })?;
    let Some(assigned) = assigned else {
        return Err(anyhow::anyhow!("stopped before the device was assigned to a hub").into());
    };
    let mut facts = vec![
        ("device", "device", json!(assigned.device)),
        ("hub", "hub", json!(assigned.hub)),
        ("assigned", "assignedAt", json!(assigned.at.to_string())),
    ];
    if renews {
        facts.extend(facts_of_sign_in(&config, &registration.into(), &source)?);
    }
    print(facts, arguments.json);
    Ok(())
}
