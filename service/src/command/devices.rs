//! `behaviour-service devices`.

use anyhow::Context as _;
use clap::Subcommand;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::registry::DeviceIdentity;
use service::{Client, DeviceId};

use super::json;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the devices, one a line, without their keys
    List,
    /// Print a device, without its keys
    Get {
        /// The device's id
        device: DeviceId,
    },
    /// Register a device, whose keys the hub makes
    Create {
        /// The device's id
        device: DeviceId,
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

pub(crate) async fn run(command: Command, client: &Client) -> anyhow::Result<()> {
    match command {
        Command::List => client.devices().await?.into_iter().try_for_each(print),
        Command::Get { device } => print(client.device(&device).await?),
        Command::Create { device } => print(client.create_device(&device).await?),
        Command::Delete { device } => Ok(client.delete_device(&device).await?),
        Command::ConnectionString { device } => {
            let identity = client.device(&device).await?;
            println!("{}", connection_string(client, identity)?.to_text_with_key());
            Ok(())
        }
    }
}

fn print(mut device: DeviceIdentity) -> anyhow::Result<()> {
    if let Some(authentication) = &mut device.authentication {
        authentication.symmetric_key = None;
    }
    json::print(&serde_json::to_value(device).context("device")?);
    Ok(())
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
