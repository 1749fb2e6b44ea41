//! Devices with MQTT 5, observed by a device and a service.

use behaviour_hub::{Effect, Fault, Hub, HubConfig, Step};
use protocol::mqtt5::{
    Abandon, AbandonReason, Birth, BirthAck, ConnectionProfile, CorrelationId, DesiredUpdate, Exec,
    MessageType, PatchOutcome, Probe, ProbeAck, ReasonCode, Rejection, ReportedPatch,
    ReportedPatchResponse, ResultMessage, Sections, TwinGet, TwinGetResponse, TwinPush,
};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, LastWill, Packet, PubAckReason, PublishProperties, SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::{TIMEOUT, hub, id, request};
use super::client5::{Connection5, Device5, call};

const REQUEST: [u8; 16] = [1; 16];
const READY: [u8; 16] = [2; 16];

async fn patch_desired(hub: &Hub, desired: &Value) {
    let body = json!({"properties": {"desired": desired}});
    assert_eq!(request(hub, "PATCH", "/twins/d1", &body).await.0, 200);
}

/// Sends a request about the twin at QoS 0 and returns the answer.
async fn get(device: &mut Connection5, get: TwinGet) -> TwinGetResponse {
    device.publish(MessageType::TwinGet, REQUEST.into(), &get, QoS::AtMostOnce).await;
    let answer = device.message(MessageType::TwinGetResponse).await;
    assert_eq!(answer.correlation, REQUEST.into());
    answer.decode()
}

async fn report(device: &mut Connection5, if_match: u64, body: &str) -> ReportedPatchResponse {
    let patch = ReportedPatch { if_match, payload: body.into() };
    device.publish(MessageType::ReportedPatch, REQUEST.into(), &patch, QoS::AtMostOnce).await;
    device.message(MessageType::ReportedPatchResponse).await.decode()
}

/// Answers a probe.
async fn ack(device: &mut Connection5, request_id: CorrelationId, ack: ProbeAck) {
    device.publish(MessageType::ProbeAck, request_id, &ack, QoS::AtLeastOnce).await;
}

#[tokio::test]
async fn a_device_is_admitted_by_the_birth_of_its_own_connection_after_it_has_subscribed() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let (mut connection, ack) = device.sign_in(&hub).await;
    assert_eq!((ack.code, ack.session_present), (ConnectReturnCode::Success, false));
    assert_eq!(ack.properties.unwrap().max_qos, Some(1));
    // Ignored: before the subscription, then with another nonce.
    connection.birth(&Birth::default()).await;
    connection.subscribe().await;
    let other = CorrelationId::from([9; 16]);
    connection.publish(MessageType::Birth, other, &Birth::default(), QoS::AtMostOnce).await;
    connection.birth(&Birth::default()).await;
    let answer = connection.message(MessageType::BirthAck).await;
    assert_eq!((answer.correlation, answer.publish.qos), (device.nonce, QoS::AtMostOnce));
    let versions = BirthAck { desired_version: 1, reported_version: 1 };
    assert_eq!(answer.decode::<BirthAck>(), versions);
    timeout(TIMEOUT, hub.connected(&id())).await.unwrap();
    let (_, twin) = request(&hub, "GET", "/twins/d1", &json!(null)).await;
    assert_eq!(twin["connectionState"], "Connected");
}

