//! The command `behaviour-service registrations`.

use behaviour_service::ProvisioningClient;
use clap::Subcommand;
use program::{candidates, note, say};
use protocol::provisioning::RegistrationId;
use serde_json::Value;

use super::text;
use crate::command::show::{self, OutputFormat};
use crate::command_error::{CommandError, EnrollmentError};
use crate::known_ids;

pub(crate) const REGISTRATIONS_EXAMPLES: &str = "\
Examples:
  behaviour-service registrations show sn-1 --json | jq -r .assignedHub
  behaviour-service registrations delete sn-1 sn-2";

#[derive(Subcommand)]
pub(crate) enum RegistrationsCommand {
    /// Print the registration of a device: its status, its hub and its device id
    Show {
        /// The registration id
        #[arg(add = candidates(known_ids::of_enrollments))]
        id: RegistrationId,
    },
    /// Delete registrations: the devices stay at their hubs, and are assigned like new ones when
    /// they register again
    Delete {
        /// The registration ids
        #[arg(required = true, add = candidates(known_ids::of_enrollments))]
        ids: Vec<RegistrationId>,
    },
}

impl RegistrationsCommand {
    pub(super) async fn run(
        self,
        client: &ProvisioningClient,
        show: OutputFormat,
    ) -> Result<(), CommandError> {
        match self {
            RegistrationsCommand::Show { id } => {
                let found = client.registration(id.as_str()).await.map_err(EnrollmentError)?;
                print(&found, show);
            }
            RegistrationsCommand::Delete { ids } => {
                for id in &ids {
                    client.delete_registration(id.as_str()).await.map_err(EnrollmentError)?;
                }
                note(format_args!("{} deleted", ids.len()));
            }
        }
        Ok(())
    }
}

/// Prints a registration on a line.
pub(super) fn print(registration: &Value, show: OutputFormat) {
    match show.as_json {
        true => show::json(registration),
        false => say(text::registration(registration)),
    }
}
