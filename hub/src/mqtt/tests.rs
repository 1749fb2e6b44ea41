//! Tests of the codec against the standard, against rumqttc as an oracle, and against random
//! bytes.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rumqttc::mqttbytes::v4 as oracle;

use super::*;

fn read(bytes: &[u8]) -> Result<Option<Inbound>, Malformed> {
    decode(&mut BytesMut::from(bytes))
}

fn connect(flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 60];
    body.extend_from_slice(rest);
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.append(&mut body);
    packet
}

#[test]
fn packets_that_violate_the_standard_are_refused() {
    let id = [0, 1, b'd'];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("reserved CONNECT flag", connect(0b11, &id)),
        ("password without user name", connect(0b0100_0010, &[0, 1, b'd', 0, 1, b'p'])),
        ("will QoS without will", connect(0b0000_1010, &id)),
        ("will retain without will", connect(0b0010_0010, &id)),
        ("will QoS 3", connect(0b0001_1110, &id)),
        ("bytes after CONNECT", connect(2, &[0, 1, b'd', 9])),
        ("truncated client id", connect(2, &[0, 9, b'd'])),
        ("client id with U+0000", connect(2, &[0, 1, 0])),
        ("client id not UTF-8", connect(2, &[0, 1, 0xff])),
        ("another protocol name", vec![0x10, 7, 0, 4, b'H', b'T', b'T', b'P', 4]),
        ("protocol name without a level", vec![0x10, 6, 0, 4, b'M', b'Q', b'T', b'T']),
        ("CONNECT with flags", vec![0x11, 0]),
        ("PUBLISH at QoS 2", vec![0x34, 5, 0, 1, b't', 0, 1]),
        ("PUBLISH at QoS 3", vec![0x36, 5, 0, 1, b't', 0, 1]),
        ("duplicate at QoS 0", vec![0x38, 3, 0, 1, b't']),
        ("PUBLISH with packet id 0", vec![0x32, 5, 0, 1, b't', 0, 0]),
        ("PUBLISH with an empty topic", vec![0x30, 2, 0, 0]),
        ("PUBLISH with a wildcard", vec![0x30, 3, 0, 1, b'#']),
        ("PUBLISH with + in the topic", vec![0x30, 4, 0, 2, b'a', b'+']),
        ("PUBLISH with a topic longer than the packet", vec![0x30, 3, 0, 9, b't']),
        ("PUBACK with packet id 0", vec![0x40, 2, 0, 0]),
        ("PUBACK of three bytes", vec![0x40, 3, 0, 1, 0]),
        ("PUBREC", vec![0x50, 2, 0, 1]),
        ("SUBSCRIBE without its flag", vec![0x80, 6, 0, 1, 0, 1, b't', 0]),
        ("SUBSCRIBE without a filter", vec![0x82, 2, 0, 1]),
        ("SUBSCRIBE with an empty filter", vec![0x82, 5, 0, 1, 0, 0, 0]),
        ("SUBSCRIBE at QoS 3", vec![0x82, 6, 0, 1, 0, 1, b't', 3]),
        ("SUBSCRIBE without a QoS", vec![0x82, 5, 0, 1, 0, 1, b't']),
        ("UNSUBSCRIBE without a filter", vec![0xa2, 2, 0, 1]),
        ("PINGREQ with a body", vec![0xc0, 1, 0]),
        ("DISCONNECT with flags", vec![0xe1, 0]),
        ("CONNACK from a device", vec![0x20, 2, 0, 0]),
        ("reserved type", vec![0xf0, 0]),
        ("length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 1]),
        ("length with a redundant byte", vec![0xc0, 0x80, 0]),
        ("packet above the limit", vec![0x30, 0xff, 0xff, 0x7f]),
    ];
    for (case, bytes) in cases {
        assert!(read(&bytes).is_err(), "{case}: {:?}", read(&bytes));
    }
}

