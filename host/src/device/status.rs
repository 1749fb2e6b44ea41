//! Report of the plugins in the device's reported properties, so that a query over the
//! fleet finds the version of each.
//!
//! One key, `plugins` by default, holds an object for each plugin. It is compared with
//! the properties that the hub has, and only the difference is reported: after a
//! connection, after each change, and at most once a second.

use std::sync::Arc;
use std::time::Duration;

use plugin::TwinAccess as _;
use protocol::twin::difference;
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use tracing::warn;

use crate::lent::twin::Twin;
use crate::plugins::slot::Changes;
use crate::router::{PluginSlot, Router};

/// The least time between two reports.
const PAUSE: Duration = Duration::from_secs(1);

/// Delay of a report that the host's own disk did not accept.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// The longest error that is reported, in characters.
const MOST_ERROR: usize = 256;

/// In whose name the host itself reports.
const HOST: &str = "host";

/// Reports until the future is dropped.
pub(crate) async fn run(key: String, router: Arc<Router>, twin: Arc<Twin>, changes: Changes) {
    let mut changed = changes.subscribe();
    let mut sightings = twin.changes();
    // What the hub will have once all that was reported has arrived. Reports of
    // an earlier run come first: what they change is not known.
    let mut known: Option<Map<String, Value>> = None;
    loop {
        changed.mark_unchanged();
        sightings.mark_unchanged();
        if twin.is_reported() {
            known = twin.reported().ok().and_then(|document| section(&document.body, &key));
        }
        if let Some(before) = &mut known {
            let wanted = wanted(&router);
            let patch = difference(before, &wanted);
            if !patch.is_empty() {
                let patch = Map::from_iter([(key.clone(), patch.into())]);
                match twin.report(HOST, patch).await {
                    Ok(()) => *before = wanted,
                    Err(error) => {
                        warn!("the state of the plugins is not reported: {error}");
                        sleep(AFTER_REFUSAL).await;
                        continue;
                    }
                }
                sleep(PAUSE).await;
            }
        }
        tokio::select! {
            Ok(()) = changed.changed() => {}
            Ok(()) = sightings.changed() => {}
            else => return,
        }
    }
}

/// Returns the object under the key; an empty one if there is none yet.
fn section(reported: &str, key: &str) -> Option<Map<String, Value>> {
    let mut reported: Map<String, Value> = serde_json::from_str(reported).ok()?;
    match reported.remove(key) {
        Some(Value::Object(section)) => Some(section),
        _ => Some(Map::new()),
    }
}

fn wanted(router: &Router) -> Map<String, Value> {
    let table = router.table();
    table.slots().iter().map(|(name, slot)| (name.clone(), of(slot).into())).collect()
}

/// Returns the object of one plugin.
fn of(slot: &PluginSlot) -> Map<String, Value> {
    let view = slot.view();
    let mut status = Map::from_iter([("state".to_owned(), json!(view.state))]);
    if let Some(version) = &view.active {
        let granted = version.made.plugin.capabilities().iter();
        let granted: Vec<_> = granted.map(|it| it.name()).collect();
        status.extend([
            ("version".to_owned(), json!(version.number)),
            ("digest".to_owned(), json!(version.made.digest)),
            ("since".to_owned(), json!(format!("{:.3}", version.since))),
            ("capabilities".to_owned(), json!(granted)),
        ]);
    }
    if let Some(error) = view.last_error {
        let error: String = error.chars().take(MOST_ERROR).collect();
        status.insert("lastError".to_owned(), error.into());
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_under_the_key_is_taken_for_what_the_hub_has() {
        let reported = r#"{"plugins":{"a":{"version":1}},"other":{"plugins":2}}"#;
        assert_eq!(
            Value::from(section(reported, "plugins").unwrap()),
            json!({"a": {"version": 1}})
        );
        assert_eq!(section(reported, "other2"), Some(Map::new()));
        assert_eq!(section(r#"{"plugins":3}"#, "plugins"), Some(Map::new()));
    }
}
