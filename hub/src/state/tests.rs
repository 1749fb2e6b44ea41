//! Tests of devices, twins and policies, in memory and on disk.

use std::sync::Arc;

use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::sas::{Key, sign};
use protocol::twin::DesiredPatch;
use protocol::user_name::UserName;
use serde_json::{Map, Value, json};

use super::*;

fn hosts() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

fn in_memory() -> Arc<State> {
    State::open(None, hosts()).unwrap()
}

fn by_password(password: Option<&str>) -> DeviceCredentials {
    DeviceCredentials { password: password.map(str::to_owned), ..Default::default() }
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn owner(text: &str) -> Owner {
    Owner::parse(text).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn patch(state: &State, device: &str, body: Value, etag: &str) -> Result<Value, HubError> {
    let change = TwinChange::parse(object(body))?;
    let if_match = IfMatch::parse(Some(etag));
    let (entity, _) = state.write_twin(&owner(device), TwinWrite::Merge, change, &if_match)?;
    Ok((*entity.twin_view()).clone())
}

fn replace(state: &State, body: Value) -> Result<(Arc<Entity>, Option<DesiredPatch>), HubError> {
    let change = TwinChange::parse(object(body))?;
    state.write_twin(&owner("d1"), TwinWrite::Replace, change, &IfMatch::Any)
}

fn twin(state: &State, device: &str) -> Value {
    (*state.get(&owner(device)).unwrap().twin_view()).clone()
}

fn request(body: Value) -> IdentityRequest {
    serde_json::from_value(body).unwrap()
}

#[test]
fn a_new_twin_equals_a_recorded_one() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();

    let mut twin = twin(&state, "d1");

    let time = twin["properties"]["desired"]["$metadata"]["$lastUpdated"].take();
    assert_eq!(time.as_str().map(str::len), Some("2020-07-20T20:09:17.1190276Z".len()));
    twin["properties"]["reported"]["$metadata"]["$lastUpdated"].take();
    let etag = state.get(&owner("d1")).unwrap().identity_etag();
    assert_eq!(
        twin,
        json!({
            "deviceId": "d1", "etag": "AAAAAAAAAAE=", "deviceEtag": etag, "status": "enabled",
            "statusUpdateTime": "0001-01-01T00:00:00Z", "connectionState": "Disconnected",
            "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0,
            "authenticationType": "sas",
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
            "version": 2,
            "properties": {
                "desired": {"$metadata": {"$lastUpdated": null}, "$version": 1},
                "reported": {"$metadata": {"$lastUpdated": null}, "$version": 1},
            },
            "capabilities": {"iotEdge": false},
        })
    );
}

#[test]
fn services_and_devices_increment_the_versions_of_their_sections() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();

    let written = patch(
        &state,
        "d1",
        json!({
            "etag": "ignored", "tags": {"plant": "A", "none": null},
            "properties": {"desired": {"a": 1, "$version": 77, "$metadata": {}}, "reported": {"r": 1}},
        }),
        "\"AAAAAAAAAAE=\"",
    )
    .unwrap();
    assert_eq!(written["etag"], "AAAAAAAAAAI=");
    assert_eq!(written["version"], 3);
    assert_eq!(written["tags"], json!({"plant": "A"}));
    assert_eq!(written["properties"]["desired"]["$version"], 2);
    assert_eq!(written["properties"]["reported"]["$version"], 1);

    assert_eq!(
        state.report(&Owner::device(&id("d1")), &object(json!({"r": {"x": null}}))).unwrap(),
        2
    );
    let reported = twin(&state, "d1");
    assert_eq!(reported["etag"], "AAAAAAAAAAI=");
    assert_eq!(reported["version"], 4);
    assert_eq!(reported["properties"]["reported"]["r"], json!({}));

    let device = state.device_twin(&Owner::device(&id("d1"))).unwrap();
    assert_eq!((device.desired_version, device.reported_version), (2, 2));
    assert_eq!(Value::Object(device.desired), json!({"a": 1}));
}

