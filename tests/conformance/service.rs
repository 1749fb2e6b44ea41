//! Tests of the official service SDK against the hub, the host and the reboot guest.

use protocol::connection_string::ServiceConnectionString;
use protocol::sas::Key;
use rig::{DEVICE, Rig, config};
use serde_json::{Value, json};

use super::script::Script;
use super::sdk::sdk;

#[tokio::test]
async fn an_invoked_reboot_is_answered_and_its_time_is_reported() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().reboot(config("delay_seconds", 0)).start().await;
    let mut service = sdk.service(&rig).await;
    let payload = json!("{\"method_number\":\"42\"}");

    let answer = done(
        &mut service,
        "invoke",
        json!({ "device": DEVICE, "method": "rebootDevice", "payload": payload }),
    )
    .await;

    assert_eq!(answer["status"], 200);
    assert_eq!(answer["payload"], json!({ "Response": "This is the response from the device" }));
    let twin = done(&mut service, "get_twin", json!({ "device": DEVICE })).await;
    assert_eq!(twin["connection_state"], "Connected");
    let time = twin["properties"]["reported"]["rebootTime"].as_str().unwrap();
    assert!(time.starts_with("20"), "{time}");
}

#[tokio::test]
async fn a_method_without_a_payload_reaches_the_guest() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().reboot(config("delay_seconds", 0)).start().await;
    let mut service = sdk.service(&rig).await;

    // Without a payload, this SDK sends an empty string.
    let answer =
        done(&mut service, "invoke", json!({ "device": DEVICE, "method": "rebootDevice" })).await;

    assert_eq!(answer["status"], 200);
}

#[tokio::test]
async fn the_device_answers_404_to_a_method_that_no_plugin_serves() {
    let Some(sdk) = sdk() else { return };
    let rig =
        Rig::new().reboot([config("delay_seconds", 0), rig::set("methods", vec!["rebootDevice"])]);
    let rig = rig.start().await;
    let mut service = sdk.service(&rig).await;

    let answer =
        done(&mut service, "invoke", json!({ "device": DEVICE, "method": "selfDestruct" })).await;

    assert_eq!(answer["status"], 404);
    assert_eq!(answer["payload"]["error"], "unknown-method");
}

#[tokio::test]
async fn an_unknown_and_an_offline_device_cause_404_with_different_codes() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;

    let unknown =
        refused(&mut service, "invoke", json!({ "device": "unknown", "method": "rebootDevice" }))
            .await;
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(404), &json!("DeviceNotFound")));

    let offline =
        refused(&mut service, "invoke", json!({ "device": DEVICE, "method": "rebootDevice" }))
            .await;
    assert_eq!((&offline["status"], &offline["code"]), (&json!(404), &json!("DeviceNotOnline")));
    let outer: Value = serde_json::from_str(offline["body"].as_str().unwrap()).unwrap();
    let inner: Value = serde_json::from_str(outer["Message"].as_str().unwrap()).unwrap();
    assert_eq!(inner["errorCode"], 404_103);
    assert_eq!(inner["message"], "Timed out waiting for device to connect.");
    assert_eq!(inner["info"]["timeout"], "00:00:00");
}

#[tokio::test]
async fn a_reboot_that_exceeds_the_response_timeout_causes_504() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().reboot(config("delay_seconds", 20)).start().await;
    let mut service = sdk.service(&rig).await;

    let command =
        json!({ "device": DEVICE, "method": "rebootDevice", "response_timeout_in_seconds": 5 });
    let late = refused(&mut service, "invoke", command).await;

    assert_eq!((&late["status"], &late["code"]), (&json!(504), &json!("GatewayTimeout")));
    assert!(late["body"].as_str().unwrap().contains("504101"), "{late}");
}

#[tokio::test]
async fn a_timeout_outside_the_range_of_iot_hub_is_refused() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;

    let command =
        json!({ "device": DEVICE, "method": "rebootDevice", "response_timeout_in_seconds": 4 });
    let refusal = refused(&mut service, "invoke", command).await;

    assert_eq!((&refusal["status"], &refusal["code"]), (&json!(400), &json!("ArgumentInvalid")));
    let text = refusal["body"].as_str().unwrap();
    assert!(text.contains("responseTimeoutInSeconds must be within [5; 300]"), "{text}");
}

#[tokio::test]
async fn a_twin_can_be_patched_and_replaced_and_a_stale_etag_is_refused() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;

    let patch = json!({ "device": DEVICE, "tags": { "floor": 1, "room": 2 }, "desired": { "a": { "b": 1 } } });
    let first = done(&mut service, "update_twin", patch).await;
    assert_eq!(first["tags"], json!({ "floor": 1, "room": 2 }));
    assert_eq!(first["properties"]["desired"]["a"], json!({ "b": 1 }));
    assert_eq!(first["properties"]["desired"]["$version"], 2);

    let patch = json!({ "device": DEVICE, "tags": { "room": null }, "etag": first["etag"] });
    let second = done(&mut service, "update_twin", patch.clone()).await;
    assert_eq!(second["tags"], json!({ "floor": 1 }));

    let stale = refused(&mut service, "update_twin", patch).await;
    assert_eq!((&stale["status"], &stale["code"]), (&json!(412), &json!("PreconditionFailed")));

    let whole = json!({ "device": DEVICE, "tags": { "new": true }, "desired": { "c": 3 } });
    let third = done(&mut service, "replace_twin", whole).await;
    assert_eq!(third["tags"], json!({ "new": true }));
    assert_eq!(third["properties"]["desired"]["c"], 3);
    assert_eq!(third["properties"]["desired"].get("a"), None);

    let unknown = refused(&mut service, "get_twin", json!({ "device": "unknown" })).await;
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(404), &json!("DeviceNotFound")));
}

#[tokio::test]
async fn a_service_with_a_real_hub_name_connects_through_the_connect_port() {
    let Some(sdk) = sdk() else { return };
    let name = "my-hub.azure-devices.net";
    let rig = Rig::new().hub_named(name).start().await;
    let ours = rig.hub().service_connection_string();
    let identity = ServiceConnectionString { host: name.parse().unwrap(), ..ours };
    let proxy = format!("http://127.0.0.1:{}", rig.hub().connect_port().unwrap());

    let mut service = sdk.service_as(&rig, &identity, Some(("HTTPS_PROXY", &proxy))).await;

    assert_eq!(
        done(&mut service, "get_twin", json!({ "device": DEVICE })).await["device_id"],
        DEVICE
    );
}

#[tokio::test]
async fn a_service_with_a_wrong_key_is_unauthorised() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let ours = rig.hub().service_connection_string();
    let identity = ServiceConnectionString { key: Key::from_bytes(&[7; 32]).unwrap(), ..ours };
    let mut service = sdk.service_as(&rig, &identity, None).await;

    let refusal = refused(&mut service, "get_twin", json!({ "device": DEVICE })).await;

    assert_eq!(refusal["status"], 401);
}

/// Makes a call that must succeed, and returns its result.
pub(super) async fn done(service: &mut Script, call: &str, arguments: Value) -> Value {
    service.send(call, arguments).await;
    service.wait_for("done").await["result"].take()
}

/// Makes a call that must be refused, and returns the error.
pub(super) async fn refused(service: &mut Script, call: &str, arguments: Value) -> Value {
    service.send(call, arguments).await;
    service.wait_for("refused").await
}
