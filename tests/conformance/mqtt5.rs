//! Tests of independent clients of MQTT 5 as devices of the profile `mqttV5`: paho-mqtt 2 and
//! MQTT.js. Both follow the steps of the profile in scripts of their own.

use hub::Hub;
use protocol::id::DeviceId;
use rig::{DEVICE, Rig, Running, SignedBy};
use serde_json::{Value, json};

use super::node_sdk::node_sdk;
use super::script::Script;
use super::sdk::sdk;

/// Returns the environment of a script that acts as the rig's device.
pub(super) fn environment(rig: &Running) -> [(&'static str, String); 3] {
    [
        ("HUB_CA_FILE", rig.ca_file().to_str().unwrap().to_owned()),
        ("HUB_MQTT_PORT", rig.hub().mqtt_port().to_string()),
        ("HUB_DEVICE", DEVICE.to_owned()),
    ]
}

async fn rig() -> Running {
    Rig::new().certificate(SignedBy::Itself).start().await
}

async fn connect(rig: &Running, script: &mut Script) -> Value {
    let files = rig.certificate_files();
    let arguments = json!({ "certificate": files.certificate, "private_key": files.key });
    script.send("connect", arguments).await;
    assert_eq!(script.wait_for("connected").await["code"], 0);
    assert_eq!(script.wait_for("subscribed").await["codes"], json!([1]));
    let admitted = script.wait_for("admitted").await;
    assert_eq!(admitted["own"], true, "the nonce is repeated");
    admitted
}

async fn report(script: &mut Script, version: u64, body: &str) -> Value {
    script.send("report", json!({ "version": version, "body": body })).await;
    script.wait_for("reported").await
}

async fn refused(script: &mut Script, topic: &str, code: u8) {
    script.send("publish", json!({ "topic": topic, "qos": 1 })).await;
    script.wait_for_matching("acknowledged", |found| found["code"] == code).await;
}

/// Follows the steps of the profile.
async fn follow_the_profile(rig: &Running, mut script: Script) {
    let id: DeviceId = DEVICE.parse().unwrap();
    let hub: &Hub = rig.hub();
    rig.service.desire(json!({ "rate": 5 })).await;
    let admitted = connect(rig, &mut script).await;
    let push = script.wait_for("push").await;
    assert_eq!((&push["version"], &push["desired"]), (&admitted["desired"], &json!({"rate": 5})));
    rig.service.desire(json!({ "rate": 9 })).await;
    let patch = script.wait_for("patch").await;
    assert_eq!(patch["version"].as_u64(), admitted["desired"].as_u64().map(|it| it + 1));
    assert_eq!(patch["desired"], json!({ "rate": 9 }));

    // A patch with the current version, then one with an older version.
    let current = admitted["reported"].as_u64().unwrap();
    let done = report(&mut script, current, r#"{"fw":"1"}"#).await;
    assert_eq!((&done["outcome"], &done["version"]), (&json!(1), &json!(current + 1)));
    let stale = report(&mut script, current, r#"{"fw":"2"}"#).await;
    assert_eq!((&stale["outcome"], &stale["version"]), (&json!(2), &json!(current + 1)));
    script.send("get", json!({})).await;
    assert_eq!(script.wait_for("twin").await["reported"], json!({ "fw": "1" }));

    let answer = rig.service.call("blink", json!({ "times": 3 })).await.unwrap();
    let expected = json!({ "name": "blink", "payload": { "times": 3 } });
    assert_eq!((answer.status, answer.payload), (200, expected));
    let rejected = rig.service.call("reject", json!(null)).await.unwrap();
    assert_eq!((rejected.status, &rejected.payload["error"]), (429, &json!("busy")));

    refused(&mut script, "devices/other/messages/events/", 0x87).await;
    refused(&mut script, &format!("ih/{DEVICE}/dev/twin"), 0x87).await;
    let code = 0x8b;
    assert!(hub.disconnect(&id, protocol::mqtt5::ReasonCode(code)));
    assert_eq!(script.wait_for("disconnected").await["code"], code);
    script.stop().await;
}

#[tokio::test]
async fn a_device_with_paho_2_follows_the_steps_of_the_profile() {
    let Some(sdk) = sdk() else { return };
    let rig = rig().await;
    let script = sdk.device_with_mqtt5(&rig).await;
    follow_the_profile(&rig, script).await;
}

#[tokio::test]
async fn a_device_with_mqtt_js_follows_the_steps_of_the_profile() {
    let Some(sdk) = node_sdk() else { return };
    let rig = rig().await;
    let script = sdk.device_with_mqtt5(&rig).await;
    follow_the_profile(&rig, script).await;
}
