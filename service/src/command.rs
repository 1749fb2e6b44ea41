//! The arguments and commands of the program.

use std::path::PathBuf;
use std::time::Duration;

use behaviour_service::reboot::{self, RebootStep};
use behaviour_service::{Client, DeviceId, HostName, MethodRequest, ServiceError, Target};
use clap::{Args, Parser, Subcommand};
use program::{Completions, Progress, candidates, duration::parse_or_seconds, note, say};
use protocol::id::MethodName;
use serde_json::json;

use crate::command_error::CommandError;
use crate::known_ids;
use crate::sign_in::Auth;
pub(crate) use show::OutputFormat;

mod configurations;
mod device;
mod devices;
mod input;
mod jobs;
mod messages;
pub(crate) mod provisioning;
mod query;
mod rollout;
mod sas;
mod show;
mod twin;

const EXAMPLES: &str = "\
Examples:
  behaviour-service devices create my-device
  behaviour-service invoke my-device greet '\"world\"'
  behaviour-service twin get my-device --json | jq .properties.reported
  behaviour-service twin watch my-device --diff";

const INVOKE_EXAMPLES: &str = "\
Examples:
  behaviour-service invoke my-device greet '\"world\"'
  behaviour-service invoke my-device rebootDevice '{\"delaySeconds\": 5}' --timeout 1m
  behaviour-service invoke my-device configure @settings.json
  behaviour-service invoke my-device greet - --connect-timeout 20s < payload.json";

const DEVICES_EXAMPLES: &str = "\
Examples:
  behaviour-service devices list
  behaviour-service devices get my-device --json | jq .status
  behaviour-service devices create my-device";

const QUERY_EXAMPLES: &str = "\
Examples:
  behaviour-service query 'SELECT deviceId FROM devices WHERE tags.floor = 1'
  behaviour-service query 'SELECT * FROM devices' --json | jq .deviceId";

const REBOOT_EXAMPLES: &str = "\
Examples:
  behaviour-service reboot my-device
  behaviour-service reboot my-device --timeout 2m";

/// Invokes direct methods, reads and changes twins, and registers the devices of an
/// Azure IoT Hub.
///
/// The connection string of a shared access policy is a secret: it is read from
/// the environment variable IOTHUB_CONNECTION_STRING, or from the file that
/// --connection-string-file names, and is never an argument. With --auth, the
/// program signs in by Microsoft Entra ID instead, at the hub that --host names.
/// Exit codes: 0 done, 1 other, 2 usage, 3 device offline, 4 not found, 5 timed
/// out, 6 unauthorised, 7 the device answered or reported a failure, 8 hub unreachable.
#[derive(Parser)]
#[command(name = "behaviour-service", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

// Without a doc comment, which would become the description of the program.
// The options of all commands.
#[derive(Args)]
pub(crate) struct Options {
    /// Certificates to trust in addition to the system's
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Maximum number of retries of a request that is safe to repeat
    #[arg(long, default_value_t = 3, value_name = "N", global = true)]
    pub(crate) retries: u32,
    /// The file with the hub's connection string, instead of the environment
    #[arg(long, env = "IOTHUB_CONNECTION_STRING_FILE", value_name = "FILE", global = true)]
    pub(crate) connection_string_file: Option<PathBuf>,
    /// Way to sign in at the hub and the Device Provisioning Service
    #[arg(long, env = "IOTHUB_AUTH", value_name = "METHOD", default_value = "key", global = true)]
    pub(crate) auth: Auth,
    /// The hub's host name, for all methods of --auth but key
    #[arg(long, env = "IOTHUB_HOST", value_name = "NAME", global = true)]
    pub(crate) host: Option<HostName>,
    /// Print results and errors as JSON, one value per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Hub(HubCommand),
    /// Manage the devices that the Device Provisioning Service admits one by one
    #[command(after_help = provisioning::ENROLLMENTS_EXAMPLES)]
    Enrollments {
        #[command(flatten)]
        identity: provisioning::ProvisioningIdentity,
        #[command(subcommand)]
        command: provisioning::EnrollmentsCommand,
    },
    /// Manage the groups of devices that the Device Provisioning Service admits
    #[command(after_help = provisioning::GROUPS_EXAMPLES)]
    Groups {
        #[command(flatten)]
        identity: provisioning::ProvisioningIdentity,
        #[command(subcommand)]
        command: provisioning::GroupsCommand,
    },
    /// Show and delete the registrations of devices at the Device Provisioning Service
    #[command(after_help = provisioning::REGISTRATIONS_EXAMPLES)]
    Registrations {
        #[command(flatten)]
        identity: provisioning::ProvisioningIdentity,
        #[command(subcommand)]
        command: provisioning::RegistrationsCommand,
    },
    Completions(Completions),
}

