//! Description of encoded packets, for traffic events.

/// An encoded packet of the hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SentPacket<'a> {
    Publish { topic: &'a str, qos: u8, payload: &'a [u8] },
    Other { name: &'static str },
}

impl SentPacket<'_> {
    /// Parses a packet that [`super::Outbound::encode`] has returned.
    pub(crate) fn parse(packet: &[u8]) -> SentPacket<'_> {
        publish(packet).unwrap_or(SentPacket::Other { name: packet_name(packet) })
    }
}

fn publish(packet: &[u8]) -> Option<SentPacket<'_>> {
    let (first, rest) = packet.split_first()?;
    if first >> 4 != 3 {
        return None;
    }
    let qos = first >> 1 & 3;
    let length_bytes = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let (topic_length, rest) = rest.get(length_bytes..)?.split_at_checked(2)?;
    let topic_length = u16::from_be_bytes(topic_length.try_into().ok()?);
    let (topic, rest) = rest.split_at_checked(topic_length.into())?;
    let payload = if qos == 0 { rest } else { rest.get(2..)? };
    Some(SentPacket::Publish { topic: std::str::from_utf8(topic).ok()?, qos, payload })
}

/// Returns the name of an encoded packet.
pub(crate) fn packet_name(packet: &[u8]) -> &'static str {
    match packet.first().map(|first| first >> 4) {
        Some(2) => "CONNACK",
        Some(3) => "PUBLISH",
        Some(4) => "PUBACK",
        Some(9) => "SUBACK",
        Some(11) => "UNSUBACK",
        Some(13) => "PINGRESP",
        Some(14) => "DISCONNECT",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outbound;
    use super::*;

    #[test]
    fn every_encoded_packet_is_recognised() {
        let long = vec![b'x'; 70_000];
        for payload in [&b""[..], b"{}", &long] {
            let plain = Outbound::Publish { topic: "a/b", payload }.encode();
            let expected = SentPacket::Publish { topic: "a/b", qos: 0, payload };
            assert_eq!(SentPacket::parse(&plain), expected);
            for duplicate in [false, true] {
                let acknowledged =
                    Outbound::PublishAcknowledged { id: 7, duplicate, topic: "a", payload };
                let expected = SentPacket::Publish { topic: "a", qos: 1, payload };
                assert_eq!(SentPacket::parse(&acknowledged.encode()), expected);
            }
        }
        for (packet, name) in [
            (Outbound::PubAck(1), "PUBACK"),
            (Outbound::SubAck { id: 1, codes: &[0] }, "SUBACK"),
            (Outbound::UnsubAck(1), "UNSUBACK"),
            (Outbound::PingResp, "PINGRESP"),
        ] {
            assert_eq!(SentPacket::parse(&packet.encode()), SentPacket::Other { name });
        }
    }
}