#[test]
fn a_connect_of_another_version_is_recognised_by_its_level() {
    for (bytes, level) in [
        (&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 0][..], 5),
        (&[0x10, 14, 0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, 2, 0, 60, 0, 0][..], 3),
        (&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 0x84, 2, 0, 60, 0, 0][..], 0x84),
    ] {
        let mut buffer = BytesMut::from(bytes);
        assert_eq!(decode(&mut buffer), Ok(Some(Inbound::OtherVersion { level })));
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_packet_can_arrive_byte_by_byte() {
    let packet = connect(0b1100_0010, &[0, 1, b'd', 0, 1, b'u', 0, 1, b'p']);
    let mut buffer = BytesMut::new();
    for byte in &packet[..packet.len() - 1] {
        buffer.extend_from_slice(&[*byte]);
        assert_eq!(decode(&mut buffer), Ok(None));
    }
    buffer.extend_from_slice(&packet[packet.len() - 1..]);
    let Ok(Some(Inbound::Connect(read))) = decode(&mut buffer) else { panic!("no CONNECT") };
    assert_eq!((read.client_id.as_str(), read.user_name.as_deref()), ("d", Some("u")));
    assert!(!format!("{read:?}").contains("password"));
}

/// Returns the bytes of a packet that the codec of rumqttc writes.
fn written(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    write(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn the_hub_decodes_the_packets_of_the_oracle(
        topic in "[a-z$/?=%0-9]{1,60}", payload: Vec<u8>, id in 1..u16::MAX,
        client in "[a-z0-9]{1,20}", clean: bool, keep_alive: u16,
    ) {
        let mut publish = oracle::Publish::new(&topic, rumqttc::QoS::AtLeastOnce, payload.clone());
        publish.pkid = id;
        let mut bytes = written(|b| { publish.write(b).unwrap(); });
        let expected = Publish {
            topic, id: Some(id), duplicate: false, retain: false, payload: Bytes::from(payload),
        };
        prop_assert_eq!(decode(&mut bytes), Ok(Some(Inbound::Publish(expected))));
        prop_assert!(bytes.is_empty());

        let mut connect = oracle::Connect::new(client.clone());
        connect.clean_session = clean;
        connect.keep_alive = keep_alive;
        connect.login = Some(oracle::Login { username: "u".into(), password: "p".into() });
        let mut bytes = written(|b| { connect.write(b).unwrap(); });
        let Ok(Some(Inbound::Connect(read))) = decode(&mut bytes) else { panic!("no CONNECT") };
        prop_assert_eq!(read.client_id, client);
        prop_assert_eq!(read.keep_alive_seconds, keep_alive);
        prop_assert_eq!(read.clean_session, clean);
        prop_assert_eq!(read.password.as_deref(), Some("p"));
    }

    #[test]
    fn the_oracle_decodes_the_packets_of_the_hub(
        topic in "[a-z$/?=%0-9]{1,60}", payload: Vec<u8>, id in 1..u16::MAX,
        codes in proptest::collection::vec(0..2u8, 1..5),
    ) {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&Outbound::Publish { topic: &topic, payload: &payload }.encode());
        bytes.extend_from_slice(&Outbound::SubAck { id, codes: &codes }.encode());
        bytes.extend_from_slice(&Outbound::PubAck(id).encode());
        bytes.extend_from_slice(&Outbound::PingResp.encode());
        let mut next = || oracle::Packet::read(&mut bytes, MAX_PACKET_BYTES).unwrap();
        let oracle::Packet::Publish(publish) = next() else { panic!("no PUBLISH") };
        prop_assert_eq!(publish.topic, topic);
        prop_assert_eq!(&publish.payload[..], &payload[..]);
        let oracle::Packet::SubAck(ack) = next() else { panic!("no SUBACK") };
        prop_assert_eq!((ack.pkid, ack.return_codes.len()), (id, codes.len()));
        let oracle::Packet::PubAck(ack) = next() else { panic!("no PUBACK") };
        prop_assert_eq!(ack.pkid, id);
        prop_assert!(matches!(next(), oracle::Packet::PingResp));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode(&mut buffer) {}
    }
}
