//! Messages of plugins: their topics, and messages that the hub does not accept.

use rumqttc::v5::mqttbytes::v5::{PubAck as PubAck5, PubAckReason};

use super::*;

fn message(id: u16, body: &str) -> Packet {
    let topic = "devices/d1/messages/events/level=high";
    let mut publish = Publish::new(topic, rumqttc::QoS::AtLeastOnce, body);
    publish.pkid = id;
    Packet::Publish(publish)
}

fn published(translated: &[Translated]) -> &Publish5 {
    match translated {
        [Translated::ToHub(Packet5::Publish(publish))] => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_has_the_configured_topic() {
    for (topic, expected) in
        [(None, "ih/d1/srv/telemetry"), (Some("factory/d1/alerts"), "factory/d1/alerts")]
    {
        let mut translator = admitted(Fixed::with(1));
        translator.connection.telemetry_topic = topic.map(str::to_owned);
        let sent = translator.outgoing(message(3, "x"));
        let publish = published(&sent);
        assert_eq!(publish.topic, expected.as_bytes());
        assert_eq!((publish.pkid, publish.qos), (3, QoS::AtLeastOnce));
        let user = &publish.properties.as_ref().unwrap().user_properties;
        assert!(user.contains(&("level".to_owned(), "high".to_owned())));
    }
}

#[test]
fn a_message_that_the_hub_does_not_accept_is_refused_and_the_connection_goes_on() {
    let mut translator = admitted(Fixed::with(1));
    for (reason, code) in [
        (PubAckReason::NotAuthorized, ReasonCode::NOT_AUTHORIZED),
        (PubAckReason::TopicNameInvalid, ReasonCode::TOPIC_NAME_INVALID),
        (PubAckReason::ImplementationSpecificError, ReasonCode::IMPLEMENTATION_ERROR),
        (PubAckReason::PayloadFormatInvalid, ReasonCode::PAYLOAD_FORMAT_INVALID),
    ] {
        let ack = PubAck5 { pkid: 3, reason, properties: None };
        let refused = Translated::Refused { id: 3, reason: code };
        assert_eq!(translator.incoming(Packet5::PubAck(ack)).unwrap(), [refused]);
    }
    let throttled = PubAck5 { pkid: 3, reason: PubAckReason::QuotaExceeded, properties: None };
    assert!(translator.incoming(Packet5::PubAck(throttled)).is_err());
}

#[test]
fn a_message_above_the_size_that_the_hub_accepts_is_not_sent() {
    let mut translator = admitted(Fixed::with(1));
    translator.connection.max_packet_bytes = Some(200);
    published(&translator.outgoing(message(3, "x")));
    let refused = Translated::Refused { id: 4, reason: ReasonCode::PACKET_TOO_LARGE };
    assert_eq!(translator.outgoing(message(4, &"x".repeat(200))), [refused]);
}
