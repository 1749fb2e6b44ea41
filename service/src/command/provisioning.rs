//! The commands `behaviour-service enrollments` and `behaviour-service groups`.

use std::path::PathBuf;

use behaviour_service::{HostName, ProvisioningClient};
use clap::{Args, Subcommand};
use program::{candidates, note, say};
use protocol::provisioning::RegistrationId;
use protocol::provisioning::service::EnrollmentKind;
use serde_json::Value;

use super::show::{self, OutputFormat};
use crate::command_error::{CommandError, EnrollmentError};
use crate::known_ids;
use crate::sign_in::{Auth, SignIn, Target};
use derive::DerivedKeys;
use entry::{EnrollmentChange, EnrollmentOptions, GroupOptions, IndividualOptions};
pub(crate) use registrations::{REGISTRATIONS_EXAMPLES, RegistrationsCommand};

mod derive;
mod entry;
mod registrations;
mod text;

pub(crate) const ENROLLMENTS_EXAMPLES: &str = "\
Examples:
  behaviour-service enrollments create my-device
  behaviour-service enrollments key my-device > key.txt
  behaviour-service enrollments show my-device --json | jq .registrationState.assignedHub";

pub(crate) const GROUPS_EXAMPLES: &str = "\
Examples:
  behaviour-service groups create fleet
  behaviour-service groups key fleet | behaviour-service groups derive-key sn-1 sn-2
  behaviour-service groups registrations fleet";

const CREATE_EXAMPLES: &str = "\
Examples:
  behaviour-service enrollments create my-device --device-id pump-7
  behaviour-service enrollments create my-device --x509-certificate my-device.pem
  behaviour-service enrollments create my-device --twin '{\"tags\": {\"floor\": 2}}'";

const CREATE_GROUP_EXAMPLES: &str = "\
Examples:
  behaviour-service groups create fleet --twin @twin.json
  behaviour-service groups create factory --x509-certificate factory-ca.pem
  behaviour-service groups create factory --ca-reference factory-ca --reprovision reset";

const UPDATE_EXAMPLES: &str = "\
Examples:
  behaviour-service enrollments update my-device --disable
  behaviour-service enrollments update my-device --x509-certificate old.pem --x509-secondary new.pem";

const UPDATE_GROUP_EXAMPLES: &str = "\
Examples:
  behaviour-service groups update fleet --disable
  behaviour-service groups update fleet --credential-policy monthly";

/// The connection to the Device Provisioning Service.
#[derive(Args)]
pub(crate) struct ProvisioningIdentity {
    /// The file with the connection string of the Device Provisioning Service, instead of the
    /// environment variable PROVISIONING_CONNECTION_STRING
    #[arg(long, env = "PROVISIONING_CONNECTION_STRING_FILE", value_name = "FILE", global = true)]
    provisioning_file: Option<PathBuf>,
    /// The host name of the Device Provisioning Service, for all methods of --auth but key
    #[arg(long, env = "PROVISIONING_SERVICE_HOST", value_name = "NAME", global = true)]
    provisioning_host: Option<HostName>,
}

impl ProvisioningIdentity {
    /// Returns the credentials.
    pub(crate) fn sign_in(self, auth: Auth) -> SignIn {
        let (host, file) = (self.provisioning_host, self.provisioning_file);
        SignIn { target: Target::Provisioning, auth, host, file }
    }
}

