//! Tests of twins: versions, etags and notifications.

use super::*;

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
