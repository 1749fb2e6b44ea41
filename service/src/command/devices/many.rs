//! Registration of many devices at once, for `behaviour-host simulate`.
//!
//! Registers the devices that do not exist yet, and prints the connection strings of all,
//! one per line.

use behaviour_service::{Client, DeviceId, ServiceError};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use program::{Progress, counted};
use protocol::error::ErrorCode;
use protocol::registry::DeviceIdentity;

use super::print_connection_string;
use crate::command::show::OutputFormat;
use crate::command_error::CommandError;

/// Number of concurrent requests. If IoT Hub throttles them, the client waits for the time in
/// `Retry-After`.
pub(super) const CONCURRENT_REQUESTS: usize = 8;

#[derive(Args)]
pub(crate) struct ManyDevices {
    /// The number of devices to register: PREFIX0001 and so on. Prints their connection
    /// strings, which are secrets; existing devices keep their keys
    #[arg(long, value_name = "N", requires = "prefix", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Prefix of the device ids
    #[arg(long, requires = "count")]
    prefix: Option<String>,
}

impl ManyDevices {
    /// Returns the ids of the devices; `None` without `--count`.
    pub(crate) fn ids(&self) -> anyhow::Result<Option<Vec<DeviceId>>> {
        let (Some(count), Some(prefix)) = (self.count, &self.prefix) else { return Ok(None) };
        let ids = (1..=count).map(|number| Ok(format!("{prefix}{number:04}").parse()?));
        ids.collect::<anyhow::Result<_>>().map(Some)
    }
}

pub(crate) async fn create(
    ids: Vec<DeviceId>,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let waiting = Progress::new(&counted(ids.len(), "device"));
    let devices = stream::iter(ids).map(|id| register(client, id)).buffered(CONCURRENT_REQUESTS);
    // Prints only after all have succeeded. If one fails, a second run prints all of them.
    let devices: Vec<DeviceIdentity> = devices.try_collect().await?;
    drop(waiting);
    devices.into_iter().try_for_each(|identity| print_connection_string(client, identity, show))
}

async fn register(client: &Client, id: DeviceId) -> Result<DeviceIdentity, ServiceError> {
    match client.create_device(&id).await {
        Err(error) if error.code() == Some(ErrorCode::DeviceAlreadyExists) => {
            client.device(&id).await
        }
        result => result,
    }
}
