//! Status of the plugins in the device's reported properties, for queries over the fleet.
//!
//! One key, `plugins` by default, contains an object for each plugin. Only differences to
//! the properties in the hub are reported: after each connection and each change, at most
//! once a second.

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

/// Shortest time between two reports.
const PAUSE: Duration = Duration::from_secs(1);

/// Delay before the retry of a report that could not be persisted.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// Maximum length of a reported error, in characters.
const MAX_ERROR_CHARS: usize = 256;

/// Name under which the host itself reports, in place of a plugin's name.
const HOST: &str = "host";

/// Reports the status until the future is dropped.
pub(crate) async fn run(key: String, router: Arc<Router>, twin: Arc<Twin>, changes: Changes) {
    let mut changed = changes.subscribe();
    let mut sightings = twin.changes();
    // Section in the hub after all pending reports have arrived. `None` until the reports
    // of an earlier run have arrived, because their content is not known.
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

/// Returns the object under the key, or an empty one if there is none.
fn section(reported: &str, key: &str) -> Option<Map<String, Value>> {
    let mut reported: Map<String, Value> = serde_json::from_str(reported).ok()?;
    match reported.remove(key) {
        Some(Value::Object(section)) => Some(section),
        _ => Some(Map::new()),
    }
}

/// Returns the status of all plugins.
fn wanted(router: &Router) -> Map<String, Value> {
    let table = router.table();
    table.slots().iter().map(|(name, slot)| (name.clone(), of(slot).into())).collect()
}

/// Returns the status of one plugin.
fn of(slot: &PluginSlot) -> Map<String, Value> {
    let view = slot.view();
    let mut status = Map::from_iter([("state".to_owned(), json!(view.state))]);
    if let Some(version) = &view.active {
        let granted = version.loaded.plugin.capabilities().iter();
        let granted: Vec<_> = granted.map(|it| it.name()).collect();
        status.extend([
            ("version".to_owned(), json!(version.number)),
            ("digest".to_owned(), json!(version.loaded.digest)),
            ("since".to_owned(), json!(format!("{:.3}", version.since))),
            ("capabilities".to_owned(), json!(granted)),
        ]);
    }
    if let Some(error) = view.last_error {
        let error: String = error.chars().take(MAX_ERROR_CHARS).collect();
        status.insert("lastError".to_owned(), error.into());
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_the_object_under_the_key_or_empty() {
        let reported = r#"{"plugins":{"a":{"version":1}},"other":{"plugins":2}}"#;
        assert_eq!(
            Value::from(section(reported, "plugins").unwrap()),
            json!({"a": {"version": 1}})
        );
        assert_eq!(section(reported, "other2"), Some(Map::new()));
        assert_eq!(section(r#"{"plugins":3}"#, "plugins"), Some(Map::new()));
    }
}
