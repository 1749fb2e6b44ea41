//! Tests of the official device SDK against the hub, without faults.

use protocol::connection_string::DeviceConnectionString;
use protocol::id::DeviceId;
use rig::{DEVICE, Rig, Running, SignedBy, within};
use serde_json::json;

use super::script::Script;
use super::sdk::sdk;

#[tokio::test]
async fn an_asyncio_device_connects_and_answers_a_method() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;

    expect_an_answer(&rig, &mut device).await;
    device.stop().await;
}

#[tokio::test]
async fn a_threaded_device_behaves_like_an_asyncio_device() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.threaded_device(&rig).await;

    expect_an_answer(&rig, &mut device).await;
    expect_reported_properties(&mut device).await;
    expect_a_desired_patch(&rig, &mut device).await;
    expect_telemetry(&rig, &mut device).await;
    device.stop().await;
}

#[tokio::test]
async fn a_device_over_web_sockets_is_served_like_one_over_tcp() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device_as(&rig, &rig.device, Some(("HUB_WEBSOCKETS", "yes")));
    device.wait_for("ready").await;

    expect_an_answer(&rig, &mut device).await;
    expect_reported_properties(&mut device).await;
    expect_a_desired_patch(&rig, &mut device).await;
    device.stop().await;
}

#[tokio::test]
async fn a_device_with_a_real_hub_name_connects_through_the_connect_port() {
    let Some(sdk) = sdk() else { return };
    let name = "my-hub.azure-devices.net";
    let rig = Rig::new().hub_named(name).start().await;
    let identity = DeviceConnectionString { host: name.parse().unwrap(), ..rig.device.clone() };
    let mut device = sdk.device_as(&rig, &identity, None);
    device.wait_for("ready").await;

    expect_an_answer(&rig, &mut device).await;
}

#[tokio::test]
async fn a_device_with_a_certificate_is_served_like_one_with_a_key() {
    let Some(sdk) = sdk() else { return };
    for (by, websockets) in [(SignedBy::Itself, "no"), (SignedBy::Authority, "yes")] {
        let rig = Rig::new().certificate(by).start().await;
        let mut device = sdk.device_as(&rig, &rig.device, Some(("HUB_WEBSOCKETS", websockets)));
        device.wait_for("ready").await;

        expect_an_answer(&rig, &mut device).await;
        expect_reported_properties(&mut device).await;
        device.stop().await;
    }
}

#[tokio::test]
async fn a_device_with_an_unknown_certificate_is_refused() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Itself).start().await;
    rig.certificate_files().write(DEVICE, SignedBy::Itself, 2100);
    let mut device = sdk.device_as(&rig, &rig.device, None);
    device.wait_for("refused").await;
}

#[tokio::test]
async fn reported_properties_are_in_the_twin_that_the_device_reads() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;

    expect_reported_properties(&mut device).await;
}

#[tokio::test]
async fn a_change_of_desired_properties_reaches_the_device_with_its_version() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;

    expect_a_desired_patch(&rig, &mut device).await;
}

#[tokio::test]
async fn telemetry_arrives_with_its_body_and_properties() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;

    expect_telemetry(&rig, &mut device).await;
}

pub(super) async fn expect_an_answer(rig: &Running, device: &mut Script) {
    let payload = json!({ "text": "grüß dich", "list": [1, 2.5, null] });

    let answer = rig.service.call("echo", payload.clone()).await.unwrap();

    assert_eq!(answer.status, 200);
    assert_eq!(answer.payload, json!({ "name": "echo", "payload": payload }));
    assert_eq!(device.wait_for("method").await["name"], "echo");
}

async fn expect_reported_properties(device: &mut Script) {
    device.send("report", json!({ "patch": { "fan": { "speed": 3, "on": true } } })).await;
    device.wait_for("reported").await;
    device.send("report", json!({ "patch": { "fan": { "on": null }, "light": "red" } })).await;
    device.wait_for("reported").await;

    device.send("twin", json!({})).await;
    let twin = device.wait_for("twin").await["twin"].take();

    let reported = json!({ "fan": { "speed": 3 }, "light": "red", "$version": 3 });
    assert_eq!(twin, json!({ "desired": { "$version": 1 }, "reported": reported }));
}

async fn expect_a_desired_patch(rig: &Running, device: &mut Script) {
    let device_id: DeviceId = DEVICE.parse().unwrap();
    let patch = json!({ "properties": { "desired": { "interval": 30, "gone": null } } });

    rig.service.client.patch_twin(&device_id, patch, None).await.unwrap();

    let patch =
        device.wait_for_matching("desired", |event| event["patch"].get("interval").is_some()).await;
    assert_eq!(patch["patch"], json!({ "interval": 30, "gone": null, "$version": 2 }));
}

async fn expect_telemetry(rig: &Running, device: &mut Script) {
    let mut telemetry = rig.hub().telemetry();
    let properties = json!({ "alert": "yes & no", "ünit": "°C" });
    let command =
        json!({ "body": "{\"temperature\":21.5}", "id": "message-7", "properties": properties });

    device.send("send", command).await;
    device.wait_for("sent").await;

    let message = within("the message arrives", telemetry.recv()).await.unwrap();
    assert_eq!(message.device.as_ref(), DEVICE);
    assert_eq!(&message.body[..], b"{\"temperature\":21.5}");
    let property = |name: &str| message.properties.get(name).unwrap().to_owned();
    assert_eq!(property("alert"), "yes & no");
    assert_eq!(property("ünit"), "°C");
    assert_eq!(property("$.mid"), "message-7");
    assert_eq!(property("$.ct"), "application/json");
    assert_eq!(property("$.ce"), "utf-8");
}