#[test]
fn a_stale_etag_changes_nothing() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    patch(&state, "d1", json!({"tags": {"a": 1}}), "*").unwrap();

    let error = patch(&state, "d1", json!({"tags": {"a": 2}}), "\"AAAAAAAAAAE=\"").unwrap_err();

    assert_eq!(error.code, ErrorCode::PreconditionFailed);
    assert_eq!(error.message, "ETag mismatch for device ID 'd1'");
    assert_eq!(twin(&state, "d1")["tags"]["a"], 1);
}

#[test]
fn a_write_with_an_invalid_part_changes_nothing() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    let before = twin(&state, "d1");

    for body in [
        json!({"tags": {"ok": 1}, "properties": {"desired": {"$bad": 1}}}),
        json!({"tags": {"long": "x".repeat(5000)}, "properties": {"desired": {"ok": 1}}}),
        json!({"tags": [1]}),
        json!({"properties": {"desired": 7}}),
    ] {
        let error = patch(&state, "d1", body.clone(), "*").unwrap_err();
        assert_eq!(error.code, ErrorCode::ArgumentInvalid, "{body}");
    }
    let error = state
        .report(&Owner::device(&id("d1")), &object(json!({"ok": 1, "not ok": 2})))
        .unwrap_err();

    assert_eq!(error.code, ErrorCode::ArgumentInvalid);
    assert_eq!(twin(&state, "d1"), before);
}

#[test]
fn a_replacement_removes_missing_members_and_notifies_the_device() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    let body =
        json!({"tags": {"a": 1}, "properties": {"desired": {"x": 1, "n": {"p": 1, "q": 2}}}});
    patch(&state, "d1", body, "*").unwrap();

    let (entity, notification) =
        replace(&state, json!({"properties": {"desired": {"y": 1, "n": {"p": 1}}}})).unwrap();

    let twin = entity.twin_view();
    assert_eq!(twin.get("tags"), None);
    assert_eq!(twin["properties"]["desired"].get("x"), None);
    let notification = notification.unwrap();
    let expected = json!({"x": null, "y": 1, "n": {"p": 1, "q": null}});
    assert_eq!((Value::Object(notification.patch), notification.version), (expected, 3));
}

#[test]
fn a_null_for_a_section_clears_it_and_notifies_the_device() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    let body = json!({"tags": {"a": 1}, "properties": {"desired": {"x": 1, "y": {"z": 1}}}});
    patch(&state, "d1", body, "*").unwrap();

    let change = object(json!({"tags": null, "properties": {"desired": null}}));
    let change = TwinChange::parse(change).unwrap();
    let (entity, notification) =
        state.write_twin(&owner("d1"), TwinWrite::Merge, change, &IfMatch::Any).unwrap();

    assert_eq!(entity.twin_view().get("tags"), None);
    assert!(state.device_twin(&Owner::device(&id("d1"))).unwrap().desired.is_empty());
    let DesiredPatch { patch, version } = notification.unwrap();
    assert_eq!((Value::Object(patch), version), (json!({"x": null, "y": null}), 3));
}

#[test]
fn a_null_in_a_replacement_or_an_array_is_refused_with_the_message_of_iot_hub() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    patch(&state, "d1", json!({"tags": {"kept": 1}}), "*").unwrap();
    let before = twin(&state, "d1");

    let errors = [
        (replace(&state, json!({"tags": {"my-tag": null}})).err(), "my-tag"),
        (replace(&state, json!({"properties": {"desired": {"a": {"b": null}}}})).err(), "a.b"),
        (patch(&state, "d1", json!({"tags": {"a": [1, null]}}), "*").err(), "a"),
        (patch(&state, "d1", json!({"properties": {"desired": {"a": [[null]]}}}), "*").err(), "a"),
        (
            state.report(&Owner::device(&id("d1")), &object(json!({"a": [{"b": null}]}))).err(),
            "a.b",
        ),
    ];

    for (error, path) in errors {
        let error = error.unwrap();
        assert_eq!(error.code, ErrorCode::ArgumentInvalid);
        assert_eq!(
            error.message,
            format!("Value of Property or Tag cannot be null. Error in Property/Tag {path}")
        );
    }
    assert_eq!(twin(&state, "d1"), before);
}

