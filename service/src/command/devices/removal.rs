//! Removal of one device, of several, or of all whose ids have a prefix.

use behaviour_service::{Client, DeviceId, ServiceError};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use program::{Progress, candidates, counted, note, say};
use protocol::error::ErrorCode;

use super::many::CONCURRENT_REQUESTS;
use crate::command_error::{CommandError, usage};
use crate::known_ids;

/// The query for the ids of all devices. The registry itself lists no more than 1000.
const ALL_IDS: &str = "SELECT deviceId FROM devices";

const EXAMPLES: &str = "\
Examples:
  behaviour-service devices delete my-device
  behaviour-service devices delete --prefix sim- --yes";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Removal {
    /// The devices' ids
    #[arg(
        required_unless_present_any = ["all", "prefix"],
        value_name = "DEVICE",
        add = candidates(known_ids::of_devices)
    )]
    devices: Vec<DeviceId>,
    /// Remove all devices of the hub
    #[arg(long, conflicts_with_all = ["devices", "prefix"])]
    all: bool,
    /// Remove all devices whose ids start with PREFIX
    #[arg(long, conflicts_with = "devices", value_parser = NonEmptyStringValueParser::new())]
    prefix: Option<String>,
    /// Confirm the removal of more than one device; without this, they are only listed
    #[arg(long)]
    yes: bool,
}

pub(super) async fn delete(removal: Removal, client: &Client) -> Result<(), CommandError> {
    let Removal { devices, all, prefix, yes } = removal;
    let is_search = all || prefix.is_some();
    if let ([device], false) = (&devices[..], is_search) {
        return Ok(client.delete_device(device).await?);
    }
    let devices = match is_search {
        true => find(client, prefix.as_deref().unwrap_or_default()).await?,
        false => devices,
    };
    let count = devices.len();
    if !yes && count > 0 {
        devices.iter().for_each(say);
        return Err(usage(format!("{} would be removed", counted(count, "device")))
            .with_hint("add --yes to remove these devices and their twins"));
    }
    let waiting = Progress::new(&format!("removing {}", counted(count, "device")));
    let removed = stream::iter(devices).map(|device| remove(client, device));
    removed.buffer_unordered(CONCURRENT_REQUESTS).try_collect::<Vec<()>>().await?;
    drop(waiting);
    note(format_args!("{} removed", counted(count, "device")));
    Ok(())
}

/// Returns the ids that start with the prefix.
async fn find(client: &Client, prefix: &str) -> Result<Vec<DeviceId>, ServiceError> {
    let mut query = client.query(ALL_IDS, Some(1000));
    let mut found = Vec::new();
    while let Some(page) = query.next_page().await? {
        let ids = page.iter().filter_map(|item| item.get("deviceId")?.as_str());
        found.extend(ids.filter(|id| id.starts_with(prefix)).filter_map(|id| id.parse().ok()));
    }
    Ok(found)
}

/// Removes a device. A device that another client has removed meanwhile is not an error.
async fn remove(client: &Client, device: DeviceId) -> Result<(), ServiceError> {
    match client.delete_device(&device).await {
        Err(error) if error.code() == Some(ErrorCode::DeviceNotFound) => Ok(()),
        result => result,
    }
}
