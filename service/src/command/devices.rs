//! `behaviour-service devices`.

use anyhow::Context as _;
use behaviour_service::{Client, DeviceId};
use clap::Subcommand;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::registry::DeviceIdentity;

use super::show::Show;
use crate::command_error::CommandError;
use many::Many;

mod many;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the devices, one a line, without their keys
    List,
    /// Print a device, without its keys
    Get {
        /// The device's id
        device: DeviceId,
    },
    /// Register a device, or many, whose keys the hub makes
    Create {
        /// The device's id
        #[arg(required_unless_present = "count", conflicts_with = "count")]
        device: Option<DeviceId>,
        #[command(flatten)]
        many: Many,
    },
    /// Remove a device and its twin
    Delete {
        /// The device's id
        device: DeviceId,
    },
    /// Print the secret with which a device connects
    ConnectionString {
        /// The device's id
        device: DeviceId,
    },
}

pub(crate) async fn run(command: Command, client: &Client, show: Show) -> Result<(), CommandError> {
    match command {
        Command::List => {
            let mut devices = client.devices().await?.into_iter();
            devices.try_for_each(|device| print(show, device))
        }
        Command::Get { device } => print(show, client.device(&device).await?),
        Command::Create { device: Some(device), .. } => {
            print(show, client.create_device(&device).await?)
        }
        Command::Create { device: None, many } => {
            let ids = many.ids()?.context("neither a device nor a --count of them")?;
            many::create(ids, client).await
        }
        Command::Delete { device } => Ok(client.delete_device(&device).await?),
        Command::ConnectionString { device } => {
            let identity = client.device(&device).await?;
            println!("{}", connection_string(client, identity)?.to_text_with_key());
            Ok(())
        }
    }
}

fn print(show: Show, device: DeviceIdentity) -> Result<(), CommandError> {
    Ok(show.device(device).context("device")?)
}

fn connection_string(
    client: &Client,
    device: DeviceIdentity,
) -> anyhow::Result<DeviceConnectionString> {
    let id = device.device_id;
    let keys = device.authentication.and_then(|authentication| authentication.symmetric_key);
    let key = keys.and_then(|keys| keys.primary_key);
    let key = key.with_context(|| format!("device `{id}` has no key to sign in with"))?;
    // Devices connect elsewhere than services, so the port is not passed on.
    let hub: protocol::host_name::HostName = client.hub().parse().context("hub")?;
    Ok(DeviceConnectionString {
        host: protocol::host_name::HostName::new(hub.name(), None)?,
        device: id,
        module: None,
        gateway: None,
        credential: DeviceCredential::Key(key.parse().context("the key from the hub")?),
    })
}
