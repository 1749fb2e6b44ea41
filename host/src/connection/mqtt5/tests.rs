//! The steps of the profile on the device, in paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::id::MethodName;
use protocol::mqtt5::{
    DesiredUpdate, Message, PatchOutcome, Rejection, ReportedPatch, ReportedPatchResponse,
};
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use rumqttc::{Publish, SubscribeFilter};
use tokio::sync::Semaphore;

use super::*;
use crate::connection::admission::{Admission, ProbedCall};

mod methods;
mod telemetry;
mod two_writers;

const NONCE: [u8; 16] = [1; 16];

/// An admission of one plugin, or of none.
struct Fixed {
    calls: Result<Arc<Semaphore>, Rejection>,
    min_time: Duration,
    /// The request ids of the reserved calls that have begun.
    begun: Arc<Mutex<Vec<String>>>,
}

impl Fixed {
    /// Creates an admission with this number of free calls.
    fn with(calls: usize) -> Fixed {
        let calls = Ok(Arc::new(Semaphore::new(calls)));
        Fixed { calls, min_time: Duration::ZERO, begun: Arc::default() }
    }
}

impl Admission for Fixed {
    fn probe(&self, _method: &MethodName, time: Option<Duration>) -> Result<ProbedCall, Rejection> {
        let calls = self.calls.clone()?;
        if time.is_some_and(|time| time <= self.min_time) {
            return Err(Rejection::InsufficientTime);
        }
        let permit = calls.try_acquire_owned().map_err(|_| Rejection::DeviceBusy)?;
        let begun = Arc::clone(&self.begun);
        Ok(ProbedCall::new(self.min_time, move |rid| {
            begun.lock().push(rid.to_string());
            drop(permit);
        }))
    }
}

fn methods(admission: Fixed) -> SharedMethods {
    Arc::new(Mutex::new(ReadyMethods::new(Arc::new(admission))))
}

/// Returns the translator of a connection with this nonce.
fn connection(nonce: [u8; 16], session_present: bool, methods: &SharedMethods) -> Translator {
    Translator::new(Mqtt5Connection {
        device: "d1".parse().unwrap(),
        nonce: nonce.into(),
        session_present,
        max_packet_bytes: None,
        telemetry_topic: None,
        methods: Arc::clone(methods),
    })
}

fn translator(admission: Fixed) -> Translator {
    let mut translator = connection(NONCE, false, &methods(admission));
    let filters =
        ["a", "b", "c"].map(|f| SubscribeFilter::new(f.into(), rumqttc::QoS::AtLeastOnce));
    let mut subscribe = rumqttc::Subscribe::new_many(filters);
    subscribe.pkid = SUBSCRIBE_ID;
    translator.outgoing(Packet::Subscribe(subscribe));
    translator
}

/// Returns a message of the hub.
fn from_hub(
    kind: MessageType,
    correlation: [u8; 16],
    message: &impl Message,
    expiry: Option<u32>,
) -> Packet5 {
    let properties = PublishProperties {
        correlation_data: Some(Bytes::copy_from_slice(&correlation)),
        user_properties: vec![("type".to_owned(), kind.to_string())],
        message_expiry_interval: expiry,
        ..PublishProperties::default()
    };
    let payload = message.encode();
    let feature = match kind.feature() {
        Feature::Presence => "presence",
        Feature::Twin => "twin",
        Feature::Methods => "methods",
        Feature::Telemetry => "telemetry",
    };
    let topic = format!("ih/d1/dev/{feature}");
    Packet5::Publish(Publish5::new(topic, QoS::AtMostOnce, payload, Some(properties)))
}

fn admitted(admission: Fixed) -> Translator {
    let mut translator = translator(admission);
    let ack = BirthAck { desired_version: 7, reported_version: 4 };
    translator.incoming(from_hub(MessageType::BirthAck, NONCE, &ack, None)).unwrap();
    translator
}

