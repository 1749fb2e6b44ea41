//! Connections of devices, with rumqttc as the client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use behaviour_hub::{Hub, HubConfig};
use protocol::connection_string::DeviceCredential;
use protocol::sas;
use protocol::topic::WEBSOCKET_PATH;
use rumqttc::{ConnectReturnCode, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::client::{
    Device, TIMEOUT, closed, exchange, hub, id, next, now, published, request, subscribe,
    tls_connect,
};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A CONNECT of a version of MQTT that does not exist.
const MQTT_6: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 6, 2, 0, 60, 0, 0, 0];

#[tokio::test]
async fn only_a_registered_device_with_a_valid_token_connects() {
    let hub = hub().await;
    let known = hub.create_device(&id()).unwrap();
    let good = Device::of(&hub, &known);
    assert!(good.connect().await.is_ok());

    let with = |change: &dyn Fn(&mut MqttOptions)| {
        let mut options = good.options.clone();
        change(&mut options);
        Device { options }
    };
    let DeviceCredential::Key(key) = &known.credential else { panic!("no key") };
    let (user, _) = good.options.credentials().map(|l| (l.username, l.password)).unwrap();
    let expired = sas::sign(&known.resource(), None, key, now() - 1).to_string();
    let other_device = sas::sign("localhost/devices/d2", None, key, now() + 60).to_string();
    let other_key = sas::Key::from_bytes(b"another key").unwrap();
    let forged = sas::sign(&known.resource(), None, &other_key, now() + 60).to_string();
    for password in [expired, other_device, forged, "nonsense".to_owned()] {
        let device = with(&|options| {
            options.set_credentials(user.as_str(), password.as_str());
        });
        assert_eq!(device.connect().await.err(), Some(ConnectReturnCode::NotAuthorized));
    }
    let mut stranger = known.clone();
    stranger.device = "stranger".parse().unwrap();
    let refused = Device::of(&hub, &stranger).connect().await.err();
    assert_eq!(refused, Some(ConnectReturnCode::NotAuthorized));
}

