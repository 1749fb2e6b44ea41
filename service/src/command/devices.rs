//! The command `behaviour-service devices`.

use anyhow::Context as _;
use behaviour_service::{Client, DeviceId};
use clap::Subcommand;
use program::{candidates, note, say};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::registry::DeviceIdentity;
use serde_json::json;

use super::show::{self, OutputFormat};
use crate::command_error::{CommandError, usage};
use crate::known_ids;
use many::ManyDevices;
use x509::X509;

mod many;
mod removal;
mod self_signed;
mod x509;

const CREATE_EXAMPLES: &str = "\
Examples:
  behaviour-service devices create my-device
  behaviour-service devices create my-device --x509 certificates
  behaviour-service devices create --prefix sim- --count 1000 > identities";

const CONNECTION_STRING_EXAMPLES: &str = "\
Examples:
  behaviour-service devices connection-string my-device > device.txt";

#[derive(Subcommand)]
pub(crate) enum DevicesCommand {
    /// Print the devices, one per line, without their keys
    List,
    /// Print a device, without its keys
    Get {
        /// The device's id
        #[arg(add = candidates(known_ids::of_devices))]
        device: DeviceId,
    },
    /// Register one device or many; the hub generates their keys, unless they have certificates
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// The device's id
        #[arg(required_unless_present = "count", conflicts_with = "count")]
        device: Option<DeviceId>,
        #[command(flatten)]
        x509: X509,
        #[command(flatten)]
        many: ManyDevices,
    },
    /// Remove devices and their twins
    Delete(removal::Removal),
    /// Print the connection string of a device, which is a secret
    #[command(after_help = CONNECTION_STRING_EXAMPLES)]
    ConnectionString {
        /// The device's id
        #[arg(add = candidates(known_ids::of_devices))]
        device: DeviceId,
    },
}

pub(crate) async fn run(
    command: DevicesCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    match command {
        DevicesCommand::List => {
            let devices = client.devices().await?;
            if devices.is_empty() {
                note("0 devices");
                return Ok(());
            }
            show.device_header();
            devices.into_iter().try_for_each(|device| print(show, device))
        }
        DevicesCommand::Get { device } => print(show, client.device(&device).await?),
        DevicesCommand::Create { device: Some(device), x509, .. } => {
            print(show, x509::create(&device, x509, client).await?)
        }
        DevicesCommand::Create { device: None, many, .. } => {
            let ids =
                many.ids().map_err(usage)?.context("neither a device nor --count is given")?;
            many::create(ids, client, show).await
        }
        DevicesCommand::Delete(removal) => removal::delete(removal, client).await,
        DevicesCommand::ConnectionString { device } => {
            let identity = client.device(&device).await?;
            print_connection_string(client, identity, show)
        }
    }
}

fn print(show: OutputFormat, device: DeviceIdentity) -> Result<(), CommandError> {
    Ok(show.device(device).context("device")?)
}

/// Prints the connection string of a device. JSON has the names that `az iot hub` uses.
fn print_connection_string(
    client: &Client,
    identity: DeviceIdentity,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let device = identity.device_id.clone();
    let text = connection_string(client, identity)?.to_text_with_key();
    match show.as_json {
        true => show::json(&json!({"deviceId": device.as_str(), "connectionString": text})),
        false => say(text),
    }
    Ok(())
}

fn connection_string(
    client: &Client,
    device: DeviceIdentity,
) -> anyhow::Result<DeviceConnectionString> {
    let has_certificate = device.has_certificate();
    let id = device.device_id;
    // Only a local hub has a port in its name, and all of its ports accept devices.
    let host = client.hub().parse().context("hub")?;
    let (module, gateway) = (None, None);
    if has_certificate {
        let credential = DeviceCredential::X509;
        return Ok(DeviceConnectionString { host, device: id, module, gateway, credential });
    }
    let keys = device.authentication.and_then(|authentication| authentication.symmetric_key);
    let key = keys.and_then(|keys| keys.primary_key);
    let key = key.with_context(|| format!("device `{id}` has no key"))?;
    let credential = DeviceCredential::Key(key.parse().context("the key from the hub")?);
    Ok(DeviceConnectionString { host, device: id, module, gateway, credential })
}
