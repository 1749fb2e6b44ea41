//! Publication of changes of the registry.
//!
//! The names of operations are those of IoT Hub, "Non-telemetry events", except
//! `updateDeviceIdentity` and `updateModuleIdentity`, which IoT Hub does not have. Events are
//! published under the lock of the registry, so their order is that of the changes.

use serde_json::{Value, json};

use super::owner::Owner;
use super::record::Entity;
use super::{State, etag};
use crate::events::{EventData, EventKind, data};

/// Change in the life of a device or module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifecycle {
    Created,
    Changed,
    Deleted,
    Connected,
    Disconnected,
}

impl Lifecycle {
    fn operation(self, owner: &Owner) -> &'static str {
        match (self, owner.module.is_none()) {
            (Lifecycle::Created, true) => "createDeviceIdentity",
            (Lifecycle::Created, false) => "createModuleIdentity",
            (Lifecycle::Changed, true) => "updateDeviceIdentity",
            (Lifecycle::Changed, false) => "updateModuleIdentity",
            (Lifecycle::Deleted, true) => "deleteDeviceIdentity",
            (Lifecycle::Deleted, false) => "deleteModuleIdentity",
            (Lifecycle::Connected, true) => "deviceConnected",
            (Lifecycle::Connected, false) => "moduleConnected",
            (Lifecycle::Disconnected, true) => "deviceDisconnected",
            (Lifecycle::Disconnected, false) => "moduleDisconnected",
        }
    }
}

impl State {
    /// Publishes that a device or module was created, changed, deleted, connected or
    /// disconnected.
    pub(super) fn publish_lifecycle(&self, owner: &Owner, change: Lifecycle) {
        self.events().publish(EventKind::Lifecycle, &owner.device, || {
            members(owner, change.operation(owner))
        });
    }

    /// Publishes a change of a twin. `body` returns the changed sections.
    pub(super) fn publish_twin(
        &self,
        entity: &Entity,
        operation: &str,
        body: impl FnOnce() -> Value,
    ) {
        let Entity { owner, twin, .. } = entity;
        self.events().publish(EventKind::Twin, &owner.device, || {
            let mut members = members(owner, operation);
            let mut body = body();
            body["version"] = json!(twin.version);
            body["etag"] = json!(etag::of_twin(twin.etag));
            members.insert("body".to_owned(), body);
            members
        });
    }
}

fn members(owner: &Owner, operation: &str) -> EventData {
    let mut members = data(json!({ "opType": operation }));
    owner.add_module(&mut members);
    members
}
