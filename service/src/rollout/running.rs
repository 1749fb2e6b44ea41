//! The versions of a plugin that the devices of a target run before a rollout.

use std::collections::BTreeSet;

use serde_json::Value;

use super::drive::{clause, report, rows};
use super::{RolloutError, RolloutPlan};
use crate::Client;

/// Devices that run the same version of a plugin with the same capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningVersion {
    /// The digest that the devices report: of an image, or of a component without the prefix of
    /// an algorithm. `None` if they report no version.
    pub digest: Option<String>,
    /// The granted capabilities.
    pub capabilities: BTreeSet<String>,
    /// The number of devices.
    pub devices: u64,
}

/// Returns the versions that the devices of a target run, the most frequent first.
///
/// # Errors
///
/// Fails if no device matches the target.
pub async fn running(
    client: &Client,
    plan: &RolloutPlan,
) -> Result<Vec<RunningVersion>, RolloutError> {
    let report = report(&plan.key, &plan.plugin);
    let text = format!(
        "SELECT {report}.state, {report}.digest, {report}.runningDigest, {report}.capabilities \
         FROM devices{}",
        clause(&plan.target)
    );
    let rows = rows(client, &text).await?;
    if rows.is_empty() {
        return Err(RolloutError::NoDevices(plan.target.clone()));
    }
    let mut versions: Vec<RunningVersion> = Vec::new();
    for row in &rows {
        let (digest, capabilities) = (running_digest(row), capabilities(row));
        let same = |it: &&mut RunningVersion| {
            it.digest.as_deref() == digest && it.capabilities == capabilities
        };
        match versions.iter_mut().find(same) {
            Some(version) => version.devices += 1,
            None => versions.push(RunningVersion {
                digest: digest.map(str::to_owned),
                capabilities,
                devices: 1,
            }),
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.devices));
    Ok(versions)
}

/// Returns the digest of the version that answers, which differs from that of the wanted one
/// until this one is active.
fn running_digest(row: &Value) -> Option<&str> {
    let text = |name: &str| row.get(name)?.as_str();
    let is_wanted = matches!(
        text("state"),
        Some("downloading" | "verifying" | "compiling" | "starting" | "refused" | "rolled-back")
    );
    text("runningDigest").or_else(|| text("digest").filter(|_| !is_wanted))
}

fn capabilities(row: &Value) -> BTreeSet<String> {
    let names = row.get("capabilities").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_wanted_version_is_not_taken_for_the_one_that_runs() {
        for (row, digest) in [
            (json!({"state": "active", "digest": "sha256:b"}), Some("sha256:b")),
            (json!({"state": "disabled", "digest": "ab"}), Some("ab")),
            (
                json!({"state": "refused", "digest": "sha256:b", "runningDigest": "sha256:a"}),
                Some("sha256:a"),
            ),
            (json!({"state": "downloading", "digest": "sha256:b"}), None),
            (json!({}), None),
        ] {
            assert_eq!(running_digest(&row), digest, "{row}");
        }
    }
}
