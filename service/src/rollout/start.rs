//! The beginning and the end of a rollout.

use jiff::Timestamp;

use super::drive::devices;
use super::{Rollout, RolloutError, RolloutPlan, RolloutState};
use crate::{Client, ServiceError};

/// Begins the first wave of a rollout.
///
/// # Errors
///
/// Fails if another rollout of the plugin to the same devices has not ended.
pub async fn start(client: &Client, plan: RolloutPlan) -> Result<Rollout, RolloutError> {
    let others = Rollout::all(client.configurations().await?);
    let of_same = |other: &&Rollout| {
        (&other.plugin, &other.key, &other.target) == (&plan.plugin, &plan.key, &plan.target)
    };
    let is_unfinished = |other: &&Rollout| {
        use RolloutState::{Paused, Running, Stopped};
        matches!(other.state, Running | Paused | Stopped)
    };
    if let Some(other) = others.iter().filter(of_same).find(is_unfinished) {
        let (id, state) = (other.id().clone(), other.state);
        return Err(RolloutError::Unfinished { id, state });
    }
    let ids = devices(client, &plan.target).await?;
    if ids.is_empty() {
        return Err(RolloutError::NoDevices(plan.target));
    }
    let now = Timestamp::now();
    let mut rollout = Rollout::new(plan, &others, now)?;
    rollout.begin_wave(0, ids, now)?;
    let written = client.write_configuration(&rollout.to_configuration()).await?;
    Ok(Rollout::read(written).unwrap_or(rollout))
}

/// Deletes the rollouts of the plugin to the same devices, except the last one before this one,
/// to which the devices go back. Returns the number of deleted ones.
pub async fn forget_earlier(client: &Client, rollout: &Rollout) -> Result<usize, ServiceError> {
    let all = Rollout::all(client.configurations().await?);
    let mut earlier: Vec<&Rollout> = all
        .iter()
        .filter(|other| {
            (&other.plugin, &other.key, &other.target)
                == (&rollout.plugin, &rollout.key, &rollout.target)
        })
        .filter(|other| other.number < rollout.number)
        .collect();
    // Those that were taken back select no device.
    let previous = earlier.iter().rposition(|other| !other.condition().is_empty());
    if let Some(previous) = previous {
        earlier.remove(previous);
    }
    for other in &earlier {
        client.delete_configuration(other.id()).await?;
    }
    Ok(earlier.len())
}