/// Returns the payload of the only packet for the hub.
fn sent<M: Message>(translated: &[Translated]) -> M {
    let [Translated::ToHub(Packet5::Publish(publish))] = translated else {
        panic!("{translated:?}")
    };
    M::decode(&publish.payload).unwrap()
}

/// Returns the message of MQTT 3.1.1 that the session gets.
fn given(translated: &[Translated]) -> (&str, &str) {
    let [Translated::ToSession(Packet::Publish(publish))] = translated else {
        panic!("{translated:?}")
    };
    (&publish.topic, std::str::from_utf8(&publish.payload).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_session_is_subscribed_once_the_birth_of_its_connection_is_answered() {
    let mut translator = translator(Fixed::with(1));
    let granted = rumqttc::v5::mqttbytes::v5::SubAck {
        pkid: SUBSCRIBE_ID,
        return_codes: vec![SubscribeReasonCode5::Success(QoS::AtLeastOnce)],
        properties: None,
    };
    let birth = translator.incoming(Packet5::SubAck(granted)).unwrap();
    assert_eq!(sent::<Birth>(&birth), Birth::default());
    let ack = BirthAck::default();
    let stale = from_hub(MessageType::BirthAck, [9; 16], &ack, None);
    assert_eq!(translator.incoming(stale).unwrap(), []);
    let own = from_hub(MessageType::BirthAck, NONCE, &ack, None);
    let subscribed = translator.incoming(own).unwrap();
    let codes = vec![SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce); 3];
    let ack = Packet::SubAck(SubAck::new(SUBSCRIBE_ID, codes));
    assert_eq!(subscribed, [Translated::ToSession(ack)]);
}

#[test]
fn a_report_is_repeated_for_the_version_of_another_writer_and_then_waits() {
    let mut translator = admitted(Fixed::with(1));
    let report = Publish::new(
        "$iothub/twin/PATCH/properties/reported/?$rid=7",
        rumqttc::QoS::AtMostOnce,
        r#"{"a":1}"#,
    );
    let begun = translator.outgoing(Packet::Publish(report));
    let [Translated::ToHub(Packet5::Publish(publish))] = &begun[..] else { panic!("{begun:?}") };
    let id = publish.properties.as_ref().unwrap().correlation_data.as_ref().unwrap();
    let id: [u8; 16] = id[..].try_into().unwrap();
    assert_eq!(sent::<ReportedPatch>(&begun).if_match, 4);
    let mut answer = |outcome, version| {
        let response = ReportedPatchResponse { outcome, version };
        let packet = from_hub(MessageType::ReportedPatchResponse, id, &response, None);
        translator.incoming(packet).unwrap()
    };
    for version in 5..9 {
        let again = sent::<ReportedPatch>(&answer(PatchOutcome::VersionMismatch, version));
        assert_eq!((again.if_match, &again.payload[..]), (version, &br#"{"a":1}"#[..]));
    }
    let waits = answer(PatchOutcome::VersionMismatch, 9);
    assert_eq!(given(&waits).0, "$iothub/twin/res/429/?$rid=7");
    assert_eq!(answer(PatchOutcome::Ok, 10), [], "a late answer");
}

#[test]
fn changes_of_desired_properties_belong_to_the_newest_birth() {
    let mut translator = admitted(Fixed::with(1));
    let update = |version, payload: &str| DesiredUpdate { version, payload: payload.into() };
    let mut change = |nonce, update: &DesiredUpdate| {
        translator.incoming(from_hub(MessageType::DesiredPatch, nonce, update, None))
    };
    assert_eq!(change([9; 16], &update(8, "{}")).unwrap(), []);
    assert_eq!(change(NONCE, &update(7, "{}")).unwrap(), [], "a version that is known");
    let changed = change(NONCE, &update(8, r#"{"a":1}"#)).unwrap();
    let expected = r#"{"$version":8,"a":1}"#;
    let (topic, body) = given(&changed);
    assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=8");
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(body), parsed(expected));
    assert!(change(NONCE, &update(9, "")).is_err(), "lost changes need a new connection");
}
