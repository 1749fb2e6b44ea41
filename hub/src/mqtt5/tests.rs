//! Tests of the codec against packets that were encoded by hand, against rumqttc as an oracle,
//! and against random bytes.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use protocol::mqtt5::{Birth, BirthAck, Probe};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as oracle;

use super::*;
use crate::mqtt::MAX_PACKET_BYTES;

const NONCE: &str = "6f1c2b3a4d5e4f60817293a4b5c6d7e8";

fn read(bytes: &[u8]) -> Result<Option<Mqtt5Inbound>, Malformed> {
    decode(&mut BytesMut::from(bytes))
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_connect_of_the_c_sdk_is_decoded() {
    let packet = bytes(
        "10 5e 00 04 4d 51 54 54 05 80 00 1e 05 11 00 00 0e 10 00 04 64 65 76 31 00 46 63 6f 72
         72 65 6c 61 74 69 6f 6e 49 64 3d 36 66 31 63 32 62 33 61 34 64 35 65 34 66 36 30 38 31 37
         32 39 33 61 34 62 35 63 36 64 37 65 38 26 63 6c 69 65 6e 74 56 65 72 73 69 6f 6e 3d 63 25
         32 46 32 2e 30 2e 30",
    );
    let Ok(Some(Mqtt5Inbound::Connect(connect))) = read(&packet) else { panic!("no CONNECT") };
    let user = format!("correlationId={NONCE}&clientVersion=c%2F2.0.0");
    let expected = Mqtt5Connect {
        clean_start: false,
        keep_alive_seconds: 30,
        session_expiry: 3600,
        receive_maximum: u16::MAX,
        max_packet_bytes: None,
        client_id: "dev1".to_owned(),
        user_name: Some(user),
        password: None,
        will: None,
    };
    assert_eq!(*connect, expected);
}

#[test]
fn the_birth_handshake_has_the_bytes_of_the_reference() {
    let birth = bytes(
        "30 42 00 14 69 68 2f 64 65 76 31 2f 73 72 76 2f 70 72 65 73 65 6e 63 65 23 09 00 10 6f 1c
         2b 3a 4d 5e 4f 60 81 72 93 a4 b5 c6 d7 e8 26 00 04 74 79 70 65 00 07 62 69 72 74 68 3a 31
         08 01 50 04 58 07 60 01",
    );
    let Ok(Some(Mqtt5Inbound::Publish(message))) = read(&birth) else { panic!("no PUBLISH") };
    assert_eq!(message.topic, "ih/dev1/srv/presence");
    assert_eq!(message.user_property("type"), Some("birth:1"));
    let nonce: CorrelationId = NONCE.parse().unwrap();
    assert_eq!(message.correlation.as_deref(), Some(&nonce.as_bytes()[..]));
    assert_eq!(Birth::decode(&message.payload).unwrap().desired_version, 7);

    let ack = BirthAck { desired_version: 9, reported_version: 4 };
    let device = "dev1".parse().unwrap();
    let ack = Mqtt5Publish::to_device(&device, MessageType::BirthAck, nonce, &ack);
    let expected = bytes(
        "30 42 00 14 69 68 2f 64 65 76 31 2f 64 65 76 2f 70 72 65 73 65 6e 63 65 27 09 00 10 6f 1c
         2b 3a 4d 5e 4f 60 81 72 93 a4 b5 c6 d7 e8 26 00 04 74 79 70 65 00 0b 62 69 72 74 68 2d 61
         63 6b 3a 31 50 09 58 04",
    );
    assert_eq!(&Mqtt5Outbound::Publish(&ack).encode()[..], expected);
}

#[test]
fn a_probe_has_the_bytes_of_the_reference() {
    let probe = Probe { method_name: "reboot".to_owned(), response_timeout_seconds: 30 };
    let request_id = "00112233445546678899aabbccddeeff".parse().unwrap();
    let device = "dev1".parse().unwrap();
    let probe = Mqtt5Publish::to_device(&device, MessageType::Probe, request_id, &probe);
    let probe = Mqtt5Publish { id: Some(1), expiry: Some(10), ..probe };
    let expected = bytes(
        "32 61 00 13 69 68 2f 64 65 76 31 2f 64 65 76 2f 6d 65 74 68 6f 64 73 00 01 3f 02 00 00 00
         0a 03 00 14 61 70 70 6c 69 63 61 74 69 6f 6e 2f 70 72 6f 74 6f 62 75 66 09 00 10 00 11 22
         33 44 55 46 67 88 99 aa bb cc dd ee ff 26 00 04 74 79 70 65 00 07 70 72 6f 62 65 3a 31 0a
         06 72 65 62 6f 6f 74 10 1e",
    );
    assert_eq!(&Mqtt5Outbound::Publish(&probe).encode()[..], expected);
}

#[test]
fn packets_that_violate_the_standard_have_a_reason_code() {
    let connect = |level: u8, flags: u8, rest: &[u8]| {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 60];
        body.extend_from_slice(rest);
        [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let malformed = ReasonCode::MALFORMED_PACKET;
    let protocol = ReasonCode::PROTOCOL_ERROR;
    for (case, packet, reason) in [
        ("reserved CONNECT flag", connect(5, 1, &[0, 0, 0]), malformed),
        ("another level", connect(4, 2, &[0, 0]), malformed),
        ("will QoS 2", connect(5, 0x14, &[0, 0, 0]), ReasonCode::QOS_NOT_SUPPORTED),
        ("receive maximum 0", connect(5, 2, &[3, 0x21, 0, 0, 0, 0]), protocol),
        ("property of a PUBLISH in CONNECT", connect(5, 2, &[2, 1, 0, 0, 0]), malformed),
        ("repeated expiry", connect(5, 2, &[10, 17, 0, 0, 0, 1, 17, 0, 0, 0, 1, 0, 0]), protocol),
        ("truncated properties", connect(5, 2, &[5, 17, 0]), malformed),
        ("PUBLISH at QoS 2", vec![0x34, 6, 0, 1, b't', 0, 1, 0], ReasonCode::QOS_NOT_SUPPORTED),
        ("PUBREC", vec![0x50, 2, 0, 1], ReasonCode::QOS_NOT_SUPPORTED),
        ("wildcard", vec![0x30, 4, 0, 1, b'#', 0], ReasonCode::TOPIC_NAME_INVALID),
        ("alias", vec![0x30, 7, 0, 1, b't', 3, 0x23, 0, 1], ReasonCode::TOPIC_ALIAS_INVALID),
        ("packet id 0", vec![0x32, 6, 0, 1, b't', 0, 0, 0], malformed),
        ("SUBSCRIBE without a filter", vec![0x82, 3, 0, 1, 0], malformed),
        ("reserved options", vec![0x82, 7, 0, 1, 0, 0, 1, b't', 0x41], malformed),
        ("AUTH", vec![0xf0, 0], protocol),
        ("above the limit", vec![0x30, 0xff, 0xff, 0x7f], ReasonCode::PACKET_TOO_LARGE),
    ] {
        let refused = read(&packet).expect_err(case);
        assert_eq!(reason_of(&refused), reason, "{case}: {refused}");
    }
}

#[test]
fn an_acknowledgement_can_leave_out_its_reason() {
    for (packet, expected) in [
        (&[0x40, 2, 0, 7][..], Mqtt5Inbound::PubAck(7)),
        (&[0x40, 3, 0, 7, 0x10], Mqtt5Inbound::PubAck(7)),
        (&[0x40, 4, 0, 7, 0x10, 0], Mqtt5Inbound::PubAck(7)),
        (
            &[0xe0, 0],
            Mqtt5Inbound::Disconnect { reason: ReasonCode::SUCCESS, session_expiry: None },
        ),
        (
            &[0xe0, 7, 4, 5, 17, 0, 0, 0, 9],
            Mqtt5Inbound::Disconnect {
                reason: ReasonCode::DISCONNECT_WITH_WILL,
                session_expiry: Some(9),
            },
        ),
    ] {
        assert_eq!(read(packet), Ok(Some(expected)));
    }
}

proptest! {
    #[test]
    fn the_hub_decodes_the_packets_of_the_oracle(
        topic in "[a-z/]{1,60}", payload: Vec<u8>, id in 1..u16::MAX, expiry: Option<u32>,
        correlation: Option<Vec<u8>>, user: Vec<(String, String)>,
    ) {
        // MQTT allows neither U+0000 nor texts of more than 64 KiB.
        let user: Vec<_> =
            user.into_iter().map(|(a, b)| (a.replace('\0', ""), b.replace('\0', ""))).collect();
        let properties = oracle::PublishProperties {
            message_expiry_interval: expiry,
            correlation_data: correlation.clone().map(Bytes::from),
            user_properties: user.clone(),
            ..oracle::PublishProperties::default()
        };
        let mut publish =
            oracle::Publish::new(&topic, QoS::AtLeastOnce, payload.clone(), Some(properties));
        publish.pkid = id;
        let mut bytes = BytesMut::new();
        oracle::Packet::Publish(publish).write(&mut bytes, None).unwrap();
        let expected = Mqtt5Publish {
            topic,
            id: Some(id),
            payload: payload.into(),
            expiry,
            correlation: correlation.map(Bytes::from),
            user,
            ..Mqtt5Publish::default()
        };
        prop_assert_eq!(decode(&mut bytes), Ok(Some(Mqtt5Inbound::Publish(expected.clone()))));
        prop_assert!(bytes.is_empty());

        // The other direction.
        let mut bytes = BytesMut::from(&Mqtt5Outbound::Publish(&expected).encode()[..]);
        bytes.extend_from_slice(
            &Mqtt5Outbound::PubAck { id, reason: ReasonCode::NOT_AUTHORIZED }.encode(),
        );
        let mut next = || oracle::Packet::read(&mut bytes, Some(MAX_PACKET_BYTES as u32)).unwrap();
        let oracle::Packet::Publish(publish) = next() else { panic!("no PUBLISH") };
        prop_assert_eq!((&publish.payload, publish.pkid), (&expected.payload, id));
        let properties = publish.properties.unwrap_or_default();
        prop_assert_eq!(properties.user_properties, expected.user);
        prop_assert_eq!(properties.correlation_data, expected.correlation);
        let oracle::Packet::PubAck(ack) = next() else { panic!("no PUBACK") };
        prop_assert_eq!(ack.reason, oracle::PubAckReason::NotAuthorized);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode(&mut buffer) {}
    }
}
