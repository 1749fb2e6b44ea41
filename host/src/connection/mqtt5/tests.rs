//! The steps of the profile on the device, in paused time.

use std::time::Duration;

use parking_lot::Mutex;
use protocol::id::MethodName;
use protocol::mqtt5::{
    Abandon, AbandonReason, DesiredUpdate, Exec, PatchOutcome, Probe, ProbeAck, Rejection,
    ReportedPatch, ReportedPatchResponse,
};
use rumqttc::SubscribeFilter;

use super::*;
use crate::connection::admission::ProbedPlugin;

const NONCE: [u8; 16] = [1; 16];
const REQUEST: [u8; 16] = [2; 16];

/// An admission with a fixed answer.
struct Fixed(Mutex<Result<ProbedPlugin, Rejection>>);

impl Admission for Fixed {
    fn probe(&self, _method: &MethodName) -> Result<ProbedPlugin, Rejection> {
        self.0.lock().clone()
    }
}

fn free(calls: usize) -> Result<ProbedPlugin, Rejection> {
    Ok(ProbedPlugin { name: "p".to_owned(), free_calls: calls })
}

fn translator(admission: Result<ProbedPlugin, Rejection>) -> Translator {
    let admission = Arc::new(Fixed(Mutex::new(admission)));
    let device = "d1".parse().unwrap();
    let mut translator = Translator::new(device, NONCE.into(), false, admission);
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
    Packet5::Publish(Publish5::new("t", QoS::AtMostOnce, payload, Some(properties)))
}

fn admitted(admission: Result<ProbedPlugin, Rejection>) -> Translator {
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

fn probe(translator: &mut Translator, seconds: u32, expiry: Option<u32>) -> Vec<Translated> {
    let probe = Probe { method_name: "m".to_owned(), response_timeout_seconds: seconds };
    translator.incoming(from_hub(MessageType::Probe, REQUEST, &probe, expiry)).unwrap()
}

fn exec(translator: &mut Translator, ready_id: CorrelationId) -> Vec<Translated> {
    let exec = Exec { ready_id, params: b"1".to_vec(), exec_start: None };
    translator.incoming(from_hub(MessageType::Exec, REQUEST, &exec, Some(30))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_session_is_subscribed_once_the_birth_of_its_connection_is_answered() {
    let mut translator = translator(free(1));
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

#[tokio::test(start_paused = true)]
async fn a_method_runs_once_after_its_probe() {
    let mut translator = admitted(free(1));
    let ready = sent(&probe(&mut translator, 30, Some(10)));
    let ProbeAck::Ready(ready_id) = ready else { panic!("{ready:?}") };
    assert_eq!(probe(&mut translator, 30, Some(10)), [], "a repeated probe");
    let run = exec(&mut translator, ready_id);
    let rid = CorrelationId::from(REQUEST);
    assert_eq!(given(&run), (&*format!("$iothub/methods/POST/m/?$rid={rid}"), "1"));
    assert_eq!(exec(&mut translator, ready_id), [], "a repeated exec");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_cannot_be_met_is_rejected_with_the_reason() {
    for (admission, seconds, reason) in [
        (Err(Rejection::MethodNotFound), 30, Rejection::MethodNotFound),
        (Err(Rejection::DeviceBusy), 30, Rejection::DeviceBusy),
        (free(0), 30, Rejection::DeviceBusy),
        (free(1), 1, Rejection::InsufficientTime),
    ] {
        let mut translator = admitted(admission);
        let ack = sent::<ProbeAck>(&probe(&mut translator, seconds, Some(10)));
        assert_eq!(ack, ProbeAck::Rejected(reason));
        assert_eq!(exec(&mut translator, [0; 16].into()), [], "nothing runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_id_holds_a_call_until_its_time_is_over() {
    let mut translator = admitted(free(1));
    let ready = sent(&probe(&mut translator, 30, Some(10)));
    let ProbeAck::Ready(ready_id) = ready else { panic!("{ready:?}") };
    let other = Probe { method_name: "m".to_owned(), response_timeout_seconds: 30 };
    let other = || from_hub(MessageType::Probe, [3; 16], &other, Some(10));
    let busy = sent::<ProbeAck>(&translator.incoming(other()).unwrap());
    assert_eq!(busy, ProbeAck::Rejected(Rejection::DeviceBusy));

    // The connect timeout, the response timeout and the margin.
    tokio::time::advance(Duration::from_secs(10 + 30 + 3)).await;
    let expired = translator.incoming(other()).unwrap();
    let abandon = sent::<Abandon>(&expired[..1]);
    assert_eq!(abandon, Abandon { ready_id, reason: AbandonReason::ReadyWaitTimeout });
    assert!(matches!(sent::<ProbeAck>(&expired[1..]), ProbeAck::Ready(_)));
    assert_eq!(exec(&mut translator, ready_id), [], "an exec after its time");
}

#[test]
fn a_report_is_repeated_for_the_version_of_another_writer_and_then_waits() {
    let mut translator = admitted(free(1));
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
    let mut translator = admitted(free(1));
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
