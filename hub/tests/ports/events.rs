//! The stream of the hub's events, read by a service.

use behaviour_hub::Hub;
use protocol::sas;
use protocol::topic::MAX_PACKET_BYTES;
use rumqttc::QoS;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::client::{
    Device, TIMEOUT, hub, id, next, now, published, request, subscribe, tls_connect,
};

const TELEMETRY: &str = "devices/d1/messages/events/level=high";

/// An open stream of events.
struct EventStream(BufReader<TlsStream<TcpStream>>);

impl EventStream {
    /// Opens `/$events` with this query.
    async fn open(hub: &Hub, query: &str) -> EventStream {
        let owner = hub.service_connection_string();
        let token = sas::sign(owner.host.name(), Some(&owner.policy), &owner.key, now() + 60);
        let mut stream = tls_connect(hub.ca_pem(), hub.https_port()).await.unwrap();
        let request = format!(
            "GET /$events?{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut stream = EventStream(BufReader::new(stream));
        assert_eq!(stream.line().await, "HTTP/1.1 200 OK");
        while !stream.line().await.is_empty() {}
        stream
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(TIMEOUT, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for the next event, and returns its kind and its data.
    async fn next(&mut self) -> (String, Value) {
        let mut kind = String::new();
        loop {
            let line = self.line().await;
            if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (kind, serde_json::from_str(data).unwrap());
            }
        }
    }
}

/// Lifts the limit of the client to that of IoT Hub.
fn with_large_packets(mut device: Device) -> Device {
    device.options.set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    device
}

#[tokio::test]
async fn a_service_sees_lifecycle_twins_telemetry_and_methods_in_their_order() {
    let hub = hub().await;
    let mut stream = EventStream::open(&hub, "api-version=2021-04-12").await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, _) = device.connect().await.unwrap();
    subscribe(&client, &mut events, "$iothub/methods/POST/#").await;
    for operation in ["createDeviceIdentity", "deviceConnected"] {
        let (kind, data) = stream.next().await;
        assert_eq!((kind.as_str(), &data["opType"]), ("lifecycle", &json!(operation)));
        assert_eq!(data["deviceId"], "d1");
    }

    let change = json!({"tags": {"plant": 1}, "properties": {"desired": {"a": 1}}});
    let (_, twin) = request(&hub, "PATCH", "/twins/d1", &change).await;
    let (kind, data) = stream.next().await;
    assert_eq!((kind.as_str(), &data["opType"]), ("twin", &json!("updateTwin")));
    let expected = json!({
        "tags": {"plant": 1}, "properties": {"desired": {"a": 1, "$version": 2}},
        "version": twin["version"], "etag": twin["etag"],
    });
    assert_eq!(data["body"], expected);

    let report = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    client.publish(report, QoS::AtLeastOnce, false, r#"{"b":2}"#).await.unwrap();
    client.publish(TELEMETRY, QoS::AtLeastOnce, false, "\u{fc}").await.unwrap();
    let call = json!({"methodName": "m", "payload": {"n": 1}, "responseTimeoutInSeconds": 30});
    let answered = async {
        let (topic, _) = next(&mut events, published).await;
        let (_, rid) = topic.split_once("$rid=").unwrap();
        let answer = format!("$iothub/methods/res/200/?$rid={rid}");
        client.publish(answer, QoS::AtMostOnce, false, "[1.10]").await.unwrap();
        next(&mut events, |_| None::<()>).await;
    };
    let seen = async {
        let (_, data) = stream.next().await;
        let reported = json!({"b": 2, "$version": 2});
        assert_eq!(data["body"]["properties"], json!({ "reported": reported }));
        let (kind, data) = stream.next().await;
        assert_eq!((kind.as_str(), &data["body"]), ("telemetry", &json!("\u{fc}")));
        assert_eq!(data["properties"]["level"], "high");
        assert_eq!(request(&hub, "POST", "/twins/d1/methods", &call).await.0, 200);
        let (kind, data) = stream.next().await;
        assert_eq!((kind.as_str(), &data["methodName"]), ("method", &json!("m")));
        assert_eq!((&data["status"], &data["payload"]), (&json!(200), &json!("[1.10]")));
        assert_eq!(data["requestPayload"], "{\"n\":1}");
    };
    tokio::select! {
        () = answered => unreachable!(),
        () = seen => {}
    }
    assert_eq!(request(&hub, "DELETE", "/devices/d1", &json!({})).await.0, 204);
    assert_eq!(stream.next().await.1["opType"], "deleteDeviceIdentity");
}

#[tokio::test]
async fn the_traffic_of_one_device_has_topics_sizes_and_bodies_but_no_password() {
    let hub = hub().await;
    let device = with_large_packets(Device::of(&hub, &hub.create_device(&id()).unwrap()));
    let other = Device::of(&hub, &hub.create_device(&"d2".parse().unwrap()).unwrap());
    let mut stream = EventStream::open(&hub, "device=d1&kinds=traffic").await;
    let _other = other.connect().await.unwrap();
    let (client, mut events, _) = device.connect().await.unwrap();
    subscribe(&client, &mut events, "$iothub/twin/res/#").await;
    let long = "x".repeat(20_000);
    client.publish(TELEMETRY, QoS::AtLeastOnce, false, long.as_str()).await.unwrap();
    client.publish("$iothub/twin/GET/?$rid=7", QoS::AtMostOnce, false, "").await.unwrap();
    next(&mut events, published).await;

    let mut packets = Vec::new();
    for _ in 0..8 {
        let (kind, data) = stream.next().await;
        assert_eq!((kind.as_str(), &data["deviceId"]), ("traffic", &json!("d1")));
        packets.push(data);
    }
    let names: Vec<_> = packets.iter().map(|p| p["packet"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "PUBLISH", "PUBACK", "PUBLISH", "PUBLISH"]
    );
    assert_eq!(packets[0]["clientId"], "d1");
    assert!(!packets[0].to_string().contains("SharedAccessSignature"), "{}", packets[0]);
    assert_eq!(packets[2]["filters"], json!(["$iothub/twin/res/#"]));
    assert_eq!((&packets[4]["bytes"], &packets[4]["truncated"]), (&json!(20_000), &json!(true)));
    assert_eq!(packets[4]["body"].as_str().unwrap().len(), 16 * 1024);
    assert_eq!(packets[7]["direction"], "toDevice");
    assert_eq!(packets[7]["topic"], "$iothub/twin/res/200/?$rid=7");
    assert!(packets[7]["body"].as_str().unwrap().contains("desired"));
}

#[tokio::test]
async fn a_reader_that_never_reads_delays_nobody_and_later_learns_of_its_loss() {
    let hub = hub().await;
    let device = with_large_packets(Device::of(&hub, &hub.create_device(&id()).unwrap()));
    let mut sleeping = EventStream::open(&hub, "kinds=telemetry").await;
    let mut reading = EventStream::open(&hub, "kinds=telemetry").await;
    let (client, mut events, _) = device.connect().await.unwrap();
    let body = "x".repeat(200_000);
    let sent = 120;
    for _ in 0..sent {
        client.publish(TELEMETRY, QoS::AtMostOnce, false, body.as_str()).await.unwrap();
        let sending = async {
            loop {
                events.poll().await.unwrap();
            }
        };
        let (kind, _) = tokio::select! {
            event = reading.next() => event,
            () = sending => unreachable!(),
        };
        assert_eq!(kind, "telemetry");
    }
    let (mut received, mut dropped) = (0, 0);
    while received + dropped < sent {
        match sleeping.next().await {
            (kind, data) if kind == "dropped" => dropped += data["dropped"].as_u64().unwrap(),
            _ => received += 1,
        }
    }
    assert!(dropped > 0 && received > 0, "{received} received, {dropped} dropped");
    assert_eq!(received + dropped, sent);
}

#[tokio::test]
async fn an_unknown_kind_and_traffic_of_all_devices_are_refused() {
    let hub = hub().await;
    for (query, reason) in [
        ("kinds=twin,nonsense", "`nonsense` is not a kind of events; there are telemetry, twin"),
        ("kinds=traffic", "`traffic` needs a device: `device=ID`"),
    ] {
        let (status, body) =
            request(&hub, "GET", &format!("/$events?{query}&x="), &json!({})).await;
        assert_eq!(status, 400);
        assert!(body.to_string().contains(reason), "{body}");
    }
}