#[derive(Subcommand)]
pub(crate) enum EnrollmentsCommand {
    /// Print the enrollments, one per line, without their keys
    List,
    /// Print an enrollment and the registration of its device, without its keys
    Show {
        /// The registration id
        #[arg(add = candidates(known_ids::of_enrollments))]
        id: RegistrationId,
    },
    /// Create an enrollment; the service generates its keys, unless it has a certificate
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// The registration id
        id: RegistrationId,
        #[command(flatten)]
        individual: IndividualOptions,
        #[command(flatten)]
        options: EnrollmentOptions,
    },
    /// Change an enrollment, whose other settings stay
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        /// The registration id
        #[arg(add = candidates(known_ids::of_enrollments))]
        id: RegistrationId,
        #[command(flatten)]
        individual: IndividualOptions,
        #[command(flatten)]
        change: EnrollmentChange,
    },
    /// Delete enrollments; their devices stay at the hub
    Delete {
        /// The registration ids
        #[arg(required = true, add = candidates(known_ids::of_enrollments))]
        ids: Vec<RegistrationId>,
    },
    /// Print the primary key of an enrollment, which is a secret
    Key {
        /// The registration id
        #[arg(add = candidates(known_ids::of_enrollments))]
        id: RegistrationId,
    },
}

#[derive(Subcommand)]
pub(crate) enum GroupsCommand {
    /// Print the groups, one per line, without their keys
    List,
    /// Print a group, without its keys
    Show {
        /// The id of the group
        #[arg(add = candidates(known_ids::of_groups))]
        id: RegistrationId,
    },
    /// Create a group; the service generates its keys, unless it has authorities
    #[command(after_help = CREATE_GROUP_EXAMPLES)]
    Create {
        /// The id of the group
        id: RegistrationId,
        #[command(flatten)]
        group: GroupOptions,
        #[command(flatten)]
        options: EnrollmentOptions,
    },
    /// Change a group, whose other settings stay
    #[command(after_help = UPDATE_GROUP_EXAMPLES)]
    Update {
        /// The id of the group
        #[arg(add = candidates(known_ids::of_groups))]
        id: RegistrationId,
        #[command(flatten)]
        group: GroupOptions,
        #[command(flatten)]
        change: EnrollmentChange,
    },
    /// Delete groups; their devices stay at the hub
    Delete {
        /// The ids of the groups
        #[arg(required = true, add = candidates(known_ids::of_groups))]
        ids: Vec<RegistrationId>,
    },
    /// Print the primary key of a group, which is a secret
    Key {
        /// The id of the group
        #[arg(add = candidates(known_ids::of_groups))]
        id: RegistrationId,
    },
    /// Print the keys of devices of a group, which are secrets; needs no connection
    DeriveKey(DerivedKeys),
    /// Print the registrations of the devices of a group, one per line
    Registrations {
        /// The id of the group
        #[arg(add = candidates(known_ids::of_groups))]
        id: RegistrationId,
    },
}

/// A command for the Device Provisioning Service.
pub(crate) enum ProvisioningCommand {
    Enrollments(EnrollmentsCommand),
    Groups(GroupsCommand),
    Registrations(RegistrationsCommand),
}

impl ProvisioningCommand {
    /// Runs a command that needs no connection. Returns any other one.
    pub(crate) fn run_offline(
        self,
        show: OutputFormat,
    ) -> Result<Option<ProvisioningCommand>, CommandError> {
        match self {
            ProvisioningCommand::Groups(GroupsCommand::DeriveKey(keys)) => {
                keys.print(show)?;
                Ok(None)
            }
            command => Ok(Some(command)),
        }
    }

