//! The waves of a rollout, one after the other.

use std::time::Duration;

use jiff::Timestamp;
use protocol::error::ErrorCode;
use protocol::id::{ConfigurationId, DeviceId};
use serde_json::Value;

use super::{Rollout, RolloutError, RolloutState, Verdict, WaveHealth};
use crate::{Client, ServiceError};

/// A step of a rollout.
#[derive(Debug)]
pub enum RolloutEvent<'a> {
    /// A wave has begun.
    Wave(&'a Rollout),
    /// The health of the devices so far.
    Health(&'a Rollout, &'a WaveHealth),
}

/// The end of [`drive`].
#[derive(Debug)]
pub enum RolloutOutcome {
    /// The rollout as it is now: done, stopped, or in a state that somebody else has set.
    Ended(Box<Rollout>),
    /// The rollout was deleted.
    Deleted,
}

/// Moves a rollout from wave to wave until it is done or stops, or until somebody pauses, aborts
/// or takes it back. Dropping the future leaves the rollout as it is.
///
/// Several callers can drive the same rollout: each step is written by one of them.
pub async fn drive(
    client: &Client,
    id: &ConfigurationId,
    poll: Duration,
    mut on_event: impl FnMut(RolloutEvent<'_>),
) -> Result<RolloutOutcome, RolloutError> {
    let mut shown = None;
    loop {
        let rollout = match client.configuration(id).await {
            Ok(configuration) => Rollout::read(configuration),
            Err(error) if error.kind() == crate::ServiceErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let Some(mut rollout) = rollout else { return Ok(RolloutOutcome::Deleted) };
        if rollout.state != RolloutState::Running {
            return Ok(RolloutOutcome::Ended(Box::new(rollout)));
        }
        if shown != Some(rollout.wave) {
            shown = Some(rollout.wave);
            on_event(RolloutEvent::Wave(&rollout));
        }
        let health = measure(client, &rollout).await?;
        on_event(RolloutEvent::Health(&rollout, &health));
        let elapsed = Timestamp::now().duration_since(rollout.wave_began);
        let elapsed = Duration::try_from(elapsed).unwrap_or_default();
        match health.verdict(rollout.healthy, elapsed, rollout.pause, rollout.timeout) {
            Verdict::Wait => {
                tokio::time::sleep(poll).await;
                continue;
            }
            Verdict::Stop(reason) => {
                rollout.state = RolloutState::Stopped;
                rollout.reason = reason;
            }
            Verdict::Next if rollout.is_last_wave() => rollout.state = RolloutState::Done,
            Verdict::Next => {
                let ids = devices(client, &rollout.target).await?;
                let wave = rollout.wave + 1;
                rollout.begin_wave(wave, ids, Timestamp::now())?;
            }
        }
        match client.write_configuration(&rollout.to_configuration()).await {
            Ok(_) => {}
            // Somebody else has written the next step.
            Err(error) if error.code() == Some(ErrorCode::PreconditionFailed) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the devices that a condition selects.
pub(super) async fn devices(client: &Client, target: &str) -> Result<Vec<DeviceId>, ServiceError> {
    let rows = rows(client, &format!("SELECT deviceId FROM devices{}", clause(target))).await?;
    let ids = rows.iter().filter_map(|row| row.get("deviceId")?.as_str()?.parse().ok());
    Ok(ids.collect())
}

/// Measures the health of the devices so far.
pub async fn measure(client: &Client, rollout: &Rollout) -> Result<WaveHealth, ServiceError> {
    let mut health = WaveHealth::default();
    if rollout.condition().is_empty() {
        return Ok(health);
    }
    let report = report(&rollout.key, &rollout.plugin);
    let text = format!(
        "SELECT COUNT() AS devices, connectionState, {report}.state, {report}.digest FROM \
         devices{} GROUP BY connectionState, {report}.state, {report}.digest",
        clause(rollout.condition())
    );
    for row in rows(client, &text).await? {
        let text = |name: &str| row.get(name).and_then(Value::as_str);
        let count = row.get("devices").and_then(Value::as_u64).unwrap_or_default();
        let state = text("state").filter(|_| text("digest") == Some(rollout.digest()));
        health.add(count, text("connectionState") == Some("Connected"), state);
    }
    Ok(health)
}

/// Returns devices that have refused the plugin or rolled it back, each with the reason.
pub async fn failures(
    client: &Client,
    rollout: &Rollout,
) -> Result<Vec<(String, String)>, ServiceError> {
    if rollout.condition().is_empty() {
        return Ok(Vec::new());
    }
    let report = report(&rollout.key, &rollout.plugin);
    let text = format!(
        "SELECT deviceId, {report}.reason, {report}.message FROM devices WHERE {report}.digest = \
         '{}' AND ({report}.state = 'refused' OR {report}.state = 'rolled-back')",
        rollout.digest()
    );
    let mut query = client.query(&text, Some(100));
    let page = query.next_page().await?.unwrap_or_default();
    let failure = |row: &Value| {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let reason = match (text("reason"), text("message")) {
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        };
        (text("deviceId").to_owned(), json::readable(&reason).into_owned())
    };
    Ok(page.iter().map(failure).collect())
}

/// Takes a rollout back from all devices. The hub changes their twins afterwards.
pub async fn take_back(client: &Client, mut rollout: Rollout) -> Result<Rollout, ServiceError> {
    if rollout.state != RolloutState::Back {
        rollout.take_back();
        client.write_configuration(&rollout.to_configuration()).await?;
    }
    Ok(rollout)
}

/// Takes a rollout back from all devices, and waits until the hub has changed their twins.
/// `on_wait` is called with the number of devices left.
pub async fn go_back(
    client: &Client,
    rollout: Rollout,
    poll: Duration,
    mut on_wait: impl FnMut(u64),
) -> Result<Rollout, ServiceError> {
    let rollout = take_back(client, rollout).await?;
    let id = rollout.id();
    let text = format!(
        "SELECT COUNT() AS devices FROM devices WHERE IS_DEFINED(configurations.[[{id}]].status)"
    );
    loop {
        let left = rows(client, &text).await?;
        let left = left.first().and_then(|row| row.get("devices")?.as_u64()).unwrap_or_default();
        if left == 0 {
            return Ok(rollout);
        }
        on_wait(left);
        tokio::time::sleep(poll).await;
    }
}

/// Returns the path of the plugin's report.
pub(super) fn report(key: &str, plugin: &str) -> String {
    format!("properties.reported.[[{key}]].[[{plugin}]]")
}

pub(super) fn clause(condition: &str) -> String {
    match condition {
        "*" => String::new(),
        condition => format!(" WHERE {condition}"),
    }
}

pub(super) async fn rows(client: &Client, text: &str) -> Result<Vec<Value>, ServiceError> {
    let mut query = client.query(text, Some(1000));
    let mut rows = Vec::new();
    while let Some(page) = query.next_page().await? {
        rows.extend(page);
    }
    Ok(rows)
}