#[tokio::test]
async fn subscriptions_outlive_the_connection_until_a_clean_session() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, present) = device.connect().await.unwrap();
    assert!(!present);
    subscribe(&client, &mut events, "$iothub/twin/res/#").await;
    assert!(hub.drop_connection(&id()));
    closed(&mut events).await;

    let (client, mut events, present) = device.connect().await.unwrap();
    assert!(present);
    client.publish("$iothub/twin/GET/?$rid=7", QoS::AtLeastOnce, false, " ").await.unwrap();
    let (topic, body) = next(&mut events, published).await;
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=7");
    assert!(body.contains(r#""$version":1"#), "{body}");

    let mut clean = device.options.clone();
    clean.set_clean_session(true);
    let (.., present) = Device { options: clean }.connect().await.unwrap();
    assert!(!present);
    let (.., present) = device.connect().await.unwrap();
    assert!(!present);
}

#[tokio::test]
async fn persisted_devices_twins_and_subscriptions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = HubConfig { data: Some(folder.path().to_owned()), ..HubConfig::default() };
    let hub = Hub::start(config.clone()).await.unwrap();
    let identity = hub.create_device(&id()).unwrap();
    let (client, mut events, _) = Device::of(&hub, &identity).connect().await.unwrap();
    subscribe(&client, &mut events, "$iothub/methods/POST/#").await;
    subscribe(&client, &mut events, "$iothub/twin/res/#").await;
    let report = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    client.publish(report, QoS::AtLeastOnce, false, r#"{"a":1}"#).await.unwrap();
    let (topic, _) = next(&mut events, published).await;
    assert_eq!(topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    hub.stop().await;

    let hub = Hub::start(config).await.unwrap();
    let mut again = hub.create_device(&id()).unwrap();
    again.host = identity.host.clone();
    assert_eq!(again, identity, "the key must be the same");
    let (client, mut events, present) = Device::of(&hub, &identity).connect().await.unwrap();
    assert!(present);
    timeout(TIMEOUT, hub.connected(&id())).await.unwrap();
    client.publish("$iothub/twin/GET/?$rid=2", QoS::AtMostOnce, false, "").await.unwrap();
    let (_, body) = next(&mut events, published).await;
    assert!(body.contains(r#""a":1"#), "{body}");
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older_one() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (_older, mut events, _) = device.connect().await.unwrap();
    let (_newer, ..) = device.connect().await.unwrap();
    closed(&mut events).await;
    assert!(hub.is_connected(&id()));
}

#[tokio::test]
async fn an_invalid_publish_ends_the_connection() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let invalid = [
        ("devices/d1/messages/events/", QoS::ExactlyOnce),
        ("devices/d2/messages/events/", QoS::AtLeastOnce),
        ("some/topic", QoS::AtMostOnce),
        ("$iothub/twin/GET/", QoS::AtMostOnce),
    ];
    for (topic, qos) in invalid {
        let (client, mut events, _) = device.connect().await.unwrap();
        client.publish(topic, qos, false, "x").await.unwrap();
        closed(&mut events).await;
    }
}

#[tokio::test]
async fn an_unsupported_filter_ends_the_connection() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let supported = ["$iothub/methods/POST/#", "devices/d1/messages/devicebound/#"];
    for filter in ["devices/d2/messages/devicebound/#", "foo/#", "#"] {
        let (client, mut events, _) = device.connect().await.unwrap();
        for filter in supported {
            client.subscribe(filter, QoS::ExactlyOnce).await.unwrap();
            let code = next(&mut events, |packet| match packet {
                Packet::SubAck(mut ack) => Some(ack.return_codes.remove(0)),
                _ => None,
            });
            let granted = rumqttc::SubscribeReasonCode::Success(QoS::AtLeastOnce);
            assert_eq!(code.await, granted, "{filter}");
        }
        client.subscribe(filter, QoS::AtMostOnce).await.unwrap();
        closed(&mut events).await;
    }
}

#[tokio::test]
async fn another_version_of_mqtt_is_refused_with_code_1() {
    let hub = hub().await;
    let mqtt_3_1 = [0x10, 14, 0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, 2, 0, 60, 0, 0];
    for connect in [MQTT_6, &mqtt_3_1] {
        assert_eq!(exchange(&hub, IPV4, connect).await, [0x20, 2, 0, 1]);
    }
}

#[tokio::test]
async fn a_will_with_a_forbidden_topic_is_refused_at_connect() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    for topic in ["devices/d2/messages/events/", "tele/x/LWT", "$iothub/twin/GET/?$rid=1"] {
        let mut options = device.options.clone();
        options.set_last_will(rumqttc::LastWill::new(topic, "lost", QoS::AtLeastOnce, false));
        let refused = Device { options }.connect().await.err();
        assert_eq!(refused, Some(ConnectReturnCode::NotAuthorized), "{topic}");
    }
}

#[tokio::test]
async fn a_user_name_without_a_version_is_accepted() {
    let hub = hub().await;
    let mut device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let password = device.options.credentials().unwrap().password;
    for user in ["localhost/d1", "localhost/d1/"] {
        device.options.set_credentials(user, password.as_str());
        assert!(device.connect().await.is_ok(), "{user}");
    }
}

#[tokio::test]
async fn devices_can_connect_by_ipv6() {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if std::net::TcpListener::bind((address, 0)).is_err() {
        // The machine has no IPv6.
        return;
    }
    assert_eq!(exchange(&hub().await, address, MQTT_6).await, [0x20, 2, 0, 1]);
}

#[tokio::test]
async fn the_hub_adds_properties_to_telemetry_and_publishes_the_will() {
    let hub = hub().await;
    let mut device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let topic = "devices/d1/messages/events/";
    let will = rumqttc::LastWill::new(topic, "lost", QoS::AtLeastOnce, false);
    device.options.set_last_will(will);
    let mut messages = hub.telemetry();
    let (client, mut events, _) = device.connect().await.unwrap();
    let topic = "devices/d1/messages/events/%24.ct=application%2Fjson&a=b";
    client.publish(topic, QoS::AtLeastOnce, false, "{}").await.unwrap();
    next(&mut events, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    let message = messages.recv().await.unwrap();
    assert_eq!(&message.body[..], b"{}");
    assert_eq!(message.properties.get("a"), Some("b"));
    assert_eq!(message.properties.get("iothub-connection-device-id"), Some("d1"));
    let (_, identity) = request(&hub, "GET", "/devices/d1", &Value::Null).await;
    assert_eq!(
        message.properties.get("iothub-connection-auth-generation-id"),
        identity["generationId"].as_str()
    );
    assert_eq!(message.properties.get("dt-dataschema"), None);

    hub.drop_connection(&id());
    let will = timeout(TIMEOUT, messages.recv()).await.unwrap().unwrap();
    assert_eq!(will.properties.get("iothub-MessageType"), Some("Will"));
}

#[tokio::test]
async fn a_service_can_watch_the_messages_of_a_device() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let mut stream = tls_connect(hub.ca_pem(), hub.https_port()).await.unwrap();
    let owner = hub.service_connection_string();
    let token = sas::sign("localhost", Some(&owner.policy), &owner.key, now() + 60);
    let request = format!(
        "GET /$messages?device=d1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream"), "{text}");

    let (client, mut events, _) = device.connect().await.unwrap();
    let topic = "devices/d1/messages/events/level=high";
    client.publish(topic, QoS::AtLeastOnce, false, "{\"t\": 1}").await.unwrap();
    next(&mut events, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    read_until(&mut stream, &mut text, r#""body":"{\"t\": 1}""#).await;
    assert!(text.contains("event: message\ndata: {"), "{text}");
    assert!(text.contains(r#""level":"high""#), "{text}");
}

/// Reads from a stream until `text` contains `end`.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &mut String, end: &str) {
    while !text.contains(end) {
        let mut chunk = [0; 4096];
        let read = timeout(TIMEOUT, stream.read(&mut chunk)).await.unwrap().unwrap();
        assert!(read > 0, "the stream has ended: {text}");
        *text += std::str::from_utf8(&chunk[..read]).unwrap();
    }
}

#[tokio::test]
async fn an_expired_token_ends_the_session() {
    let hub = hub().await;
    let identity = hub.create_device(&id()).unwrap();
    let mut device = Device::of(&hub, &identity);
    let DeviceCredential::Key(key) = &identity.credential else { panic!("no key") };
    let token = sas::sign(&identity.resource(), None, key, now() + 2).to_string();
    let user = device.options.credentials().unwrap().username;
    device.options.set_credentials(user, token);
    let (_client, mut events, _) = device.connect().await.unwrap();
    closed(&mut events).await;
    assert_eq!(device.connect().await.err(), Some(ConnectReturnCode::NotAuthorized));
}

#[tokio::test]
async fn a_silent_device_is_disconnected_after_one_and_a_half_keep_alives() {
    let hub = hub().await;
    let identity = hub.create_device(&id()).unwrap();
    let login = Device::of(&hub, &identity).options.credentials().unwrap();
    let mut connect = rumqttc::mqttbytes::v4::Connect::new("d1");
    connect.keep_alive = 1;
    connect.login =
        Some(rumqttc::mqttbytes::v4::Login { username: login.username, password: login.password });
    let mut packet = bytes::BytesMut::new();
    connect.write(&mut packet).unwrap();
    assert_eq!(exchange(&hub, IPV4, &packet).await, [0x20, 2, 0, 0]);
    assert!(!hub.is_connected(&id()));
}

#[tokio::test]
async fn a_websocket_counts_as_an_open_connection() {
    let hub = Hub::start(HubConfig { max_connections: 1, ..HubConfig::default() }).await.unwrap();
    let mut stream = tls_connect(hub.ca_pem(), hub.https_port()).await.unwrap();
    let request = format!(
        "GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(TIMEOUT, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));

    let second = timeout(TIMEOUT, tls_connect(hub.ca_pem(), hub.https_port())).await.unwrap();
    assert!(second.is_err(), "the limit of one connection is reached");
    hub.stop().await;
    // The task of the WebSocket ends when the hub stops.
    let rest = timeout(TIMEOUT, stream.read_to_end(&mut head)).await.unwrap();
    assert!(rest.is_ok() || rest.is_err_and(|error| error.kind() != std::io::ErrorKind::TimedOut));
}