#[test]
fn a_device_is_notified_of_desired_properties_but_not_of_tags() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    let write = |body: Value| {
        let change = TwinChange::parse(object(body)).unwrap();
        state.write_twin(&owner("d1"), TwinWrite::Merge, change, &IfMatch::Absent).unwrap().1
    };

    let DesiredPatch { patch, version } =
        write(json!({"properties": {"desired": {"z": 5, "q": null}}})).unwrap();
    assert_eq!((Value::Object(patch), version), (json!({"z": 5, "q": null}), 2));
    assert_eq!(write(json!({"tags": {"a": 1}})), None);
    assert_eq!(write(json!({})), None);
}

#[test]
fn missing_keys_are_generated_and_survive_updates() {
    let state = in_memory();
    let empty = json!({"symmetricKey": {"primaryKey": "", "secondaryKey": ""}, "type": "sas"});
    let created = state.create(&owner("d1"), &request(json!({"authentication": empty}))).unwrap();
    let view = created.identity_view();
    let keys = &view["authentication"]["symmetricKey"];
    assert_eq!(keys["primaryKey"].as_str().map(str::len), Some(44));
    assert_ne!(keys["primaryKey"], keys["secondaryKey"]);

    let same = request(json!({"status": "disabled", "authentication": empty}));
    let changed = state.update(&owner("d1"), &same, &IfMatch::Any).unwrap();
    assert_eq!(changed.identity_view()["authentication"], view["authentication"]);
    assert!(!changed.is_enabled());
    assert_ne!(changed.identity_etag(), created.identity_etag());

    let own = json!({"authentication": {"symmetricKey": {"primaryKey": "c2VjcmV0"}}});
    let changed = state.update(&owner("d1"), &request(own), &IfMatch::Any).unwrap();
    assert_eq!(changed.primary_key().to_base64(), "c2VjcmV0");
    assert_eq!(
        changed.identity_view()["authentication"]["symmetricKey"]["secondaryKey"],
        keys["secondaryKey"]
    );

    let bad = request(json!({"authentication": {"symmetricKey": {"primaryKey": "???"}}}));
    let error = state.update(&owner("d1"), &bad, &IfMatch::Any).unwrap_err();
    assert_eq!(error.message, "primaryKey is not a base64 key");
}

#[test]
fn ids_are_unique_and_deleting_a_device_deletes_its_modules() {
    let state = in_memory();
    let generation =
        |state: &State| state.get(&owner("d1")).unwrap().identity_view()["generationId"].clone();
    state.create_device(&id("d1")).unwrap();
    let first = generation(&state);
    state.create(&owner("d1/m"), &IdentityRequest::default()).unwrap();

    let codes = [
        state.create_device(&id("d1")).unwrap_err().code,
        state.create(&owner("d1/m"), &IdentityRequest::default()).unwrap_err().code,
        state.create(&owner("d2/m"), &IdentityRequest::default()).unwrap_err().code,
        state.delete(&owner("d2"), &IfMatch::Any).unwrap_err().code,
        state.delete(&owner("d1"), &IfMatch::parse(Some("\"old\""))).unwrap_err().code,
    ];
    assert_eq!(
        codes,
        [
            ErrorCode::DeviceAlreadyExists,
            ErrorCode::ModuleAlreadyExistsOnDevice,
            ErrorCode::DeviceNotFound,
            ErrorCode::DeviceNotFound,
            ErrorCode::PreconditionFailed,
        ]
    );

    state.delete(&owner("d1"), &IfMatch::Any).unwrap();
    assert_eq!(state.get(&owner("d1/m")).err().unwrap().code, ErrorCode::ModuleNotFound);
    state.create_device(&id("d1")).unwrap();
    assert_ne!(generation(&state), first);
    assert!(state.modules(&id("d1")).unwrap().is_empty());
}

