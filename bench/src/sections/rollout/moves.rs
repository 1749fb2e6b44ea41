//! The move of a whole fleet to a new version by an automatic configuration.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use protocol::configuration::Configuration;
use serde_json::{Map, json};
use tokio::time::sleep;

use super::calls::{self, Calls};
use super::images::{Image, PLUGIN};
use super::reports::{self, Report};
use crate::peers::Stage;
use crate::process::Process;

/// The time before and after a move in which calls are made as well.
const MARGIN: Duration = Duration::from_secs(5);

/// The result of a move.
pub(super) struct Move {
    /// Seconds until the last device has reported the version as active.
    pub(super) seconds: f64,
    /// The same for half of the devices.
    pub(super) half: f64,
    pub(super) calls: usize,
    /// Calls without an answer by a version.
    pub(super) lost: usize,
    /// Calls that were sent after the device's report and answered by another version.
    pub(super) wrong: usize,
    /// The time of a call that 99 % of them did not exceed, in milliseconds.
    pub(super) p99: f64,
    /// Processor time of the hub and of the devices.
    pub(super) hub: Duration,
    pub(super) fleet: Duration,
}

/// Brings the first version to all devices.
pub(super) async fn first(stage: &Stage, devices: usize, image: &Image) -> anyhow::Result<()> {
    desire(stage, 1, image).await?;
    reports::until(&stage.hub.client, &reports::condition(image, "active"), devices).await
}

/// Moves all devices to an image, whose version has this number, while calls are made.
pub(super) async fn measure(
    stage: &Stage,
    fleet: &Process,
    devices: &[String],
    image: &Image,
    number: usize,
) -> anyhow::Result<Move> {
    let client = &stage.hub.client;
    let calls = Calls::start(&stage.invoker, devices).await?;
    sleep(MARGIN).await;
    let (hub, of_fleet) = (stage.hub.process.processor_time(), fleet.processor_time());
    let begun = Timestamp::now();
    desire(stage, number, image).await?;
    let condition = reports::condition(image, "active");
    reports::until(client, &condition, devices.len()).await?;
    let (hub, of_fleet) =
        (stage.hub.process.processor_time() - hub, fleet.processor_time() - of_fleet);
    sleep(MARGIN).await;
    let calls = calls.stop().await?;
    let reports = reports::read(client, &condition).await?;
    let wrong = wrong(&calls, devices, &reports, number);
    let mut times: Vec<Timestamp> = reports.iter().map(|report| report.at).collect();
    times.sort();
    Ok(Move {
        seconds: reports::seconds(begun, reports::last(&reports)?),
        half: reports::seconds(begun, times[times.len() / 2]),
        calls: calls.len(),
        lost: calls::lost(&calls),
        wrong,
        p99: calls::times(&calls).micros(0.99) / 1e3,
        hub,
        fleet: of_fleet,
    })
}

/// Counts the calls that another version than `number` answered although the device had reported
/// it when the call was sent.
fn wrong(calls: &[calls::Call], devices: &[String], reports: &[Report], number: usize) -> usize {
    let times: HashMap<&str, Timestamp> =
        reports.iter().map(|report| (report.device.as_str(), report.at)).collect();
    let is_wrong = |call: &&calls::Call| {
        let reported = times.get(devices[call.device].as_str());
        reported.is_some_and(|at| call.sent >= *at)
            && call.outcome.as_ref().is_ok_and(|found| *found != number)
    };
    calls.iter().filter(is_wrong).count()
}

/// Writes a configuration for all devices. A configuration with a higher number takes precedence.
async fn desire(stage: &Stage, number: usize, image: &Image) -> anyhow::Result<()> {
    let entry = json!({"image": image.reference});
    let content = Map::from_iter([(format!("properties.desired.plugins.{PLUGIN}"), entry)]);
    let id = format!("{PLUGIN}-{number}").parse()?;
    let configuration = Configuration {
        target_condition: "*".to_owned(),
        priority: i32::try_from(number)?,
        ..Configuration::new(id, content)
    };
    stage.hub.client.write_configuration(&configuration).await?;
    Ok(())
}
