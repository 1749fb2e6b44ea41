//! The codec of MQTT packets: rumqttc's, except that an oversized packet does not end the
//! connection.
//!
//! rumqttc 0.25 returns an error for an incoming packet over its size limit. That would end
//! the connection, and the hub would send the same packet again on the next one. This codec
//! skips and logs such a packet instead.

use bytes::{Buf as _, BytesMut};
use protocol::topic::MAX_PACKET_BYTES;
use rumqttc::{Codec, Packet, mqttbytes};
use tokio_util::codec::{Decoder, Encoder};
use tracing::warn;

/// The maximum size of an incoming packet, in bytes. A twin has two sections of 32 KiB as
/// IoT Hub counts them. Their JSON text can be several times larger, because IoT Hub does not
/// count control characters, which take six bytes each in JSON.
const MAX_INCOMING_BYTES: usize = 4 * 1024 * 1024;

/// The codec of one connection.
pub(super) struct Packets {
    codec: Codec,
    /// The number of bytes of an oversized packet that remain to be skipped.
    to_skip: usize,
}

impl Default for Packets {
    fn default() -> Packets {
        let (max_incoming_size, max_outgoing_size) = (MAX_INCOMING_BYTES, MAX_PACKET_BYTES);
        Packets { codec: Codec { max_incoming_size, max_outgoing_size }, to_skip: 0 }
    }
}

impl Decoder for Packets {
    type Item = Packet;
    type Error = mqttbytes::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, mqttbytes::Error> {
        loop {
            let available = self.to_skip.min(bytes.len());
            bytes.advance(available);
            self.to_skip -= available;
            if self.to_skip > 0 {
                return Ok(None);
            }
            match self.codec.decode(bytes) {
                Err(mqttbytes::Error::PayloadSizeLimitExceeded(length)) => {
                    self.to_skip = header_bytes(length) + length;
                    warn!(
                        bytes = self.to_skip,
                        max_bytes = MAX_INCOMING_BYTES,
                        "packet from the hub skipped: it is too large"
                    );
                }
                decoded => return decoded,
            }
        }
    }
}

impl Encoder<Packet> for Packets {
    type Error = mqttbytes::Error;

    fn encode(&mut self, packet: Packet, bytes: &mut BytesMut) -> Result<(), mqttbytes::Error> {
        self.codec.encode(packet, bytes)
    }
}

/// Returns the length of a fixed header in bytes (MQTT 3.1.1, 2.2): one byte for the packet
/// type, then the remaining length with 7 bits per byte.
fn header_bytes(remaining: usize) -> usize {
    1 + match remaining {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::{Publish, QoS};

    use super::*;

    fn publish(body_bytes: usize) -> Packet {
        Packet::Publish(Publish::new("t", QoS::AtMostOnce, vec![b'x'; body_bytes]))
    }

    #[test]
    fn a_packet_over_the_limit_is_skipped_and_the_next_one_is_read() {
        let mut sender = Codec { max_incoming_size: 0, max_outgoing_size: usize::MAX };
        let mut wire = BytesMut::new();
        sender.encode(publish(MAX_INCOMING_BYTES + 1), &mut wire).unwrap();
        sender.encode(publish(5), &mut wire).unwrap();

        let (mut packets, mut arrived, mut read) =
            (Packets::default(), BytesMut::new(), Vec::new());
        for chunk in wire.chunks(100_000) {
            arrived.extend_from_slice(chunk);
            read.extend(packets.decode(&mut arrived).unwrap());
        }
        assert_eq!(read, [publish(5)]);
        assert!(arrived.is_empty());
    }

    #[test]
    fn the_length_of_a_header_follows_from_that_of_its_packet() {
        let mut sender = Codec { max_incoming_size: 0, max_outgoing_size: usize::MAX };
        for body_bytes in [0, 124, 125, 16_380, 16_381, 2_097_148, 2_097_149] {
            let mut wire = BytesMut::new();
            sender.encode(publish(body_bytes), &mut wire).unwrap();
            // The topic takes three bytes: its length in two, then one character.
            let remaining = 3 + body_bytes;
            assert_eq!(header_bytes(remaining) + remaining, wire.len());
        }
    }
}
