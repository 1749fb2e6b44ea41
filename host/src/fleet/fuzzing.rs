//! Entry points of the fuzz targets: the parsers of what the cloud and the disk contain.

use std::path::PathBuf;

use jiff::Timestamp;
use plugin::PluginSettings;
use serde_json::Value;
use tokio::time::Instant;

use super::planner::{EventTime, FleetEvent, Planner};
use super::record::FleetRecord;
use super::wish::Wish;
use crate::config::Config;
use crate::config::desired::{DesiredPlugin, NotAllowed, Proposals};

/// Returns the settings of a desired entry, as if its component had been fetched. The error is
/// the message that is reported.
pub(crate) fn read_entry(config: &Config, json: &[u8]) -> Result<PluginSettings, String> {
    let json: Value = serde_json::from_slice(json).map_err(|_| String::new())?;
    let message = |error: NotAllowed| error.message;
    let desired = DesiredPlugin::parse(&json).map_err(message)?;
    let digest = desired.digest;
    if let Some(fleet) = &config.fleet {
        fleet.check("p", &desired, config.names("p")).map_err(message)?;
    }
    let wish = Wish::Cloud(Box::new(desired));
    let (fleet, file) = (config.fleet.as_ref(), PathBuf::from("component.wasm"));
    let section = wish.section("p", fleet, &Proposals::default(), file, &digest);
    Ok(section.map_err(message)?.settings.to_sandbox())
}

/// Reads a record, counts a start of the host, and lets the cloud want nothing. Returns the
/// record afterwards, or `None` for a malformed one.
pub(crate) fn read_record(json: &[u8]) -> Option<Vec<u8>> {
    let mut record: FleetRecord = serde_json::from_slice(json).ok()?;
    record.host_started(&Timestamp::UNIX_EPOCH.to_string());
    let (mut planner, _) = Planner::new(record, String::new());
    let now = EventTime { instant: Instant::now(), text: String::new() };
    planner.handle(FleetEvent::Wishes { version: 1, wishes: Default::default() }, &now);
    Some(serde_json::to_vec(planner.record()).expect("a record is valid in JSON"))
}
