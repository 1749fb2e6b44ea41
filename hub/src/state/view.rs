//! Identities and twins in the JSON format of the REST API.
//!
//! The members are those of the examples in the documentation of IoT Hub, "Device twins" and
//! "Identity registry".

use serde_json::{Value, json};

use super::etag;
use super::identity::{AuthenticationKind, Identity};
use super::owner::Owner;
use super::presence::Presence;
use super::twin::Twin;

/// Timestamp of an event that has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Returns the JSON document of a twin. `messages` is the number of queued messages.
pub(super) fn twin(
    owner: &Owner,
    identity: &Identity,
    twin: &Twin,
    presence: &Presence,
    messages: usize,
) -> Value {
    let mut view = json!({
        "deviceId": owner.device,
        "etag": etag::of_twin(twin.etag),
        "deviceEtag": identity.etag_text(),
        "status": identity.status,
        "statusUpdateTime": time(identity.status_updated.as_deref()),
        "connectionState": presence.connection_state(),
        "lastActivityTime": time(presence.last_activity.as_deref()),
        "cloudToDeviceMessageCount": messages,
        "authenticationType": identity.authentication.kind,
        "x509Thumbprint": identity.authentication.thumbprints,
        "version": twin.version,
        "properties": { "desired": twin.desired.to_json(), "reported": twin.reported.to_json() },
    });
    set(&mut view, "moduleId", owner.module.as_ref().map(|module| json!(module)));
    set(&mut view, "modelId", twin.model_id.as_ref().map(|model| json!(model)));
    set(&mut view, "statusReason", identity.status_reason.as_ref().map(|reason| json!(reason)));
    set(&mut view, "tags", (!twin.tags.is_empty()).then(|| json!(twin.tags)));
    let statuses = &twin.managed.statuses;
    if !statuses.is_empty() {
        let statuses = statuses.iter().map(|(id, status)| (id.clone(), json!({"status": status})));
        set(&mut view, "configurations", Some(Value::Object(statuses.collect())));
    }
    if owner.module.is_none() {
        set(&mut view, "capabilities", Some(capabilities(identity)));
        set_scopes(&mut view, owner, identity);
    }
    view
}

/// Returns the JSON document of an identity, including its keys. `messages` is the number of
/// queued messages.
pub(super) fn identity(
    owner: &Owner,
    identity: &Identity,
    presence: &Presence,
    messages: usize,
) -> Value {
    let authentication = &identity.authentication;
    let signs_in_with_keys = authentication.kind == AuthenticationKind::Sas;
    let key = |key| signs_in_with_keys.then_some(key);
    let mut view = json!({
        "deviceId": owner.device,
        "generationId": identity.generation,
        "etag": identity.etag_text(),
        "connectionState": presence.connection_state(),
        "connectionStateUpdatedTime": time(presence.changed.as_deref()),
        "lastActivityTime": time(presence.last_activity.as_deref()),
        "cloudToDeviceMessageCount": messages,
        "authentication": {
            "symmetricKey": {
                "primaryKey": key(&authentication.primary),
                "secondaryKey": key(&authentication.secondary),
            },
            "x509Thumbprint": authentication.thumbprints,
            "type": authentication.kind,
        },
    });
    match &owner.module {
        Some(module) => {
            set(&mut view, "moduleId", Some(json!(module)));
            set(&mut view, "managedBy", Some(json!(identity.managed_by)));
        }
        None => {
            set(&mut view, "status", Some(json!(identity.status)));
            set(&mut view, "statusReason", Some(json!(identity.status_reason)));
            let updated = time(identity.status_updated.as_deref());
            set(&mut view, "statusUpdatedTime", Some(json!(updated)));
            set(&mut view, "capabilities", Some(capabilities(identity)));
            set_scopes(&mut view, owner, identity);
        }
    }
    view
}

fn time(text: Option<&str>) -> &str {
    text.unwrap_or(NEVER)
}

fn capabilities(identity: &Identity) -> Value {
    json!({ "iotEdge": identity.iot_edge })
}

/// Sets the scopes of a device that is an edge device or has a parent.
fn set_scopes(view: &mut Value, owner: &Owner, identity: &Identity) {
    let own = identity.device_scope(&owner.device);
    set(view, "deviceScope", own.map(|scope| json!(scope)));
    let parent = identity.parent_scope.as_ref();
    set(view, "parentScopes", parent.map(|scope| json!([scope])));
}

fn set(view: &mut Value, name: &str, value: Option<Value>) {
    if let (Value::Object(members), Some(value)) = (view, value) {
        members.insert(name.to_owned(), value);
    }
}