#[tokio::test]
async fn desired_properties_are_pushed_after_the_answer_to_a_birth_and_then_as_patches() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    patch_desired(&hub, &json!({"rate": 5})).await;
    let (mut connection, _) = device.sign_in(&hub).await;
    connection.subscribe().await;
    let birth =
        Birth { push_desired: true, push_reported: true, reported_version: 1, ..Birth::default() };
    connection.birth(&birth).await;
    let answer: BirthAck = connection.message(MessageType::BirthAck).await.decode();
    let push: TwinPush = connection.message(MessageType::TwinPush).await.decode();
    assert_eq!(push.reported, None, "the device has this version");
    let desired = push.desired.unwrap();
    assert_eq!((desired.version, &desired.payload[..]), (2, &br#"{"rate":5}"#[..]));
    patch_desired(&hub, &json!({"rate": 9})).await;
    let patch = connection.message(MessageType::DesiredPatch).await;
    assert_eq!(patch.correlation, device.nonce);
    let expected =
        DesiredUpdate { version: answer.desired_version + 1, payload: br#"{"rate":9}"#.to_vec() };
    assert_eq!(patch.decode::<DesiredUpdate>(), expected);
}

#[tokio::test]
async fn reported_properties_change_only_from_their_current_version() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    let done = |outcome, version| ReportedPatchResponse { outcome, version };
    for (if_match, body, expected) in [
        (0, r#"{"fw":"1"}"#, done(PatchOutcome::VersionMismatch, 1)),
        (1, r#"{"fw":"1","old":1}"#, done(PatchOutcome::Ok, 2)),
        (1, r#"{"fw":"2"}"#, done(PatchOutcome::VersionMismatch, 2)),
        (2, "[1]", done(PatchOutcome::PayloadInvalid, 2)),
        (2, r#"{"a.b":1}"#, done(PatchOutcome::PayloadInvalid, 2)),
        (2, r#"{"old":null}"#, done(PatchOutcome::Ok, 3)),
    ] {
        assert_eq!(report(&mut connection, if_match, body).await, expected, "{body}");
    }
    let large: serde_json::Map<_, _> =
        (0..9).map(|n| (format!("k{n}"), Value::from("x".repeat(4000)))).collect();
    let large = Value::Object(large).to_string();
    let refused = report(&mut connection, 3, &large).await;
    assert_eq!(refused, done(PatchOutcome::PayloadTooLarge, 3));
    let both = TwinGet { sections: Sections::Both, if_not_match_desired: 1, ..TwinGet::default() };
    let twin = get(&mut connection, both).await;
    assert_eq!((twin.desired_version, twin.reported_version), (1, 3));
    assert_eq!(twin.desired_payload, None);
    assert_eq!(twin.reported_payload.as_deref(), Some(&br#"{"fw":"1"}"#[..]));
}

#[tokio::test]
async fn a_method_takes_a_probe_and_an_exec_with_the_expiry_of_its_timeouts() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    let payload = json!({"delay": 5});
    let answering = async {
        let message = connection.message(MessageType::Probe).await;
        let expected = Probe { method_name: "reboot".to_owned(), response_timeout_seconds: 30 };
        assert_eq!(message.decode::<Probe>(), expected);
        assert!(message.expiry >= Some(2) && message.publish.qos == QoS::AtLeastOnce);
        ack(&mut connection, message.correlation, ProbeAck::Ready(READY.into())).await;
        let exec = connection.message(MessageType::Exec).await;
        assert_eq!((exec.correlation, exec.expiry), (message.correlation, Some(30)));
        let decoded: Exec = exec.decode();
        assert_eq!((decoded.ready_id, &decoded.params[..]), (READY.into(), &br#"{"delay":5}"#[..]));
        // A result for another request changes nothing.
        let result = |status| ResultMessage { status, body: b"[1]".to_vec() };
        for (request_id, status) in [(REQUEST.into(), 500), (exec.correlation, 202)] {
            let result = result(status);
            connection.publish(MessageType::Result, request_id, &result, QoS::AtLeastOnce).await;
            assert_eq!(connection.acknowledged().await, PubAckReason::Success);
        }
    };
    let (answer, ()) = tokio::join!(call(&hub, "reboot", &payload), answering);
    assert_eq!(answer, (200, json!({"status": 202, "payload": [1]})));
}

#[tokio::test]
async fn a_rejected_probe_is_an_answer_with_the_reason_in_words() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    for (reason, status, error) in [
        (Rejection::MethodNotFound, 404, "unknown-method"),
        (Rejection::InsufficientTime, 408, "insufficient-time"),
        (Rejection::DeviceBusy, 429, "busy"),
    ] {
        let answering = async {
            let probe = connection.message(MessageType::Probe).await;
            ack(&mut connection, probe.correlation, ProbeAck::Rejected(reason)).await;
        };
        let ((http, answer), ()) = tokio::join!(call(&hub, "m", &json!(null)), answering);
        assert_eq!((http, &answer["status"]), (200, &json!(status)));
        assert_eq!(answer["payload"]["error"], error);
    }
}

#[tokio::test]
async fn an_abandoned_method_is_probed_again_and_runs_once() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    let answering = async {
        let probe = connection.message(MessageType::Probe).await;
        ack(&mut connection, probe.correlation, ProbeAck::Ready(READY.into())).await;
        let exec = connection.message(MessageType::Exec).await;
        let abandon = Abandon { ready_id: READY.into(), reason: AbandonReason::InsufficientTime };
        connection
            .publish(MessageType::Abandon, exec.correlation, &abandon, QoS::AtLeastOnce)
            .await;
        let again = connection.message(MessageType::Probe).await;
        assert_ne!(again.correlation, exec.correlation);
        ack(&mut connection, again.correlation, ProbeAck::Ready([3; 16].into())).await;
        let exec = connection.message(MessageType::Exec).await;
        let result = ResultMessage { status: 200, body: Vec::new() };
        connection.publish(MessageType::Result, exec.correlation, &result, QoS::AtLeastOnce).await;
    };
    let (answer, ()) = tokio::join!(call(&hub, "m", &json!(null)), answering);
    assert_eq!(answer, (200, json!({"status": 200, "payload": null})));
}

#[tokio::test]
async fn telemetry_arrives_with_its_properties() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut messages = hub.telemetry();
    let mut connection = device.admitted(&hub).await;
    let properties = PublishProperties {
        content_type: Some("application/json".to_owned()),
        user_properties: vec![
            ("type".to_owned(), "telemetry:1".to_owned()),
            ("$.mid".to_owned(), "m1".to_owned()),
            ("level".to_owned(), "high".to_owned()),
        ],
        ..PublishProperties::default()
    };
    connection.publish_to("ih/d1/srv/telemetry", "{}", properties, QoS::AtLeastOnce).await;
    assert_eq!(connection.acknowledged().await, PubAckReason::Success);
    let message = messages.recv().await.unwrap();
    assert_eq!(&message.body[..], b"{}");
    for (name, value) in [("$.ct", "application/json"), ("$.mid", "m1"), ("level", "high")] {
        assert_eq!(message.properties.get(name), Some(value));
    }
    assert_eq!(message.properties.get("type"), None);
}

#[tokio::test]
async fn topics_outside_the_profile_are_refused_with_a_reason() {
    let custom = "factory/{deviceId}/alerts".parse().unwrap();
    let hub = Hub::start(HubConfig { custom_topics: vec![custom], ..HubConfig::default() });
    let hub = hub.await.unwrap();
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    for (topic, reason) in [
        ("ih/d2/srv/telemetry", PubAckReason::NotAuthorized),
        ("ih/d1/dev/twin", PubAckReason::NotAuthorized),
        ("devices/d1/messages/events/", PubAckReason::NotAuthorized),
        ("$iothub/twin/GET/?$rid=1", PubAckReason::NotAuthorized),
        ("factory/d2/alerts", PubAckReason::NotAuthorized),
        ("factory/d1/alerts", PubAckReason::Success),
        // A message of an unknown type is ignored.
        ("ih/d1/srv/methods", PubAckReason::Success),
    ] {
        let none = PublishProperties::default();
        connection.publish_to(topic, "x", none, QoS::AtLeastOnce).await;
        assert_eq!(connection.acknowledged().await, reason, "{topic}");
    }
    for (filter, reason) in [
        ("ih/d1/dev/twin", SubscribeReasonCode::NotAuthorized),
        ("#", SubscribeReasonCode::NotAuthorized),
        ("ih/d2/dev/#", SubscribeReasonCode::NotAuthorized),
        ("$iothub/methods/POST/#", SubscribeReasonCode::NotAuthorized),
        ("$share/g/ih/d1/dev/#", SubscribeReasonCode::SharedSubscriptionsNotSupported),
    ] {
        assert_eq!(connection.subscribe_to(filter).await, reason, "{filter}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let (_, ack) = device.sign_in(&hub).await;
    let max_packet = ack.properties.unwrap().max_packet_size.unwrap();
    assert!(max_packet > 256 * 1024);
    let mut connection = device.admitted(&hub).await;
    for (bytes, reason) in [
        (256 * 1024 + 1, PubAckReason::ImplementationSpecificError),
        (256 * 1024, PubAckReason::Success),
    ] {
        let (topic, none) = ("ih/d1/srv/telemetry", PublishProperties::default());
        connection.publish_to(topic, "x".repeat(bytes), none, QoS::AtLeastOnce).await;
        assert_eq!(connection.acknowledged().await, reason);
    }
}

#[tokio::test]
async fn a_method_whose_connection_ends_before_its_exec_is_probed_again() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    let answering = async {
        let probe = connection.message(MessageType::Probe).await;
        assert!(hub.drop_connection(&id()));
        let mut connection = device.admitted(&hub).await;
        let again = connection.message(MessageType::Probe).await;
        assert_ne!(again.correlation, probe.correlation);
        assert!(!again.publish.dup);
        ack(&mut connection, again.correlation, ProbeAck::Ready(READY.into())).await;
        let exec = connection.message(MessageType::Exec).await;
        let result = ResultMessage { status: 200, body: Vec::new() };
        connection.publish(MessageType::Result, exec.correlation, &result, QoS::AtLeastOnce).await;
        connection
    };
    let (answer, _connection) = tokio::join!(call(&hub, "m", &json!(null)), answering);
    assert_eq!(answer, (200, json!({"status": 200, "payload": null})));
}

#[tokio::test]
async fn a_connection_that_breaks_the_rules_ends_with_a_reason() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let publish = |qos, retain, topic: &str| {
        let mut publish = rumqttc::v5::mqttbytes::v5::Publish::new(topic, qos, "x", None);
        (publish.pkid, publish.retain) = (9, retain);
        Packet::Publish(publish)
    };
    let own = "ih/d1/srv/telemetry";
    for (packet, reason) in [
        (publish(QoS::ExactlyOnce, false, own), ReasonCode::QOS_NOT_SUPPORTED),
        (publish(QoS::AtLeastOnce, true, own), ReasonCode::RETAIN_NOT_SUPPORTED),
        (publish(QoS::AtLeastOnce, false, "ih/+/srv/telemetry"), ReasonCode::TOPIC_NAME_INVALID),
        (Packet::Connect(device.connect.clone(), None, None), ReasonCode::PROTOCOL_ERROR),
    ] {
        let mut connection = device.admitted(&hub).await;
        connection.send(packet).await;
        assert_eq!(connection.disconnected().await, reason.0);
    }
    let mut connection = device.admitted(&hub).await;
    let _newer = device.admitted(&hub).await;
    assert_eq!(connection.disconnected().await, ReasonCode::SESSION_TAKEN_OVER.0);
    let mut connection = device.admitted(&hub).await;
    assert!(hub.disconnect(&id(), ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(connection.disconnected().await, ReasonCode::QUOTA_EXCEEDED.0);
}

#[tokio::test]
async fn a_connect_is_refused_with_a_reason() {
    let hub = hub().await;
    hub.create_device(&"token".parse().unwrap()).unwrap();
    let mut device = Device5::register(&hub).await;
    let user_name = std::mem::take(&mut device.user_name);
    let code = async |device: &Device5| device.sign_in(&hub).await.1.code;
    assert_eq!(code(&device).await, ConnectReturnCode::BadUserNamePassword);
    device.user_name = user_name;
    device.connect.client_id = "stranger".to_owned();
    assert_eq!(code(&device).await, ConnectReturnCode::NotAuthorized);
    device.connect.client_id = "token".to_owned();
    assert_eq!(code(&device).await, ConnectReturnCode::NotAuthorized, "a token is no credential");
    device.connect.client_id = "d1/m1".to_owned();
    assert_eq!(code(&device).await, ConnectReturnCode::ClientIdentifierNotValid);
    device.connect.client_id = "d1".to_owned();
    device.will = Some(LastWill::new("other", "x", QoS::AtMostOnce, false, None));
    assert_eq!(code(&device).await, ConnectReturnCode::TopicNameInvalid);
    device.will = None;
    assert_eq!(code(&device).await, ConnectReturnCode::Success);

    for (profile, expected) in [
        (ConnectionProfile::Classic, ConnectReturnCode::UnsupportedProtocolVersion),
        (ConnectionProfile::MqttV5, ConnectReturnCode::Success),
    ] {
        let config = HubConfig { profile: Some(profile), ..HubConfig::default() };
        let hub = Hub::start(config).await.unwrap();
        let device = Device5::register(&hub).await;
        assert_eq!(device.sign_in(&hub).await.1.code, expected);
    }
}

#[tokio::test]
async fn a_kept_session_repeats_an_unacknowledged_exec_as_a_duplicate() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let mut connection = device.admitted(&hub).await;
    let reconnecting = async {
        let probe = connection.message(MessageType::Probe).await;
        ack(&mut connection, probe.correlation, ProbeAck::Ready(READY.into())).await;
        loop {
            if let Some(Packet::Publish(exec)) = connection.next().await {
                assert!(!exec.dup);
                break;
            }
        }
        assert!(hub.drop_connection(&id()));
        let (mut connection, ack) = device.sign_in(&hub).await;
        assert!(ack.session_present);
        let Some(Packet::Publish(again)) = connection.next().await else { panic!("no PUBLISH") };
        assert!(again.dup && again.properties.unwrap().message_expiry_interval.is_some());
        // The subscription is part of the session.
        connection.birth(&Birth::default()).await;
        connection.message(MessageType::BirthAck).await;
    };
    tokio::select! {
        answer = call(&hub, "m", &json!(null)) => panic!("{answer:?}"),
        () = reconnecting => {}
    }
}

#[tokio::test]
async fn faults_of_the_birth_and_the_probe_happen_as_requested() {
    let hub = hub().await;
    let device = Device5::register(&hub).await;
    let set = |step, effect| hub.faults().set(Fault::new(step, effect).of(&id())).unwrap();
    let (mut connection, _) = device.sign_in(&hub).await;
    connection.subscribe().await;
    // A lost birth, then an answer with another nonce.
    set(Step::Birth, Effect::Lose);
    connection.birth(&Birth::default()).await;
    hub.faults().until_happened(1).await;
    set(Step::Birth, Effect::StaleNonce);
    connection.birth(&Birth::default()).await;
    let stale = connection.message(MessageType::BirthAck).await;
    assert_ne!(stale.correlation, device.nonce);
    connection.birth(&Birth::default()).await;
    assert_eq!(connection.message(MessageType::BirthAck).await.correlation, device.nonce);

    set(Step::Probe, Effect::Duplicate);
    // A lost change of desired properties leaves a gap.
    set(Step::Desired, Effect::Lose);
    let answering = async {
        let first = connection.message(MessageType::Probe).await;
        let second = connection.message(MessageType::Probe).await;
        assert_eq!(first.correlation, second.correlation);
        let rejected = ProbeAck::Rejected(Rejection::DeviceBusy);
        ack(&mut connection, first.correlation, rejected).await;
    };
    let _ = tokio::join!(call(&hub, "m", &json!(null)), answering);
    patch_desired(&hub, &json!({"a": 1})).await;
    patch_desired(&hub, &json!({"a": 2})).await;
    let patch: DesiredUpdate = connection.message(MessageType::DesiredPatch).await.decode();
    assert_eq!(patch.version, 3);
}