#[test]
fn modules_follow_their_device_in_the_registry() {
    let state = in_memory();
    for device in ["a", "a.b", "ab"] {
        state.create_device(&id(device)).unwrap();
        state.create(&owner(&format!("{device}/m")), &IdentityRequest::default()).unwrap();
    }

    for device in ["a", "a.b", "ab"] {
        let modules = state.modules(&id(device)).unwrap();
        assert_eq!(modules.len(), 1, "{device}");
        assert_eq!(modules[0].owner.device.as_str(), device);
    }
    let devices: Vec<String> =
        state.devices(2).iter().map(|entity| entity.owner.to_string()).collect();
    assert_eq!(devices, ["a", "a.b"]);
    assert_eq!(state.after(Some(&owner("a.b"))).len(), 3);
}

#[test]
fn a_device_authenticates_with_either_key_or_a_policy_with_permission() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    state.create_device(&id("off")).unwrap();
    state.update(&owner("off"), &request(json!({"status": "disabled"})), &IfMatch::Any).unwrap();
    let view = state.get(&owner("d1")).unwrap().identity_view();
    let key = |name: &str| -> Key {
        view["authentication"]["symmetricKey"][name].as_str().unwrap().parse().unwrap()
    };
    let (primary, secondary) = (key("primaryKey"), key("secondaryKey"));
    let device = state.policy_key("device").unwrap();
    let service = state.policy_key("service").unwrap();
    let token = |resource: &str, policy: Option<&str>, key: &Key, expiry: u64| {
        Some(sign(resource, policy, key, expiry).to_string())
    };

    for (user, password, granted) in [
        ("localhost/d1", token("localhost/devices/d1", None, &primary, 200), true),
        ("localhost/d1", token("localhost/devices/d1", None, &secondary, 200), true),
        ("LOCALHOST:28883/d1", token("localhost:28883/devices/d1", None, &primary, 200), true),
        ("127.0.0.1/d1", token("localhost/devices/d1", None, &primary, 200), true),
        ("localhost/d1", token("localhost/devices", Some("device"), device, 200), true),
        ("localhost/d1", token("localhost", Some("service"), service, 200), false),
        ("localhost/d1", token("localhost", Some("device"), &primary, 200), false),
        ("localhost/d1", token("localhost/devices/d1", None, device, 200), false),
        ("localhost/d1", token("localhost/devices/d1", None, &primary, 100), false),
        ("localhost/d1", token("localhost/devices/d", None, &primary, 200), false),
        ("localhost/d1", token("other/devices/d1", None, &primary, 200), false),
        ("other/d1", token("localhost/devices/d1", None, &primary, 200), false),
        ("localhost/d2", token("localhost/devices/d2", None, &primary, 200), false),
        ("localhost/off", token("localhost", Some("device"), device, 200), false),
        ("localhost/d1", Some("no token".into()), false),
        ("localhost/d1", None, false),
    ] {
        let user: UserName = format!("{user}/?api-version=2021-04-12").parse().unwrap();
        let outcome = state.authenticate_device(&user, &by_password(password.as_deref()), 100);
        assert_eq!(outcome.is_ok(), granted, "{user} {outcome:?}");
        if let Ok(grant) = outcome {
            assert_eq!((grant.owner.device, grant.expires_unix), (id("d1"), Some(200)));
        }
    }
}

