//! Packet encoder.

use bytes::{BufMut, Bytes, BytesMut};

use super::Outbound;

impl Outbound<'_> {
    /// Encodes the packet. The hub's topics and payloads never exceed the maximum packet
    /// size.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Outbound::ConnAck { session_present, code } => {
                bytes.put_slice(&[0x20, 2, u8::from(*session_present), *code as u8]);
            }
            Outbound::Publish { topic, payload } => {
                bytes.reserve(topic.len() + payload.len() + 7);
                bytes.put_u8(0x30);
                put_length(&mut bytes, 2 + topic.len() + payload.len());
                put_text(&mut bytes, topic);
                bytes.put_slice(payload);
            }
            Outbound::PublishAcknowledged { id, duplicate, topic, payload } => {
                bytes.reserve(topic.len() + payload.len() + 9);
                bytes.put_u8(if *duplicate { 0x3a } else { 0x32 });
                put_length(&mut bytes, 4 + topic.len() + payload.len());
                put_text(&mut bytes, topic);
                bytes.put_u16(*id);
                bytes.put_slice(payload);
            }
            Outbound::PubAck(id) => {
                bytes.put_slice(&[0x40, 2]);
                bytes.put_u16(*id);
            }
            Outbound::SubAck { id, codes } => {
                bytes.put_u8(0x90);
                put_length(&mut bytes, 2 + codes.len());
                bytes.put_u16(*id);
                bytes.put_slice(codes);
            }
            Outbound::UnsubAck(id) => {
                bytes.put_slice(&[0xb0, 2]);
                bytes.put_u16(*id);
            }
            Outbound::PingResp => bytes.put_slice(&[0xd0, 0]),
        }
        bytes.freeze()
    }
}

/// Adds a length of variable size.
pub(crate) fn put_length(bytes: &mut BytesMut, mut length: usize) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            return bytes.put_u8(low);
        }
        bytes.put_u8(low | 0x80);
    }
}

fn put_text(bytes: &mut BytesMut, text: &str) {
    put_binary(bytes, text.as_bytes());
}

/// Adds bytes after their length.
pub(crate) fn put_binary(bytes: &mut BytesMut, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("the hub's texts are shorter than 64 KiB");
    bytes.put_u16(length);
    bytes.put_slice(value);
}
