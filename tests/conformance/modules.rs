//! Modules with the official SDKs.

use protocol::connection_string::DeviceConnectionString;
use rig::{DEVICE, Rig, Running, within};
use serde_json::{Value, json};

use super::node_sdk::node_sdk;
use super::script::Script;
use super::sdk::sdk;

const MODULE: &str = "module-1";

#[tokio::test]
async fn a_module_of_the_python_sdk_is_served_like_a_device() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut module = sdk.device_as(&rig, &identity(&rig), None);
    module.wait_for("ready").await;

    module.send("report", json!({ "patch": { "light": "red" } })).await;
    module.wait_for("reported").await;
    expect_telemetry(&rig, &mut module).await;
    expect_twin_and_method(&rig, &mut module).await;
    module.stop().await;
}

#[tokio::test]
async fn a_module_of_the_node_sdk_is_served_like_a_device() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().start().await;
    let mut module = sdk.device(&rig, &identity(&rig));
    module.wait_for("ready").await;

    module.send("report", json!({ "patch": { "light": "red" } })).await;
    module.wait_for("reported").await;
    expect_telemetry(&rig, &mut module).await;
    module.send("answerMethods", json!({ "name": "echo" })).await;
    module.wait_for("answering").await;
    expect_twin_and_method(&rig, &mut module).await;
    module.stop().await;
}

fn identity(rig: &Running) -> DeviceConnectionString {
    rig.hub().create_module(&DEVICE.parse().unwrap(), &MODULE.parse().unwrap()).unwrap()
}

async fn expect_telemetry(rig: &Running, module: &mut Script) {
    let mut telemetry = rig.hub().telemetry();
    module.send("send", json!({ "body": "21.5", "properties": { "level": "high" } })).await;
    module.wait_for("sent").await;
    let message = within("the message arrives", telemetry.recv()).await.unwrap();
    assert_eq!(message.module.as_ref().map(AsRef::as_ref), Some(MODULE));
    assert_eq!(message.properties.get("level"), Some("high"));
}

/// Changes the twin and calls a method with the official SDK for services.
async fn expect_twin_and_method(rig: &Running, module: &mut Script) {
    let sdk = sdk().expect("the tests need Python too");
    let mut service = sdk.service(rig).await;
    let arguments = json!({ "device": DEVICE, "module": MODULE, "desired": { "interval": 30 } });
    let twin = done(&mut service, "update_module_twin", arguments).await;
    assert_eq!(twin["properties"]["reported"]["light"], "red");
    let is_change = |event: &Value| event["patch"].get("interval").is_some();
    module.wait_for_matching("desired", is_change).await;

    let arguments = json!({
        "device": DEVICE, "module": MODULE, "method": "echo", "payload": [1],
        "connect_timeout_in_seconds": 20,
    });
    let answer = done(&mut service, "invoke_module", arguments).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["payload"], json!({ "name": "echo", "payload": [1] }));
    service.stop().await;
}

async fn done(service: &mut Script, call: &str, arguments: Value) -> Value {
    service.send(call, arguments).await;
    let mut found = service.wait_for_any(&["done", "refused"]).await;
    assert_eq!(found["event"], "done", "{found}");
    found["result"].take()
}
