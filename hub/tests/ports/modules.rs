//! Modules that connect.

use behaviour_hub::Hub;
use protocol::connection_string::DeviceConnectionString;
use rumqttc::{AsyncClient, ConnectReturnCode, EventLoop, Packet, QoS};
use serde_json::{Value, json};

use super::client::{
    Device, closed, hub, id, next, published, request, request_with, subscribe, within,
};

fn identity(hub: &Hub) -> DeviceConnectionString {
    hub.create_device(&id()).unwrap();
    hub.create_module(&id(), &"m1".parse().unwrap()).unwrap()
}

async fn connect(hub: &Hub) -> (AsyncClient, EventLoop) {
    let (client, events, _) = Device::of(hub, &identity(hub)).connect().await.unwrap();
    (client, events)
}

async fn connection_state(hub: &Hub, path: &str) -> Value {
    request(hub, "GET", path, &Value::Null).await.1["connectionState"].take()
}

#[tokio::test]
async fn a_module_connects_beside_its_device_with_a_twin_of_its_own() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (_of_device, _device_events, _) = device.connect().await.unwrap();
    let (client, mut events) = connect(&hub).await;
    assert!(hub.is_connected(&id()), "the device keeps its connection");
    subscribe(&client, &mut events, "$iothub/twin/res/#").await;
    subscribe(&client, &mut events, "$iothub/twin/PATCH/properties/desired/#").await;
    assert_eq!(connection_state(&hub, "/twins/d1/modules/m1").await, "Connected");

    let report = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    client.publish(report, QoS::AtLeastOnce, false, r#"{"a":1}"#).await.unwrap();
    let (topic, _) = next(&mut events, published).await;
    assert_eq!(topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    let (_, twin) = request(&hub, "GET", "/twins/d1/modules/m1", &Value::Null).await;
    assert_eq!(twin["properties"]["reported"]["a"], 1);
    let (_, twin) = request(&hub, "GET", "/twins/d1", &Value::Null).await;
    assert_eq!(twin["properties"]["reported"].get("a"), None);

    let patch = json!({ "properties": { "desired": { "speed": 3 } } });
    request(&hub, "PATCH", "/twins/d1/modules/m1", &patch).await;
    let (topic, body) = next(&mut events, published).await;
    assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=2");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({ "speed": 3, "$version": 2 }));
}

#[tokio::test]
async fn a_method_of_a_module_is_answered_by_the_module() {
    let hub = hub().await;
    let (client, mut events) = connect(&hub).await;
    let path = "/twins/d1/modules/m1/methods";
    let call = json!({
        "methodName": "greet", "payload": "you", "connectTimeoutInSeconds": 20,
    });
    let (status, _) =
        request(&hub, "POST", "/twins/d1/methods", &json!({"methodName": "greet"})).await;
    assert_eq!(status, 404, "the device is not connected");
    let answer = async {
        subscribe(&client, &mut events, "$iothub/methods/POST/#").await;
        let (topic, body) = next(&mut events, published).await;
        let rid = topic.strip_prefix("$iothub/methods/POST/greet/?$rid=").unwrap().to_owned();
        assert_eq!(body, r#""you""#);
        let topic = format!("$iothub/methods/res/200/?$rid={rid}");
        client.publish(topic, QoS::AtLeastOnce, false, r#"{"hello":true}"#).await.unwrap();
        next(&mut events, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    };
    let ((status, result), ()) = tokio::join!(request(&hub, "POST", path, &call), answer);
    assert_eq!(status, 200, "{result}");
    assert_eq!(result, json!({ "status": 200, "payload": { "hello": true } }));
}

#[tokio::test]
async fn telemetry_of_a_module_names_the_module() {
    let hub = hub().await;
    let (client, mut events) = connect(&hub).await;
    let mut telemetry = hub.telemetry();
    let topic = "devices/d1/modules/m1/messages/events/level=high";
    client.publish(topic, QoS::AtLeastOnce, false, "21").await.unwrap();
    next(&mut events, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    let message = within(telemetry.recv()).await.unwrap();
    assert_eq!(message.module.as_ref().map(AsRef::as_ref), Some("m1"));
    assert_eq!(message.properties.get("iothub-connection-module-id"), Some("m1"));
    assert_eq!(message.properties.get("level"), Some("high"));

    // Neither the topic of the device nor its messages belong to a module.
    let topic = "devices/d1/messages/events/";
    client.publish(topic, QoS::AtLeastOnce, false, "21").await.unwrap();
    closed(&mut events).await;
    let (client, mut events) = connect(&hub).await;
    client.subscribe("devices/d1/messages/devicebound/#", QoS::AtLeastOnce).await.unwrap();
    closed(&mut events).await;
}

#[tokio::test]
async fn a_module_is_refused_without_its_own_token_and_after_its_deletion() {
    let hub = hub().await;
    let mut of_device = hub.create_device(&id()).unwrap();
    let module = identity(&hub);
    // The key of the device does not open the module.
    of_device.module.clone_from(&module.module);
    let refused = Device::of(&hub, &of_device).connect().await.err();
    assert_eq!(refused, Some(ConnectReturnCode::NotAuthorized));

    let (_client, mut events) = connect(&hub).await;
    let disabled = json!({ "deviceId": "d1", "status": "disabled" });
    let headers = [("If-Match", "*")];
    let body = disabled.to_string();
    let (status, _) = request_with(&hub, "PUT", "/devices/d1", &headers, &body).await;
    assert_eq!(status, 200);
    closed(&mut events).await;
    let refused = Device::of(&hub, &module).connect().await.err();
    assert_eq!(refused, Some(ConnectReturnCode::NotAuthorized));
    let enabled = disabled.to_string().replace("disabled", "enabled");
    request_with(&hub, "PUT", "/devices/d1", &headers, &enabled).await;

    let (_client, mut events) = connect(&hub).await;
    let (status, _) = request(&hub, "DELETE", "/devices/d1/modules/m1", &Value::Null).await;
    assert_eq!(status, 204);
    closed(&mut events).await;
}
