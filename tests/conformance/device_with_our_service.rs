//! Tests of this project's service against the official device SDK.

use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::method::MethodRequest;
use rig::Rig;
use serde_json::{Value, json};

use super::sdk::sdk;

#[tokio::test]
async fn every_kind_of_payload_arrives_unchanged() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;

    for payload in [
        json!(null),
        json!(""),
        json!("{\"method_number\":\"42\"}"),
        json!({ "delay": 5, "nested": { "list": [null, {}] } }),
        json!([1, "two"]),
        json!(-0.25),
        json!(false),
        json!("x".repeat(100_000)),
    ] {
        let answer = rig.service.call("echo", payload.clone()).await.unwrap();

        assert_eq!(answer.status, 200);
        assert_eq!(answer.payload["payload"], payload);
        assert_eq!(device.wait_for("method").await["payload"], payload);
    }
}

#[tokio::test]
async fn a_method_name_with_special_characters_arrives_unchanged() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let _device = sdk.device(&rig).await;

    for name in ["thermostat*getMaxMinReport", "a-b_c.d", "50%25"] {
        let answer = rig.service.call(name, json!(null)).await.unwrap();

        assert_eq!(answer.payload["name"], name);
    }
}

#[tokio::test]
async fn an_error_status_of_the_device_is_an_ordinary_answer() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let _device = sdk.device(&rig).await;

    let answer = rig.service.call("refuse", json!("now")).await.unwrap();
    assert_eq!((answer.status, answer.payload), (409, json!({ "refused": "now" })));

    let answer = rig.service.call("silent", json!("now")).await.unwrap();
    assert_eq!((answer.status, answer.payload), (204, Value::Null));
}

#[tokio::test]
async fn a_device_that_does_not_answer_causes_a_timeout() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let _device = sdk.device(&rig).await;
    let mut request = MethodRequest::new("hold".parse().unwrap(), Value::Null);
    request.response_timeout = Duration::from_secs(5);

    let error = rig.service.client.invoke(&rig.service.device, &request).await.unwrap_err();

    assert_eq!(error.code(), Some(ErrorCode::GatewayTimeout), "{error}");
}

#[tokio::test]
async fn a_call_waits_for_a_device_that_is_about_to_connect() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut request = MethodRequest::new("echo".parse().unwrap(), json!("early"));
    request.connect_timeout = Duration::from_secs(60);

    let (answer, _device) =
        tokio::join!(rig.service.client.invoke(&rig.service.device, &request), sdk.device(&rig));

    assert_eq!(answer.unwrap().payload.to_value()["payload"], "early");
}

#[tokio::test]
async fn reported_and_desired_properties_are_in_one_twin() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut device = sdk.device(&rig).await;
    let patch =
        json!({ "tags": { "room": 7 }, "properties": { "desired": { "speed": { "fan": 2 } } } });

    rig.service.client.patch_twin(&rig.service.device, patch, None).await.unwrap();
    let event =
        device.wait_for_matching("desired", |event| event["patch"].get("speed").is_some()).await;
    device.send("report", json!({ "patch": { "speed": event["patch"]["speed"] } })).await;
    device.wait_for("reported").await;

    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    let twin = serde_json::to_value(twin).unwrap();
    assert_eq!(twin["connectionState"], "Connected");
    assert_eq!(twin["tags"], json!({ "room": 7 }));
    assert_eq!(twin["properties"]["desired"]["speed"], json!({ "fan": 2 }));
    assert_eq!(twin["properties"]["reported"]["speed"], json!({ "fan": 2 }));
}