    /// Runs a command that needs a connection.
    pub(crate) async fn run(
        self,
        client: &ProvisioningClient,
        show: OutputFormat,
    ) -> Result<(), CommandError> {
        use EnrollmentKind::{Group, Individual};
        match self {
            ProvisioningCommand::Enrollments(command) => match command {
                EnrollmentsCommand::List => list(client, Individual, show).await,
                EnrollmentsCommand::Show { id } => get(client, Individual, &id, show).await,
                EnrollmentsCommand::Create { id, individual, options } => {
                    let entry = entry::individual(&id, individual, options)?;
                    create(client, Individual, &id, &entry, show).await
                }
                EnrollmentsCommand::Update { id, individual, change } => {
                    let change = change.with_individual(individual)?;
                    update(client, Individual, &id, change, show).await
                }
                EnrollmentsCommand::Delete { ids } => delete(client, Individual, &ids).await,
                EnrollmentsCommand::Key { id } => key(client, Individual, &id, show).await,
            },
            ProvisioningCommand::Groups(command) => match command {
                GroupsCommand::List => list(client, Group, show).await,
                GroupsCommand::Show { id } => get(client, Group, &id, show).await,
                GroupsCommand::Create { id, group, options } => {
                    let entry = entry::group(&id, group, options)?;
                    create(client, Group, &id, &entry, show).await
                }
                GroupsCommand::Update { id, group, change } => {
                    let change = change.with_group(group)?;
                    update(client, Group, &id, change, show).await
                }
                GroupsCommand::Delete { ids } => delete(client, Group, &ids).await,
                GroupsCommand::Key { id } => key(client, Group, &id, show).await,
                GroupsCommand::DeriveKey(keys) => keys.print(show),
                GroupsCommand::Registrations { id } => {
                    let found = client.registrations(id.as_str()).await.map_err(EnrollmentError)?;
                    found.iter().for_each(|found| registrations::print(found, show));
                    Ok(())
                }
            },
            ProvisioningCommand::Registrations(command) => command.run(client, show).await,
        }
    }
}

async fn list(
    client: &ProvisioningClient,
    kind: EnrollmentKind,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let entries = client.list(kind).await.map_err(EnrollmentError)?;
    entries.into_iter().for_each(|entry| print(entry, show));
    Ok(())
}

async fn get(
    client: &ProvisioningClient,
    kind: EnrollmentKind,
    id: &RegistrationId,
    show: OutputFormat,
) -> Result<(), CommandError> {
    print(client.get(kind, id.as_str()).await.map_err(EnrollmentError)?, show);
    Ok(())
}

async fn create(
    client: &ProvisioningClient,
    kind: EnrollmentKind,
    id: &RegistrationId,
    entry: &protocol::provisioning::enrollment::Enrollment,
    show: OutputFormat,
) -> Result<(), CommandError> {
    print(client.create(kind, id.as_str(), entry).await.map_err(EnrollmentError)?, show);
    Ok(())
}

async fn update(
    client: &ProvisioningClient,
    kind: EnrollmentKind,
    id: &RegistrationId,
    change: entry::CheckedChange,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut entry = client.get(kind, id.as_str()).await.map_err(EnrollmentError)?;
    // The service does not promise to keep keys that a change leaves out.
    entry["attestation"] = client.attestation(kind, id.as_str()).await.map_err(EnrollmentError)?;
    change.apply(&mut entry);
    print(client.replace(kind, id.as_str(), &entry).await.map_err(EnrollmentError)?, show);
    Ok(())
}

async fn delete(
    client: &ProvisioningClient,
    kind: EnrollmentKind,
    ids: &[RegistrationId],
) -> Result<(), CommandError> {
    for id in ids {
        client.delete(kind, id.as_str()).await.map_err(EnrollmentError)?;
    }
    note(format_args!("{} deleted", ids.len()));
    Ok(())
}

async fn key(
    client: &ProvisioningClient,
    kind: EnrollmentKind,
    id: &RegistrationId,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let attestation = client.attestation(kind, id.as_str()).await.map_err(EnrollmentError)?;
    let key = attestation["symmetricKey"]["primaryKey"].as_str().ok_or_else(|| {
        let error = CommandError::new(Default::default(), format!("`{id}` has no key"));
        error.with_hint("its devices sign in with certificates")
    })?;
    match show.as_json {
        true => show::json(&serde_json::json!({ "primaryKey": key })),
        false => say(key),
    }
    Ok(())
}

/// Prints an enrollment without its keys.
fn print(mut entry: Value, show: OutputFormat) {
    if let Some(attestation) = entry["attestation"].as_object_mut() {
        attestation.remove("symmetricKey");
    }
    match show.as_json {
        true => show::json(&entry),
        false => say(text::enrollment(&entry)),
    }
}
