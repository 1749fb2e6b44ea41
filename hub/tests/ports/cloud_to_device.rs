//! Cloud-to-device messages over REST and MQTT.

use behaviour_hub::{Effect, Fault, Hub, HubConfig, Step};
use rumqttc::{AsyncClient, EventLoop, Packet, Publish, QoS};
use serde_json::{Value, json};

use super::client::{Device, closed, hub, id, next, request, request_with, within};

const FILTER: &str = "devices/d1/messages/devicebound/#";

/// Queues a message with properties.
async fn send(hub: &Hub, body: &str, properties: Value) -> u16 {
    let message = json!([{ "body": body, "base64Encoded": false, "properties": properties }]);
    let path = "/devices/d1/messages/devicebound";
    let headers = [("Content-Type", "application/vnd.microsoft.iothub.json")];
    request_with(hub, "POST", path, &headers, &message.to_string()).await.0
}

async fn subscribe(client: &AsyncClient, events: &mut EventLoop, qos: QoS) {
    client.subscribe(FILTER, qos).await.unwrap();
    next(events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
}

async fn received(events: &mut EventLoop) -> Publish {
    next(events, |packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    })
    .await
}

async fn queued(hub: &Hub) -> Value {
    let (_, mut twin) = request(hub, "GET", "/twins/d1", &Value::Null).await;
    twin["cloudToDeviceMessageCount"].take()
}

/// Waits until the queue of the device is empty.
async fn emptied(hub: &Hub) {
    within(async {
        while queued(hub).await != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_waits_for_the_device_and_has_its_properties_in_the_topic() {
    let hub = hub().await;
    let identity = hub.create_device(&id()).unwrap();
    let properties = json!({
        "iothub-messageid": "m 1", "iothub-ack": "full", "iothub-app-Level": "high & dry",
    });
    assert_eq!(send(&hub, "hello", properties).await, 204);
    assert_eq!(queued(&hub).await, 1);

    let (client, mut events, _) = Device::of(&hub, &identity).connect().await.unwrap();
    subscribe(&client, &mut events, QoS::AtLeastOnce).await;
    let message = received(&mut events).await;
    assert_eq!(
        message.topic,
        "devices/d1/messages/devicebound/%24.mid=m%201&\
         %24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound&iothub-ack=full&Level=high%20%26%20dry"
    );
    assert_eq!((&message.payload[..], message.qos), (&b"hello"[..], QoS::AtLeastOnce));
    // The client acknowledges with its next poll.
    client.subscribe("$iothub/twin/res/#", QoS::AtMostOnce).await.unwrap();
    next(&mut events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    emptied(&hub).await;

    let (status, feedback) =
        request(&hub, "GET", "/messages/serviceBound/feedback", &Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(feedback[0]["originalMessageId"], "m 1");
    assert_eq!(feedback[0]["statusCode"], "Success");
    assert_eq!(feedback[0]["deviceId"], "d1");
}

#[tokio::test]
async fn a_message_without_acknowledgement_is_sent_again_on_the_next_connection() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let mut options = device.options.clone();
    options.set_manual_acks(true);
    let device = Device { options };
    let (client, mut events, _) = device.connect().await.unwrap();
    subscribe(&client, &mut events, QoS::AtLeastOnce).await;
    send(&hub, "once", json!({})).await;
    let first = received(&mut events).await;
    assert!(!first.dup);
    assert!(hub.drop_connection(&id()));
    closed(&mut events).await;

    // The session has kept the subscription.
    let (client, mut events, present) = device.connect().await.unwrap();
    assert!(present);
    let again = received(&mut events).await;
    assert_eq!((again.pkid, &again.topic, again.dup), (first.pkid, &first.topic, true));
    client.ack(&again).await.unwrap();
    subscribe(&client, &mut events, QoS::AtLeastOnce).await;
    emptied(&hub).await;
}

#[tokio::test]
async fn a_message_at_qos_0_is_completed_when_it_is_sent() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, _) = device.connect().await.unwrap();
    subscribe(&client, &mut events, QoS::AtMostOnce).await;
    for body in ["1", "2"] {
        send(&hub, body, json!({})).await;
        let message = received(&mut events).await;
        assert_eq!((&message.payload[..], message.qos), (body.as_bytes(), QoS::AtMostOnce));
    }
    emptied(&hub).await;
}

#[tokio::test]
async fn a_service_can_send_with_headers_and_purges_what_the_device_has_not_got() {
    let hub = hub().await;
    hub.create_device(&id()).unwrap();
    let headers = [("iothub-to", "/devices/d1/messages/deviceBound"), ("iothub-app-a", "b")];
    let path = "/messages/devicebound";
    assert_eq!(request_with(&hub, "POST", path, &headers, "text").await.0, 204);
    assert_eq!(request_with(&hub, "POST", "/messages/deviceBound", &headers, "text").await.0, 204);
    let (status, refused) = request_with(&hub, "POST", path, &[], "text").await;
    assert_eq!(status, 400);
    assert!(refused["Message"].as_str().unwrap().contains("iothub-to"), "{refused}");

    let (status, purged) = request(&hub, "DELETE", "/devices/d1/commands", &Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(purged, json!({ "totalMessagesPurged": 2, "deviceId": "d1", "moduleId": null }));
    assert_eq!(queued(&hub).await, 0);
    let (status, _) = request(&hub, "GET", "/messages/servicebound/feedback", &Value::Null).await;
    assert_eq!(status, 204);
    let (status, _) = request(&hub, "DELETE", "/devices/nobody/commands", &Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_fifty_first_message_is_refused() {
    let hub = hub().await;
    hub.create_device(&id()).unwrap();
    for _ in 0..50 {
        assert_eq!(send(&hub, "x", json!({})).await, 204);
    }
    let path = "/devices/d1/messages/devicebound";
    let (status, refused) = request_with(&hub, "POST", path, &[], "x").await;
    assert_eq!(status, 403);
    assert!(refused.to_string().contains("403004"), "{refused}");
}

#[tokio::test]
async fn queued_messages_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = HubConfig { data: Some(folder.path().to_owned()), ..HubConfig::default() };
    let hub = Hub::start(config.clone()).await.unwrap();
    let identity = hub.create_device(&id()).unwrap();
    send(&hub, "kept", json!({ "iothub-app-a": "ü" })).await;
    hub.stop().await;

    let hub = Hub::start(config).await.unwrap();
    let (client, mut events, _) = Device::of(&hub, &identity).connect().await.unwrap();
    subscribe(&client, &mut events, QoS::AtLeastOnce).await;
    let message = received(&mut events).await;
    assert_eq!(&message.payload[..], b"kept");
    assert!(message.topic.ends_with("&a=%C3%BC"), "{}", message.topic);
}

#[tokio::test]
async fn a_fault_duplicates_a_message() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, _) = device.connect().await.unwrap();
    subscribe(&client, &mut events, QoS::AtLeastOnce).await;
    hub.faults().set(Fault::new(Step::CloudToDevice, Effect::Duplicate)).unwrap();
    send(&hub, "twice", json!({})).await;
    let first = received(&mut events).await;
    assert_eq!(received(&mut events).await.pkid, first.pkid);
}
