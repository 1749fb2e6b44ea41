//! Byte sequences that were compared with the protobuf runtime, and round trips.

use proptest::prelude::*;

use super::*;
use crate::id::DeviceId;
use crate::properties::MessageProperties;

const READY: &str = "a0a1a2a3a4a546a7a8a9aaabacadaeaf";

fn ready() -> CorrelationId {
    READY.parse().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Asserts that a message has these bytes in both directions.
fn check<M: Message + PartialEq + std::fmt::Debug>(message: &M, hex: &str) {
    assert_eq!(message.encode(), bytes(hex), "{message:?}");
    assert_eq!(&M::decode(&bytes(hex)).unwrap(), message);
}

#[test]
fn presence_messages_have_the_bytes_of_the_reference() {
    let birth = Birth {
        session_present: true,
        reported_version: 4,
        desired_version: 7,
        push_desired: true,
        push_reported: false,
    };
    check(&birth, "08 01 50 04 58 07 60 01");
    check(&BirthAck { desired_version: 9, reported_version: 4 }, "50 09 58 04");
    // The C SDK sends an empty birth.
    check(&Birth::default(), "");
}

#[test]
fn twin_messages_have_the_bytes_of_the_reference() {
    let get =
        TwinGet { sections: Sections::Both, if_not_match_desired: 7, if_not_match_reported: 0 };
    check(&get, "08 03 10 07");
    let response = TwinGetResponse {
        desired_version: 7,
        reported_version: 5,
        desired_payload: None,
        reported_payload: Some(br#"{"fw":"1.2"}"#.to_vec()),
    };
    check(&response, "08 07 10 05 22 0c 7b 22 66 77 22 3a 22 31 2e 32 22 7d");
    let patch = ReportedPatch { if_match: 4, payload: br#"{"fw":"1.2"}"#.to_vec() };
    check(&patch, "08 04 12 0c 7b 22 66 77 22 3a 22 31 2e 32 22 7d");
    check(&ReportedPatchResponse { outcome: PatchOutcome::Ok, version: 5 }, "08 01 10 05");
    let desired = DesiredUpdate { version: 10, payload: br#"{"rate":9}"#.to_vec() };
    check(&desired, "08 0a 12 0a 7b 22 72 61 74 65 22 3a 39 7d");
    let section = TwinSection { version: 9, payload: br#"{"rate":5}"#.to_vec() };
    let push = TwinPush { desired: Some(section), reported: None };
    check(&push, "0a 0e 08 09 12 0a 7b 22 72 61 74 65 22 3a 35 7d");
}

#[test]
fn method_messages_have_the_bytes_of_the_reference() {
    let id = "a0 a1 a2 a3 a4 a5 46 a7 a8 a9 aa ab ac ad ae af";
    let probe = Probe { method_name: "reboot".into(), response_timeout_seconds: 30 };
    check(&probe, "0a 06 72 65 62 6f 6f 74 10 1e");
    check(&ProbeAck::Ready(ready()), &format!("0a 12 0a 10 {id}"));
    check(&ProbeAck::Rejected(Rejection::DeviceBusy), "12 02 08 03");
    let exec = Exec {
        ready_id: ready(),
        params: br#"{"s":5}"#.to_vec(),
        exec_start: Some(Timestamp { seconds: 1_790_000_000, nanos: 500_000_000 }),
    };
    let time = "1a 0c 08 80 f7 c4 d5 06 10 80 ca b5 ee 01";
    check(&exec, &format!("0a 10 {id} 12 07 7b 22 73 22 3a 35 7d {time}"));
    let result = ResultMessage { status: 200, body: br#"{"ok":true}"#.to_vec() };
    check(&result, "08 c8 01 12 0b 7b 22 6f 6b 22 3a 74 72 75 65 7d");
    let negative = ResultMessage { status: -1, body: Vec::new() };
    check(&negative, "08 ff ff ff ff ff ff ff ff ff 01");
    let abandon = Abandon { ready_id: ready(), reason: AbandonReason::ReadyWaitTimeout };
    check(&abandon, &format!("0a 10 {id} 10 01"));
}

#[test]
fn unknown_fields_and_values_are_skipped() {
    // Fields 9 to 12 of all kinds, then a known one.
    let patch = "48 96 01 51 01 02 03 04 05 06 07 08 5a 02 ff ff 65 01 02 03 04 08 04";
    assert_eq!(ReportedPatch::decode(&bytes(patch)).unwrap().if_match, 4);
    assert_eq!(TwinGet::decode(&[0x08, 0x63]).unwrap().sections, Sections::Unspecified);
    let outcome = ReportedPatchResponse::decode(&[0x08, 0x63]).unwrap().outcome;
    assert_eq!(outcome, PatchOutcome::Unspecified);
    // An optional payload that is empty differs from an absent one.
    let empty = TwinGetResponse::decode(&[0x1a, 0x00]).unwrap();
    assert_eq!((empty.desired_payload, empty.reported_payload), (Some(Vec::new()), None));
}

#[test]
fn a_malformed_message_is_refused_with_the_reason() {
    for (hex, error) in [
        ("08", ProtobufError::Short),
        ("12 05 7b", ProtobufError::Short),
        ("51 01 02", ProtobufError::Short),
        ("12 ff ff ff ff ff ff ff ff ff 01", ProtobufError::Short),
        ("08 ff ff ff ff ff ff ff ff ff 02", ProtobufError::Varint),
        ("00 01", ProtobufError::Key(0)),
        ("0b", ProtobufError::Key(11)),
        ("80 80 80 80 10 01", ProtobufError::Key(1 << 32)),
        ("0a 01 00", ProtobufError::Kind(1)),
        ("10 01", ProtobufError::Kind(2)),
    ] {
        assert_eq!(ReportedPatch::decode(&bytes(hex)), Err(error), "{hex}");
    }
    assert_eq!(Probe::decode(&[0x0a, 1, 0xff]), Err(ProtobufError::Text(1)));
    assert_eq!(Exec::decode(&[0x0a, 1, 0]), Err(ProtobufError::Id { field: 1, length: 1 }));
    assert_eq!(Exec::decode(&[]), Err(ProtobufError::Missing(1)));
    assert_eq!(ProbeAck::decode(&[]), Err(ProtobufError::Missing(1)));
    let large = vec![0; MAX_MESSAGE_BYTES + 1];
    assert_eq!(Birth::decode(&large), Err(ProtobufError::TooLarge(MAX_MESSAGE_BYTES + 1)));
}

#[test]
fn every_type_belongs_to_the_topic_of_its_feature() {
    for kind in MessageType::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        let topic = Topic {
            device: "dev1".parse().unwrap(),
            direction: kind.direction(),
            feature: kind.feature(),
        };
        assert_eq!(topic.to_string().parse(), Ok(topic));
    }
    for unknown in ["birth", "birth:2", "birth:1:1", "birth:", ":1", "Birth:1", ""] {
        assert_eq!(unknown.parse::<MessageType>(), Err(UnknownType), "{unknown}");
    }
}

#[test]
fn topics_of_other_forms_are_refused() {
    for topic in [
        "ih/dev1/dev/telemetry",
        "ih/dev1/srv/twin/",
        "ih/dev1/srv",
        "ih/dev1/other/twin",
        "ih//srv/twin",
        "ih/+/srv/twin",
        "devices/dev1/messages/events/",
        "IH/dev1/srv/twin",
    ] {
        assert!(topic.parse::<Topic>().is_err(), "{topic}");
    }
    let id = |text: &str| text.parse::<DeviceId>().unwrap();
    assert_eq!(Topic::filter(&id("dev1")), "ih/dev1/dev/#");
    assert!(Topic::can_contain(&id("dev1")) && !Topic::can_contain(&id("a#b")));
}

#[test]
fn user_names_of_the_sdks_are_parsed() {
    let nonce: CorrelationId = "6f1c2b3a4d5e4f60817293a4b5c6d7e8".parse().unwrap();
    let c = format!("correlationId={nonce}&clientVersion=c%2F2.0.0");
    let user: Mqtt5UserName = c.parse().unwrap();
    assert_eq!((user.nonce, user.client_version.as_deref()), (nonce, Some("c/2.0.0")));
    assert_eq!(user.to_string(), c);
    // The .NET SDK prints upper case, and the order is free.
    let net = "clientVersion=csharp%2F2.0.0&correlationId=6F1C2B3A4D5E4F60817293A4B5C6D7E8&x=1";
    assert_eq!(net.parse::<Mqtt5UserName>().unwrap().nonce, nonce);
    assert_eq!("clientVersion=c".parse::<Mqtt5UserName>(), Err(Mqtt5UserNameError::NoNonce));
    assert_eq!("".parse::<Mqtt5UserName>(), Err(Mqtt5UserNameError::NoNonce));
    for nonce in
        ["", "6f1c", "+f1c2b3a4d5e4f60817293a4b5c6d7e8", "zz1c2b3a4d5e4f60817293a4b5c6d7e8"]
    {
        let text = format!("correlationId={nonce}");
        assert_eq!(text.parse::<Mqtt5UserName>(), Err(CorrelationIdError.into()), "{text}");
    }
}

#[test]
fn a_nonce_is_a_uuid_of_version_4() {
    let nonce = CorrelationId::from_random([0xff; 16]);
    assert_eq!(nonce.to_string(), "ffffffffffff4fffbfffffffffffffff");
}

#[test]
fn an_unknown_profile_is_refused_by_its_name() {
    for text in ["mqttV5", "mqttv5", "MqttV5"] {
        assert_eq!(text.parse(), Ok(ConnectionProfile::MqttV5));
    }
    assert_eq!("classic".parse(), Ok(ConnectionProfile::default()));
    let error = "mqttV6".parse::<ConnectionProfile>().unwrap_err();
    let text = "unknown connection profile `mqttV6`; expected `classic` or `mqttV5`";
    assert_eq!(error.to_string(), text);
    assert!("".parse::<ConnectionProfile>().is_err());
}

#[test]
fn reason_codes_have_their_names() {
    assert_eq!(ReasonCode::NOT_AUTHORIZED.to_string(), "0x87 (not authorized)");
    assert_eq!(ReasonCode(0xff).to_string(), "0xff");
    assert!(ReasonCode::NOT_AUTHORIZED.is_error());
    assert!(!ReasonCode::NO_MATCHING_SUBSCRIBERS.is_error());
}

#[test]
fn telemetry_of_both_sdks_has_the_same_properties() {
    let user = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let c = TelemetryFields {
        content_type: Some("application/json".into()),
        correlation: None,
        user: user(&[
            ("type", "telemetry:1"),
            ("content-type", "application/json"),
            ("$.mid", "m1"),
            ("$.cid", "c1"),
            ("level", "high"),
        ]),
    };
    let net = TelemetryFields {
        content_type: Some("application/json".into()),
        correlation: Some(b"c1".to_vec()),
        user: user(&[("$.mid", "m1"), ("level", "high")]),
    };
    for fields in [c, net] {
        let properties = fields.to_properties();
        assert_eq!(properties.iter().count(), 4);
        for (name, value) in
            [("$.ct", "application/json"), ("$.mid", "m1"), ("$.cid", "c1"), ("level", "high")]
        {
            assert_eq!(properties.get(name), Some(value));
        }
    }
}

fn id() -> impl Strategy<Value = CorrelationId> {
    any::<[u8; 16]>().prop_map(CorrelationId::from)
}

fn check_round_trip<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
    assert_eq!(&M::decode(&message.encode()).unwrap(), message);
}

proptest! {
    #[test]
    fn every_presence_message_survives_a_round_trip(
        versions: (u64, u64),
        flags: (bool, bool, bool),
    ) {
        let (desired_version, reported_version) = versions;
        let (session_present, push_desired, push_reported) = flags;
        check_round_trip(&BirthAck { desired_version, reported_version });
        let birth = Birth {
            session_present, reported_version, desired_version, push_desired, push_reported,
        };
        check_round_trip(&birth);
    }

    #[test]
    fn every_twin_message_survives_a_round_trip(
        versions: (u64, u64),
        payloads: (Option<Vec<u8>>, Option<Vec<u8>>),
        number in 0_usize..6,
    ) {
        let sections = [Sections::Desired, Sections::Reported, Sections::Both][number % 3];
        check_round_trip(&TwinGet {
            sections, if_not_match_desired: versions.0, if_not_match_reported: versions.1,
        });
        let outcome = [
            PatchOutcome::Unspecified, PatchOutcome::Ok, PatchOutcome::VersionMismatch,
            PatchOutcome::PayloadInvalid, PatchOutcome::PayloadTooLarge,
            PatchOutcome::InternalError,
        ][number];
        check_round_trip(&ReportedPatchResponse { outcome, version: versions.0 });
        let payload = payloads.0.clone().unwrap_or_default();
        let patch = ReportedPatch { if_match: versions.0, payload: payload.clone() };
        check_round_trip(&patch);
        check_round_trip(&DesiredUpdate { version: versions.1, payload });
        let section =
            |(version, payload)| Option::map(payload, |payload| TwinSection { version, payload });
        check_round_trip(&TwinPush {
            desired: section((versions.0, payloads.0.clone())),
            reported: section((versions.1, payloads.1.clone())),
        });
        check_round_trip(&TwinGetResponse {
            desired_version: versions.0,
            reported_version: versions.1,
            desired_payload: payloads.0,
            reported_payload: payloads.1,
        });
    }

    #[test]
    fn every_method_message_survives_a_round_trip(
        ready_id in id(),
        bytes: Vec<u8>,
        time: Option<(i64, i32)>,
        status: i32,
        probe: (String, u32),
        number in 0_usize..4,
    ) {
        let (method_name, response_timeout_seconds) = probe;
        check_round_trip(&Probe { method_name, response_timeout_seconds });
        check_round_trip(&ProbeAck::Ready(ready_id));
        let rejection = [
            Rejection::Unspecified, Rejection::MethodNotFound, Rejection::InsufficientTime,
            Rejection::DeviceBusy,
        ][number];
        check_round_trip(&ProbeAck::Rejected(rejection));
        let exec_start = time.map(|(seconds, nanos)| Timestamp { seconds, nanos });
        check_round_trip(&Exec { ready_id, params: bytes.clone(), exec_start });
        check_round_trip(&ResultMessage { status, body: bytes });
        let reason = [
            AbandonReason::Unspecified, AbandonReason::ReadyWaitTimeout,
            AbandonReason::InsufficientTime,
        ][number % 3];
        check_round_trip(&Abandon { ready_id, reason });
    }

    #[test]
    fn telemetry_keeps_every_property(pairs: Vec<(String, String)>, kind: Option<String>) {
        // The content type is unique, and so is a reserved name.
        let own = |name: &str| name == MessageProperties::CONTENT_TYPE;
        let mut properties = MessageProperties::default();
        if let Some(kind) = &kind {
            properties = properties.with(MessageProperties::CONTENT_TYPE, kind);
        }
        for (name, value) in pairs.iter().filter(|(name, _)| !own(name)) {
            properties = properties.with(name, value);
        }
        properties = properties.with("type", "telemetry:1").with("content-type", "x");
        prop_assert_eq!(TelemetryFields::new(&properties).to_properties(), properties);
    }

    #[test]
    fn every_user_name_survives_a_round_trip(nonce in id(), client_version: Option<String>) {
        let user = Mqtt5UserName { nonce, client_version };
        prop_assert_eq!(user.to_string().parse::<Mqtt5UserName>().unwrap(), user);
    }
}
