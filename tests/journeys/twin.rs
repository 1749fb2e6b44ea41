//! What plugins see of the twin, and what the hub sees of theirs.

use rig::{Rig, Running};
use serde_json::{Value, json};

async fn desire(rig: &Running, desired: Value) -> u64 {
    let patch = json!({"properties": {"desired": desired}});
    let twin = rig.service.client.patch_twin(&rig.service.device, patch, None).await.unwrap();
    twin.properties.desired["$version"].as_u64().unwrap()
}

/// Asks the plugin until it sees what is wanted: changes arrive when they do.
async fn until_seen(rig: &Running, wanted: &Value) {
    loop {
        let answer = rig.service.call("desired", json!(null)).await.unwrap();
        if answer.payload == *wanted {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_plugin_sees_the_desired_properties_and_each_change_of_them() {
    let rig = Rig::new().plugin("asks.wat", ()).start().await;

    desire(&rig, json!({"speed": {"fan": 2}})).await;
    until_seen(&rig, &json!({"speed": {"fan": 2}})).await;
    desire(&rig, json!({"speed": {"fan": null, "belt": 1}})).await;
    until_seen(&rig, &json!({"speed": {"belt": 1}})).await;
}

#[tokio::test]
async fn a_change_that_was_made_while_the_host_was_away_is_seen_after_it_is_back() {
    let mut rig = Rig::new().plugin("asks.wat", ()).start().await;
    rig.stop_host().await.unwrap();
    desire(&rig, json!({"made": "meanwhile"})).await;
    rig.start_host().await;

    until_seen(&rig, &json!({"made": "meanwhile"})).await;
}

#[tokio::test]
async fn messages_of_a_plugin_reach_the_hub_in_the_name_of_the_device() {
    let rig = Rig::new().plugin("asks.wat", ()).start().await;
    let mut telemetry = rig.hub().telemetry();

    rig.service.call("send", json!(null)).await.unwrap();

    let message = telemetry.recv().await.unwrap();
    assert_eq!(message.device.as_ref(), rig::DEVICE);
    assert_eq!(message.properties.get("$.ct"), Some("text/plain"));
}
