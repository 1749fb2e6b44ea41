//! Connections of devices, with rumqttc as the client.

use behaviour_hub::{Hub, HubConfig};
use protocol::connection_string::DeviceCredential;
use protocol::sas;
use rumqttc::{ConnectReturnCode, MqttOptions, Packet, QoS};
use tokio::time::timeout;

use super::client::{Device, PATIENCE, gone, hub, id, next, now, published, secured, subscribe};

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
    let elsewhere = sas::sign("localhost/devices/d2", None, key, now() + 60).to_string();
    let other_key = sas::Key::from_bytes(b"another key").unwrap();
    let forged = sas::sign(&known.resource(), None, &other_key, now() + 60).to_string();
    for password in [expired, elsewhere, forged, "nonsense".to_owned()] {
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
async fn subscriptions_outlive_the_connection_and_a_clean_session_forgets_them() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, present) = device.connect().await.unwrap();
    assert!(!present);
    subscribe(&client, &mut events, "$iothub/twin/res/#").await;
    assert!(hub.drop_connection(&id()));
    gone(&mut events).await;

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
async fn with_a_data_folder_everything_survives_a_restart() {
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
    timeout(PATIENCE, hub.connected(&id())).await.unwrap();
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
    gone(&mut events).await;
    assert!(hub.is_connected(&id()));
}

#[tokio::test]
async fn misuse_ends_the_connection() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let misuses = [
        ("devices/d1/messages/events/", QoS::ExactlyOnce),
        ("devices/d2/messages/events/", QoS::AtLeastOnce),
        ("some/topic", QoS::AtMostOnce),
        ("$iothub/twin/GET/", QoS::AtMostOnce),
    ];
    for (topic, qos) in misuses {
        let (client, mut events, _) = device.connect().await.unwrap();
        client.publish(topic, qos, false, "x").await.unwrap();
        gone(&mut events).await;
    }
}

#[tokio::test]
async fn a_filter_that_iot_hub_does_not_know_is_refused() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, _) = device.connect().await.unwrap();
    for (filter, refused) in [
        ("$iothub/methods/POST/#", false),
        ("devices/d1/messages/devicebound/#", false),
        ("devices/d2/messages/devicebound/#", true),
        ("#", true),
    ] {
        client.subscribe(filter, QoS::ExactlyOnce).await.unwrap();
        let ack = next(&mut events, |packet| match packet {
            Packet::SubAck(ack) => Some(ack),
            _ => None,
        });
        let code = ack.await.return_codes.remove(0);
        let expected = match refused {
            true => rumqttc::SubscribeReasonCode::Failure,
            false => rumqttc::SubscribeReasonCode::Success(QoS::AtLeastOnce),
        };
        assert_eq!(code, expected, "{filter}");
    }
}

#[tokio::test]
async fn telemetry_gets_properties_of_the_hub_and_a_lost_connection_publishes_the_will() {
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

    hub.drop_connection(&id());
    let will = timeout(PATIENCE, messages.recv()).await.unwrap().unwrap();
    assert_eq!(will.properties.get("iothub-MessageType"), Some("Will"));
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
    gone(&mut events).await;
    assert_eq!(device.connect().await.err(), Some(ConnectReturnCode::NotAuthorized));
}

#[tokio::test]
async fn a_silent_device_is_disconnected_after_one_and_a_half_keep_alives() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let hub = hub().await;
    let identity = hub.create_device(&id()).unwrap();
    let mut stream = secured(hub.ca_pem(), hub.mqtt_port()).await.unwrap();
    let login = Device::of(&hub, &identity).options.credentials().unwrap();
    let mut connect = rumqttc::mqttbytes::v4::Connect::new("d1");
    connect.keep_alive = 1;
    connect.login =
        Some(rumqttc::mqttbytes::v4::Login { username: login.username, password: login.password });
    let mut packet = bytes::BytesMut::new();
    connect.write(&mut packet).unwrap();
    stream.write_all(&packet).await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.unwrap().ok();
    assert_eq!(read, [0x20, 2, 0, 0]);
    assert!(!hub.is_connected(&id()));
}
