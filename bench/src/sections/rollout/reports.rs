//! Reports of the devices about the plugin, as the hub has them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;
use service::Client;
use tokio::time::sleep;

use super::images::{Image, PLUGIN};

/// The time limit for the devices to reach a state.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The interval between two looks at all devices.
const POLL: Duration = Duration::from_millis(500);

/// The report of a device.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) device: String,
    pub(super) state: String,
    /// The digest of the image that answers while another one is wanted.
    pub(super) running: Option<String>,
    pub(super) reason: Option<String>,
    /// The time at which the hub got the last change of the image or its state. A patch lacks what
    /// has not changed, such as the state of an image that follows another one at once.
    pub(super) at: Timestamp,
}

/// Returns the reports of the devices that a condition selects.
pub(super) async fn read(client: &Client, condition: &str) -> anyhow::Result<Vec<Report>> {
    let mut query = client.query(&format!("SELECT * FROM devices WHERE {condition}"), Some(1000));
    let mut reports = Vec::new();
    while let Some(page) = query.next_page().await? {
        reports.extend(page.iter().filter_map(Report::of_twin));
    }
    Ok(reports)
}

impl Report {
    fn of_twin(twin: &Value) -> Option<Report> {
        let reported = &twin["properties"]["reported"];
        let plugin = &reported["plugins"][PLUGIN];
        let text = |name: &str| plugin[name].as_str().map(str::to_owned);
        let metadata = &reported["$metadata"]["plugins"][PLUGIN];
        let changed = |name: &str| metadata[name]["$lastUpdated"].as_str()?.parse().ok();
        Some(Report {
            device: twin["deviceId"].as_str()?.to_owned(),
            state: text("state")?,
            running: text("runningDigest"),
            reason: text("reason"),
            at: changed("digest").max(changed("state"))?,
        })
    }
}

/// Returns the condition on devices that report an image in a state.
pub(super) fn condition(image: &Image, state: &str) -> String {
    let plugin = format!("properties.reported.plugins.{PLUGIN}");
    format!("{plugin}.digest = '{}' AND {plugin}.state = '{state}'", image.digest)
}

/// Waits until this many devices fulfil a condition.
pub(super) async fn until(client: &Client, condition: &str, devices: usize) -> anyhow::Result<()> {
    let text = format!("SELECT COUNT() AS devices FROM devices WHERE {condition}");
    let started = Instant::now();
    loop {
        let page = client.query(&text, None).next_page().await?.unwrap_or_default();
        let found = page.first().and_then(|row| row["devices"].as_u64()).unwrap_or_default();
        if found == devices as u64 {
            return Ok(());
        }
        if started.elapsed() > TIMEOUT {
            bail!("{found} of {devices} devices fulfil `{condition}` after {TIMEOUT:?}");
        }
        sleep(POLL).await;
    }
}

/// Returns the seconds from one time to another.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Returns the latest time of reports.
pub(super) fn last(reports: &[Report]) -> anyhow::Result<Timestamp> {
    reports.iter().map(|report| report.at).max().context("no device has reported")
}