#[test]
fn the_announced_model_appears_in_the_twin() {
    let state = in_memory();
    let key = state.create_device(&id("d1")).unwrap();
    let token = sign("localhost/devices/d1", None, &key, 200).to_string();
    let user: UserName =
        "localhost/d1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1"
            .parse()
            .unwrap();

    state.authenticate_device(&user, &by_password(Some(&token)), 100).unwrap();

    assert_eq!(twin(&state, "d1")["modelId"], "dtmi:com:example:Thermostat;1");
}

#[test]
fn the_connection_state_appears_in_twins_and_statistics() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    state.create_device(&id("d2")).unwrap();

    state.set_connected(&Owner::device(&id("d1")), true);
    assert_eq!(twin(&state, "d1")["connectionState"], "Connected");
    assert_ne!(twin(&state, "d1")["lastActivityTime"], "0001-01-01T00:00:00Z");
    assert_eq!(state.statistics(), registry::Statistics { enabled: 2, disabled: 0, connected: 1 });

    state.set_connected(&Owner::device(&id("d1")), false);
    state.set_connected(&Owner::device(&id("gone")), false);
    assert_eq!(twin(&state, "d1")["connectionState"], "Disconnected");
}

#[test]
fn a_restart_restores_everything_but_connection_states() {
    let dir = tempfile::tempdir().unwrap();
    let open = || State::open(Some(dir.path()), hosts()).unwrap();
    let state = open();
    state.create_device(&id("d1")).unwrap();
    state.create_device(&id("gone")).unwrap();
    state.create(&owner("d1/m"), &IdentityRequest::default()).unwrap();
    state.create(&owner("gone/m"), &IdentityRequest::default()).unwrap();
    patch(&state, "d1", json!({"tags": {"t": 1}, "properties": {"desired": {"a": 1}}}), "*")
        .unwrap();
    state.report(&Owner::device(&id("d1")), &object(json!({"r": true}))).unwrap();
    let filters = [("$iothub/methods/POST/#", 1), ("$iothub/twin/res/#", 0)]
        .map(|(filter, qos)| (filter.parse::<Filter>().unwrap(), qos));
    state.set_subscriptions(&Owner::device(&id("d1")), &filters);
    state.set_subscriptions(&Owner::device(&id("gone")), &filters);
    state.delete(&owner("gone"), &IfMatch::Any).unwrap();
    let owner_key = state.policy_key("iothubowner").cloned();
    let before: Vec<Value> = ["d1", "d1/m"].iter().map(|name| twin(&state, name)).collect();
    let identity = state.get(&owner("d1")).unwrap().identity_view();
    state.set_connected(&Owner::device(&id("d1")), true);
    drop(state);

    let state = open();

    let after: Vec<Value> = ["d1", "d1/m"].iter().map(|name| twin(&state, name)).collect();
    for (before, mut after) in before.into_iter().zip(after) {
        after["lastActivityTime"] = before["lastActivityTime"].clone();
        assert_eq!(after, before);
    }
    let found = state.get(&owner("d1")).unwrap().identity_view();
    assert_eq!(found["authentication"], identity["authentication"]);
    assert_eq!(found["etag"], identity["etag"]);
    assert_eq!(found["connectionState"], "Disconnected");
    assert_eq!(state.subscriptions(&Owner::device(&id("d1"))), filters);
    assert_eq!(state.policy_key("iothubowner").cloned(), owner_key);
    assert!(state.get(&owner("gone")).is_err());
    state.create_device(&id("gone")).unwrap();
    assert!(state.subscriptions(&Owner::device(&id("gone"))).is_empty());
}

#[test]
fn a_corrupt_record_is_reported_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let record =
        RecordChange { kind: RecordKind::Twin, key: "d1".into(), value: Some(b"{".to_vec()) };
    store.write(vec![record]).wait().unwrap();
    drop(store);

    let error = State::open(Some(dir.path()), hosts()).err().unwrap().to_string();

    let path = dir.path().join("hub.redb");
    assert_eq!(
        error,
        format!(
            "state file `{}` is damaged: twins `d1`: EOF while parsing an object at line 1 column 1",
            path.display()
        )
    );
}
