//! Registration of many devices at once, for `behaviour-host simulate`. New devices
//! are registered, and the connection strings of all are printed, one per line.

use behaviour_service::{Client, DeviceId, ServiceError};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use program::{Progress, say};
use protocol::error::ErrorCode;
use protocol::registry::DeviceIdentity;

use super::connection_string;
use crate::command_error::CommandError;

/// The number of concurrent requests. IoT Hub throttles requests to the registry,
/// and the client waits as long as the hub asks for.
const AT_ONCE: usize = 8;

#[derive(Args)]
pub(crate) struct ManyDevices {
    /// The number of devices to register: PREFIX0001 and so on. Prints their connection
    /// strings, which are secrets; existing devices keep their keys
    #[arg(long, value_name = "N", requires = "prefix", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// The start of their ids
    #[arg(long, requires = "count")]
    prefix: Option<String>,
}

impl ManyDevices {
    /// Returns the ids, if --count is given.
    pub(crate) fn ids(&self) -> anyhow::Result<Option<Vec<DeviceId>>> {
        let (Some(count), Some(prefix)) = (self.count, &self.prefix) else { return Ok(None) };
        let ids = (1..=count).map(|number| Ok(format!("{prefix}{number:04}").parse()?));
        ids.collect::<anyhow::Result<_>>().map(Some)
    }
}

pub(crate) async fn create(ids: Vec<DeviceId>, client: &Client) -> Result<(), CommandError> {
    let waiting = Progress::new(&format!("{} devices", ids.len()));
    let made = stream::iter(ids).map(|id| register(client, id)).buffered(AT_ONCE);
    // If one fails, a second run prints all of them, so printing late loses nothing.
    let made: Vec<DeviceIdentity> = made.try_collect().await?;
    drop(waiting);
    for identity in made {
        say(connection_string(client, identity)?.to_text_with_key());
    }
    Ok(())
}

async fn register(client: &Client, id: DeviceId) -> Result<DeviceIdentity, ServiceError> {
    match client.create_device(&id).await {
        Err(error) if error.code() == Some(ErrorCode::DeviceAlreadyExists) => {
            client.device(&id).await
        }
        made => made,
    }
}
