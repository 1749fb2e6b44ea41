//! Tests of the twin and of messages between plugins and the hub.

use rig::{Rig, Running, until, within};
use serde_json::{Value, json};

/// Waits until the plugin reads these desired properties.
pub(super) async fn until_seen(rig: &Running, expected: &Value) {
    until(format!("the plugin sees {expected}"), || async {
        let answer = rig.service.call("desired", Value::Null).await.unwrap();
        (answer.payload == *expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plugin_sees_the_desired_properties_and_each_change() {
    let rig = Rig::new().plugin("asks.wat", ()).start().await;

    rig.service.desire(json!({"speed": {"fan": 2}})).await;
    until_seen(&rig, &json!({"speed": {"fan": 2}})).await;
    rig.service.desire(json!({"speed": {"fan": null, "belt": 1}})).await;
    until_seen(&rig, &json!({"speed": {"belt": 1}})).await;
}

#[tokio::test]
async fn a_change_made_while_the_host_was_stopped_is_seen_after_its_restart() {
    let mut rig = Rig::new().plugin("asks.wat", ()).start().await;
    rig.stop_host().await.unwrap();
    rig.service.desire(json!({"made": "meanwhile"})).await;
    rig.start_host().await;

    until_seen(&rig, &json!({"made": "meanwhile"})).await;
}

#[tokio::test]
async fn messages_of_a_plugin_reach_the_hub_as_messages_of_the_device() {
    let rig = Rig::new().plugin("asks.wat", ()).start().await;
    let mut telemetry = rig.hub().telemetry();

    rig.service.call("send", json!(null)).await.unwrap();

    let message = within("the message arrives", telemetry.recv()).await.unwrap();
    assert_eq!(message.device.as_ref(), rig::DEVICE);
    assert_eq!(message.properties.get("$.ct"), Some("text/plain"));
}
