//! The codec of MQTT 5 packets: rumqttc's, except for the DISCONNECT of the hub.

use bytes::{Buf as _, BytesMut};
use protocol::mqtt5::ReasonCode;
use protocol::topic::MAX_PACKET_BYTES;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Codec, Disconnect, DisconnectReasonCode, Packet, PubAckReason};
use tokio_util::codec::{Decoder, Encoder};

/// The maximum size of an incoming packet, in bytes, which the CONNECT announces. A twin has two
/// sections of 32 KiB as IoT Hub counts them, whose JSON can be several times larger.
pub(super) const MAX_INCOMING_BYTES: u32 = 4 * 1024 * 1024;

/// The first byte of a DISCONNECT.
const DISCONNECT: u8 = 0xe0;

/// The codec of one connection.
pub(in crate::connection) struct Packets5(Codec);

impl Default for Packets5 {
    fn default() -> Packets5 {
        let max_outgoing_size = u32::try_from(2 * MAX_PACKET_BYTES).ok();
        Packets5(Codec { max_incoming_size: Some(MAX_INCOMING_BYTES), max_outgoing_size })
    }
}

impl Decoder for Packets5 {
    type Item = Packet;
    type Error = Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, Error> {
        // The length of the properties and the reason can be left out (MQTT 5, section
        // 3.14.2). rumqttc 0.25 drops such a packet, and with it the reason.
        if let [DISCONNECT, length @ 0..=1, rest @ ..] = &bytes[..]
            && rest.len() >= usize::from(*length)
        {
            let reason = rest.first().filter(|_| *length == 1).copied().unwrap_or(0);
            let packet = Disconnect::new(reason.try_into()?);
            bytes.advance(2 + usize::from(*length));
            return Ok(Some(Packet::Disconnect(packet)));
        }
        self.0.decode(bytes)
    }
}

impl Encoder<Packet> for Packets5 {
    type Error = Error;

    fn encode(&mut self, packet: Packet, bytes: &mut BytesMut) -> Result<(), Error> {
        self.0.encode(packet, bytes)
    }
}

/// Returns the reason code of a PUBACK.
pub(super) fn reason_of(reason: PubAckReason) -> ReasonCode {
    match reason {
        PubAckReason::Success => ReasonCode::SUCCESS,
        PubAckReason::NoMatchingSubscribers => ReasonCode::NO_MATCHING_SUBSCRIBERS,
        PubAckReason::UnspecifiedError => ReasonCode::UNSPECIFIED,
        PubAckReason::ImplementationSpecificError => ReasonCode::IMPLEMENTATION_ERROR,
        PubAckReason::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
        PubAckReason::TopicNameInvalid => ReasonCode::TOPIC_NAME_INVALID,
        PubAckReason::PacketIdentifierInUse => ReasonCode::PACKET_ID_IN_USE,
        PubAckReason::QuotaExceeded => ReasonCode::QUOTA_EXCEEDED,
        PubAckReason::PayloadFormatInvalid => ReasonCode::PAYLOAD_FORMAT_INVALID,
    }
}

/// Returns the DISCONNECT of the host.
pub(super) fn disconnect() -> Packet {
    Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection))
}
