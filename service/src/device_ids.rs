//! Ids of devices for the completion of command lines.

use std::env;
use std::path::PathBuf;

use behaviour_service::{Client, ClientSettings};
use program::text;

use crate::{IDENTITY, identity};

/// Maximum number of ids. A shell cannot show more in a useful way.
const MAX_IDS: u32 = 200;

/// Returns the ids of the devices in the hub that the environment names. Returns none if the
/// hub cannot be asked.
pub(crate) fn find() -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.ok().and_then(|runtime| runtime.block_on(ask())).unwrap_or_default()
}

async fn ask() -> Option<Vec<String>> {
    let path = |name| text::variable(name).ok().flatten().map(PathBuf::from);
    let identity_file = path("IOTHUB_CONNECTION_STRING_FILE");
    let identity = identity(identity_file.as_deref(), IDENTITY).ok()?;
    let settings = ClientSettings {
        ca_file: env::var_os("IOTHUB_CA_FILE").map(PathBuf::from),
        retries: 0,
        ..ClientSettings::default()
    };
    let client = Client::new(identity, settings).ok()?;
    let mut query = client.query("SELECT deviceId FROM devices", Some(MAX_IDS));
    let page = query.next_page().await.ok()??;
    let ids = page.iter().filter_map(|item| item.get("deviceId")?.as_str());
    Some(ids.map(str::to_owned).collect())
}