// Without a doc comment, which would become the description of the program.
// A command that needs a connection to the hub.
#[derive(Subcommand)]
pub(crate) enum HubCommand {
    /// Reboot a device and wait for the time of the reboot in its twin, as in the tutorial
    #[command(after_help = REBOOT_EXAMPLES)]
    Reboot {
        /// The device's id
        #[arg(add = candidates(known_ids::of_devices))]
        device: DeviceId,
        /// Maximum time for the device to answer (up to 300s), and then for its twin to change
        #[arg(long, default_value = "60s", value_parser = parse_or_seconds, value_name = "TIME")]
        timeout: Duration,
    },
    /// Invoke a direct method and print its status and payload
    #[command(after_help = INVOKE_EXAMPLES)]
    Invoke {
        /// The device's id, or DEVICE/MODULE
        #[arg(add = candidates(known_ids::of_devices))]
        device: Target,
        /// The method's name
        method: MethodName,
        /// The payload: any JSON value, @FILE, or - for standard input
        #[arg(default_value = "null", allow_negative_numbers = true)]
        payload: String,
        /// Maximum time for the device to answer, 5s to 300s
        #[arg(long, default_value = "30s", value_parser = input::response_timeout, value_name = "TIME")]
        timeout: Duration,
        /// Maximum time for the device to connect, 0s to 300s
        #[arg(long, default_value = "0s", value_parser = input::connect_timeout, value_name = "TIME")]
        connect_timeout: Duration,
    },
    /// Read, change or watch a device's twin
    #[command(subcommand)]
    Twin(twin::TwinCommand),
    /// Run a query over twins and print its items, one per line
    #[command(after_help = QUERY_EXAMPLES)]
    Query {
        /// The query, such as: SELECT deviceId FROM devices WHERE tags.floor = 1
        query: String,
        /// Maximum number of items on a page
        #[arg(long, value_name = "N")]
        page_size: Option<u32>,
    },
    /// Look into the host of a device and control its plugins, as far as the device grants it
    #[command(subcommand, after_help = device::EXAMPLES)]
    Device(device::DeviceCommand),
    /// List, register and remove devices
    #[command(subcommand, after_help = DEVICES_EXAMPLES)]
    Devices(devices::DevicesCommand),
    /// Manage automatic configurations, which set desired properties of many devices
    #[command(subcommand, after_help = configurations::EXAMPLES)]
    Configurations(configurations::ConfigurationsCommand),
    /// Call methods on and change twins of many devices
    #[command(subcommand, after_help = jobs::EXAMPLES)]
    Jobs(jobs::JobsCommand),
    /// Roll a plugin out to many devices in waves
    #[command(subcommand, after_help = rollout::EXAMPLES)]
    Rollout(rollout::RolloutCommand),
    /// Watch messages from devices, and send messages to them
    #[command(subcommand)]
    Messages(messages::MessagesCommand),
    /// Print a SAS token of the policy in the connection string. The token is a secret
    Sas(sas::SasArguments),
}

pub(crate) async fn run(
    command: HubCommand,
    client: &Client,
    as_json: bool,
) -> Result<(), CommandError> {
    let show = OutputFormat { as_json };
    match command {
        HubCommand::Reboot { device, timeout } => {
            reboot_device(client, &device, timeout, show).await
        }
        HubCommand::Invoke { device, method, payload, timeout, connect_timeout } => {
            let payload = input::json("the payload", &payload)?;
            let request = MethodRequest {
                response_timeout: timeout,
                connect_timeout,
                ..MethodRequest::new(method, payload)
            };
            invoke(client, &device, &request, show).await
        }
        HubCommand::Twin(command) => twin::run(command, client, show).await,
        HubCommand::Query { query, page_size } => query::run(&query, page_size, client).await,
        HubCommand::Device(command) => device::run(command, client, show).await,
        HubCommand::Devices(command) => devices::run(command, client, show).await,
        HubCommand::Configurations(command) => configurations::run(command, client, show).await,
        HubCommand::Rollout(command) => rollout::run(command, client, show).await,
        HubCommand::Jobs(command) => jobs::run(command, client, show).await,
        HubCommand::Messages(command) => messages::run(command, client, show).await,
        HubCommand::Sas(arguments) => sas::print(&arguments, client, show),
    }
}

async fn invoke(
    client: &Client,
    device: &Target,
    request: &MethodRequest,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let waiting = Progress::new(&format!("{device}: {} is running", request.name));
    let result = client.invoke(device, request).await?;
    drop(waiting);
    show.method_result(&result);
    if (200..300).contains(&result.status) {
        return Ok(());
    }
    let error = ServiceError::Device {
        device: device.to_string(),
        method: request.name.to_string(),
        status: result.status,
        payload: result.payload.compact(),
    };
    Err(error.into())
}

async fn reboot_device(
    client: &Client,
    device: &DeviceId,
    timeout: Duration,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut waiting = None;
    let outcome = reboot::reboot(client, device, timeout, |step| {
        // Removes the spinner before the next line is printed.
        waiting = None;
        // On a terminal, the result shows the time.
        let is_shown = match step {
            RebootStep::Waiting => false,
            RebootStep::Rebooted { .. } => !show.is_for_a_person(),
            _ => true,
        };
        if is_shown {
            note(&step);
        }
        waiting = match step {
            RebootStep::Invoking => Some(Progress::new("the device reboots")),
            RebootStep::Waiting => Some(Progress::new(&step.to_string())),
            RebootStep::Beginning { .. }
            | RebootStep::Answered(_)
            | RebootStep::Rebooted { .. } => None,
        };
    })
    .await;
    drop(waiting);
    let time = outcome?;
    match show.as_json {
        true => show::json(&json!({ reboot::PROPERTY: time })),
        false if show.is_for_a_person() => say(RebootStep::Rebooted { time: &time }),
        false => say(time),
    }
    Ok(())
}
