//! Tests of the official device SDK with lost connections and wrong keys.
//!
//! This SDK subscribes only after its first connection. If the hub did not keep the
//! subscriptions, the device would be connected but receive nothing.

use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::sas::Key;
use rig::{Rig, Running};
use serde_json::json;

use super::device::expect_an_answer;
use super::script::Script;
use super::sdk::sdk;

/// The event of a device that has connected or has lost its connection.
const CHANGED: &str = "connection-changed";

#[tokio::test]
async fn methods_arrive_after_a_dropped_connection_without_a_new_subscription() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;
    device.wait_for(CHANGED).await;

    assert!(rig.hub().drop_connection(&rig.service.device));
    device.wait_for(CHANGED).await;
    device.wait_for(CHANGED).await;

    rig.ready().await;
    expect_an_answer(&rig, &mut device).await;
    expect_desired_patches(&rig, &mut device).await;
}

#[tokio::test]
async fn methods_arrive_after_a_restart_of_the_hub_without_a_new_subscription() {
    let Some(sdk) = sdk() else { return };
    let mut rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;
    device.wait_for(CHANGED).await;

    rig.stop_hub().await;
    device.wait_for(CHANGED).await;
    rig.start_hub().await;
    device.wait_for(CHANGED).await;

    rig.ready().await;
    expect_an_answer(&rig, &mut device).await;
    expect_desired_patches(&rig, &mut device).await;
}

#[tokio::test]
async fn a_desired_patch_from_an_offline_period_arrives_after_the_reconnect() {
    let Some(sdk) = sdk() else { return };
    let mut rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;
    device.wait_for(CHANGED).await;
    // Reading the twin makes the SDK subscribe to answers, which it needs to read the twin
    // again after the reconnect.
    device.send("twin", json!({})).await;
    device.wait_for("twin").await;

    rig.stop_hub().await;
    device.wait_for(CHANGED).await;
    rig.start_hub().await;
    let patch = json!({ "properties": { "desired": { "missed": true } } });
    rig.service.client.patch_twin(&rig.service.device, patch, None).await.unwrap();

    let event =
        device.wait_for_matching("desired", |event| event["patch"].get("missed").is_some()).await;
    assert_eq!(event["patch"]["$version"], 2);
}

#[tokio::test]
async fn a_device_with_a_wrong_key_gets_a_credential_error() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let wrong = DeviceCredential::Key(Key::from_bytes(&[7; 32]).unwrap());
    let identity = DeviceConnectionString { credential: wrong, ..rig.device.clone() };

    let mut device = sdk.device_as(&rig, &identity, None);

    assert_eq!(device.wait_for("refused").await["error"], "CredentialError");
    assert!(!rig.hub().is_connected(&rig.service.device));
    device.stop().await;
}

#[tokio::test]
async fn an_unregistered_device_gets_a_credential_error() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let identity =
        DeviceConnectionString { device: "unknown".parse().unwrap(), ..rig.device.clone() };

    let mut device = sdk.device_as(&rig, &identity, None);

    assert_eq!(device.wait_for("refused").await["error"], "CredentialError");
}

async fn expect_desired_patches(rig: &Running, device: &mut Script) {
    let patch = json!({ "properties": { "desired": { "after": "the loss" } } });

    rig.service.client.patch_twin(&rig.service.device, patch, None).await.unwrap();

    // After a lost connection, the SDK may first deliver all desired properties.
    device.wait_for_matching("desired", |event| event["patch"]["after"] == "the loss").await;
}
