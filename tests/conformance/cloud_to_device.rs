//! Cloud-to-device messages with the official SDKs of devices.

use rig::{Rig, Running, within};
use serde_json::json;
use service::{HttpMessage, MessageProperties, Outcome};

use super::node_sdk::node_sdk;
use super::script::Script;
use super::sdk::sdk;

#[tokio::test]
async fn the_python_sdk_receives_a_message_with_its_properties() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    // The message waits for the device.
    send(&rig, "m-1").await;
    let mut device = sdk.device(&rig).await;

    device.send("receive", json!({})).await;
    expect_a_message(&mut device, "m-1").await;
    send(&rig, "m-2").await;
    expect_a_message(&mut device, "m-2").await;
    expect_success(&rig, &["m-1", "m-2"]).await;
    device.stop().await;
}

#[tokio::test]
async fn the_threaded_python_sdk_receives_a_message_with_its_properties() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.threaded_device(&rig).await;

    device.send("receive", json!({})).await;
    send(&rig, "m-1").await;
    expect_a_message(&mut device, "m-1").await;
    expect_success(&rig, &["m-1"]).await;
    device.stop().await;
}

#[tokio::test]
async fn the_node_sdk_receives_a_message_with_its_properties() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().start().await;
    send(&rig, "m-1").await;
    let mut device = sdk.device(&rig, &rig.device);
    device.wait_for("ready").await;

    device.send("receive", json!({})).await;
    expect_a_message(&mut device, "m-1").await;
    device.wait_for("completed").await;
    send(&rig, "m-2").await;
    expect_a_message(&mut device, "m-2").await;
    expect_success(&rig, &["m-1", "m-2"]).await;
    device.stop().await;
}

async fn send(rig: &Running, id: &str) {
    let properties = MessageProperties::default()
        .with(MessageProperties::MESSAGE_ID, id)
        .with(MessageProperties::CORRELATION_ID, "request 7")
        .with(MessageProperties::CONTENT_TYPE, "application/json")
        .with(MessageProperties::ACK, "full")
        .with("Level", "high & dry")
        .with("ünit", "°C");
    let message = HttpMessage { properties, body: br#"{"speed":3}"#.to_vec() };
    let device = &rig.service.device;
    let queued = rig.service.client.send_message(device, &message).await.unwrap();
    assert_eq!(queued, id);
}

async fn expect_a_message(device: &mut Script, id: &str) {
    let message = device.wait_for("message").await;
    assert_eq!(message["body"], r#"{"speed":3}"#);
    assert_eq!(message["messageId"], id);
    assert_eq!(message["correlationId"], "request 7");
    assert_eq!(message["contentType"], "application/json");
    assert_eq!(message["properties"]["Level"], "high & dry");
    assert_eq!(message["properties"]["ünit"], "°C");
}

/// Waits until the hub has the acknowledgements of these messages.
async fn expect_success(rig: &Running, ids: &[&str]) {
    let client = &rig.service.client;
    let mut found = Vec::new();
    let all = async {
        while found.len() < ids.len() {
            let Some(feedback) = client.receive_feedback().await.unwrap() else {
                tokio::task::yield_now().await;
                continue;
            };
            client.complete_feedback(&feedback.lock).await.unwrap();
            for record in feedback.records {
                assert_eq!(record.status_code, Outcome::Success);
                found.push(record.original_message_id);
            }
        }
    };
    within("the hub has feedback", all).await;
    assert_eq!(found, ids);
}
