//! Tests of the official service SDK with device identities and queries.

use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use rig::{DEVICE, Rig};
use serde_json::json;

use super::sdk::sdk;
use super::service::{done, refused};

#[tokio::test]
async fn a_device_is_created_read_updated_and_deleted() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;
    let device = json!({ "device": "thermostat#2" });

    let created = done(&mut service, "create_device", device.clone()).await;
    assert_eq!((&created["device_id"], &created["status"]), (&device["device"], &json!("enabled")));
    let keys = &created["authentication"]["symmetric_key"];
    assert_eq!(keys["primary_key"].as_str().unwrap().len(), 44);
    assert_ne!(keys["primary_key"], keys["secondary_key"]);

    let again = refused(&mut service, "create_device", device.clone()).await;
    assert_eq!((&again["status"], &again["code"]), (&json!(409), &json!("DeviceAlreadyExists")));

    let read = done(&mut service, "get_device", device.clone()).await;
    assert_eq!(read["authentication"], created["authentication"]);
    assert_eq!(read["etag"], created["etag"]);

    let disable = json!({
        "device": device["device"], "etag": read["etag"], "status": "disabled",
        "primary_key": keys["primary_key"], "secondary_key": keys["secondary_key"],
    });
    let updated = done(&mut service, "update_device", disable.clone()).await;
    assert_eq!(updated["status"], "disabled");
    let stale = refused(&mut service, "update_device", disable).await;
    assert_eq!(stale["status"], 412);

    done(&mut service, "delete_device", device.clone()).await;
    let gone = refused(&mut service, "get_device", device).await;
    assert_eq!((&gone["status"], &gone["code"]), (&json!(404), &json!("DeviceNotFound")));
    let remaining = done(&mut service, "get_devices", json!({})).await;
    assert_eq!(remaining.as_array().unwrap().len(), 1);
    assert_eq!(remaining[0]["device_id"], DEVICE);
}

#[tokio::test]
async fn a_device_created_by_the_service_sdk_connects_with_the_device_sdk() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;
    let created = done(&mut service, "create_device", json!({ "device": "fresh" })).await;
    let key = created["authentication"]["symmetric_key"]["secondary_key"].as_str().unwrap();
    let identity = DeviceConnectionString {
        device: "fresh".parse().unwrap(),
        credential: DeviceCredential::Key(key.parse().unwrap()),
        ..rig.device.clone()
    };

    let mut device = sdk.device_as(&rig, &identity, None);
    device.wait_for("ready").await;

    let answer = done(
        &mut service,
        "invoke",
        json!({ "device": "fresh", "method": "echo", "payload": [1] }),
    )
    .await;
    assert_eq!(answer["payload"], json!({ "name": "echo", "payload": [1] }));
}

#[tokio::test]
async fn a_disabled_device_is_disconnected_and_cannot_reconnect() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;
    let mut device = sdk.device(&rig).await;
    device.wait_for("connection-changed").await;
    let read = done(&mut service, "get_device", json!({ "device": DEVICE })).await;
    let keys = &read["authentication"]["symmetric_key"];

    let disable = json!({
        "device": DEVICE, "etag": null, "status": "disabled",
        "primary_key": keys["primary_key"], "secondary_key": keys["secondary_key"],
    });
    done(&mut service, "update_device", disable).await;

    device.wait_for("connection-changed").await;
    assert!(!rig.hub().is_connected(&rig.service.device));
    let mut second = sdk.device_as(&rig, &rig.device, None);
    assert_eq!(second.wait_for("refused").await["error"], "CredentialError");
}

#[tokio::test]
async fn a_query_is_answered_page_by_page() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;
    for (number, colour) in ["red", "blue", "red", "red", "blue", "red"].iter().enumerate() {
        let device = format!("lamp-{number}");
        done(&mut service, "create_device", json!({ "device": device })).await;
        done(
            &mut service,
            "update_twin",
            json!({ "device": device, "tags": { "colour": colour } }),
        )
        .await;
    }

    let text = "SELECT * FROM devices WHERE tags.colour = 'red'";
    let pages = done(&mut service, "query", json!({ "text": text, "page_size": 3 })).await;

    let pages = pages.as_array().unwrap();
    let ids: Vec<Vec<_>> = pages
        .iter()
        .map(|page| {
            page.as_array()
                .unwrap()
                .iter()
                .map(|twin| twin["device_id"].as_str().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    let mut ids = ids.concat();
    ids.sort_unstable();
    assert_eq!(ids, ["lamp-0", "lamp-2", "lamp-3", "lamp-5"]);

    let refusal =
        refused(&mut service, "query", json!({ "text": "SELECT FROM", "page_size": 3 })).await;
    assert_eq!(refusal["status"], 400);
}
