//! The hub's copy of the reports, in which a change of capabilities must appear before a version
//! starts.

use std::sync::Arc;

use plugin::TwinAccess as _;
use serde_json::{Value, json};

use super::report::CapabilityChange;
use crate::lent::twin::Twin;

/// The hub's copy of the reports about plugins.
#[derive(Clone)]
pub(crate) struct Reported {
    pub(crate) twin: Arc<Twin>,
    /// Reported property of the plugins.
    pub(crate) key: Option<String>,
}

impl Reported {
    /// Waits until the hub has received a change of capabilities. Returns immediately if plugins
    /// are not reported.
    pub(super) async fn until_capability_change(&self, plugin: &str, change: &CapabilityChange) {
        let Some(key) = &self.key else { return };
        let wanted = json!(change);
        let mut changes = self.twin.changes();
        loop {
            changes.mark_unchanged();
            let reported = self.twin.reported().ok();
            let reported = reported.and_then(|it| serde_json::from_str::<Value>(&it.body).ok());
            if reported.is_some_and(|it| it[key][plugin]["capabilityChange"] == wanted) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
