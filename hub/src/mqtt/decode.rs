//! Packet decoder.

use bytes::{Buf, Bytes, BytesMut};

use super::{Connect, Inbound, MAX_PACKET_BYTES, Malformed, Publish, Will};

/// Removes one packet from the front of `buffer`. Returns `None` if the packet is incomplete.
pub(crate) fn decode(buffer: &mut BytesMut) -> Result<Option<Inbound>, Malformed> {
    let Some((kind, mut body)) = take_packet(buffer)? else { return Ok(None) };
    let packet = match kind {
        PacketType::Connect => connect(&mut body)?,
        PacketType::Publish { qos, duplicate, retain } => {
            publish(&mut body, qos, duplicate, retain)?
        }
        PacketType::PubAck => Inbound::PubAck(body.packet_id()?),
        PacketType::Subscribe => subscribe(&mut body)?,
        PacketType::Unsubscribe => unsubscribe(&mut body)?,
        PacketType::PingReq => Inbound::PingReq,
        PacketType::Disconnect => Inbound::Disconnect,
    };
    body.end()?;
    Ok(Some(packet))
}

/// Removes the type and the body of one packet from the front of `buffer`. Returns `None` if the
/// packet is incomplete.
pub(crate) fn take_packet(buffer: &mut BytesMut) -> Result<Option<(PacketType, Body)>, Malformed> {
    let Some(first) = buffer.first().copied() else { return Ok(None) };
    // Rejects an invalid type before the rest of the packet arrives.
    let kind = PacketType::of(first)?;
    let Some((header, length)) = length(buffer)? else { return Ok(None) };
    if header + length > MAX_PACKET_BYTES {
        return Err(Malformed::TooLarge(header + length));
    }
    if buffer.len() < header + length {
        buffer.reserve(header + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(header);
    Ok(Some((kind, Body { name: kind.name(), bytes: buffer.split_to(length).freeze() })))
}

/// Returns the protocol level of a CONNECT at the front of `buffer`, or `None` if its bytes have
/// not arrived. Returns level 4 for any other packet, which [`decode`] refuses.
pub(crate) fn first_level(buffer: &[u8]) -> Result<Option<u8>, Malformed> {
    const OTHER: Result<Option<u8>, Malformed> = Ok(Some(4));
    match buffer.first() {
        None => return Ok(None),
        Some(0x10) => {}
        Some(_) => return OTHER,
    }
    let Some((header, _)) = length(buffer)? else { return Ok(None) };
    let body = &buffer[header..];
    const NAME: &[u8] = b"\0\x04MQTT";
    match body.get(NAME.len()) {
        Some(level) if body.starts_with(NAME) => Ok(Some(*level)),
        None if NAME.starts_with(body) => Ok(None),
        _ => OTHER,
    }
}

/// The type of a packet from a device, with the flags of a PUBLISH.
#[derive(Clone, Copy)]
pub(crate) enum PacketType {
    Connect,
    Publish { qos: u8, duplicate: bool, retain: bool },
    PubAck,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
}

impl PacketType {
    /// Parses the first byte of a packet.
    pub(crate) fn of(first: u8) -> Result<PacketType, Malformed> {
        let flags = first & 0x0f;
        let (kind, expected_flags) = match first >> 4 {
            1 => (PacketType::Connect, 0),
            3 => {
                let (duplicate, retain) = (flags & 8 != 0, flags & 1 != 0);
                return match (flags >> 1) & 3 {
                    0 if duplicate => Err(Malformed::Qos),
                    qos @ 0..=1 => Ok(PacketType::Publish { qos, duplicate, retain }),
                    2 => Err(Malformed::QosTwo),
                    _ => Err(Malformed::Qos),
                };
            }
            4 => (PacketType::PubAck, 0),
            // A client can resume a QoS 2 delivery without repeating its PUBLISH.
            5..=7 => return Err(Malformed::QosTwo),
            8 => (PacketType::Subscribe, 2),
            10 => (PacketType::Unsubscribe, 2),
            12 => (PacketType::PingReq, 0),
            14 => (PacketType::Disconnect, 0),
            other => return Err(Malformed::Type(other)),
        };
        match flags == expected_flags {
            true => Ok(kind),
            false => Err(Malformed::Flags { packet: kind.name(), flags }),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            PacketType::Connect => "CONNECT",
            PacketType::Publish { .. } => "PUBLISH",
            PacketType::PubAck => "PUBACK",
            PacketType::Subscribe => "SUBSCRIBE",
            PacketType::Unsubscribe => "UNSUBSCRIBE",
            PacketType::PingReq => "PINGREQ",
            PacketType::Disconnect => "DISCONNECT",
        }
    }
}

/// Returns the length of the fixed header and the remaining length of the packet.
fn length(buffer: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    Ok(variable_length(&buffer[1..])?.map(|(count, length)| (count + 1, length)))
}

/// Returns the number of bytes of a length at the front of `bytes`, and the length.
fn variable_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // The standard allows redundant bytes in a length, but no client sends them.
            return if index > 0 && *byte == 0 {
                Err(Malformed::Length)
            } else {
                Ok(Some((index + 1, length)))
            };
        }
    }
    if bytes.len() > 3 { Err(Malformed::Length) } else { Ok(None) }
}

/// The unread bytes of a packet after its fixed header.
pub(crate) struct Body {
    /// The name of the packet, for errors.
    pub(crate) name: &'static str,
    pub(crate) bytes: Bytes,
}

impl Body {
    pub(crate) fn take(&mut self, count: usize) -> Result<Bytes, Malformed> {
        match self.bytes.len() {
            length if length < count => Err(Malformed::Short(self.name)),
            _ => Ok(self.bytes.split_to(count)),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn number(&mut self) -> Result<u16, Malformed> {
        Ok(self.take(2)?.get_u16())
    }

    pub(crate) fn number32(&mut self) -> Result<u32, Malformed> {
        Ok(self.take(4)?.get_u32())
    }

    /// Reads a length of variable size.
    pub(crate) fn length(&mut self) -> Result<usize, Malformed> {
        let (count, length) = variable_length(&self.bytes)?.ok_or(Malformed::Short(self.name))?;
        self.bytes.advance(count);
        Ok(length)
    }

    pub(crate) fn packet_id(&mut self) -> Result<u16, Malformed> {
        match self.number()? {
            0 => Err(Malformed::PacketId),
            id => Ok(id),
        }
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, Malformed> {
        let length = self.number()?;
        self.take(length.into())
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.binary()?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(Malformed::Text(self.name)),
        }
    }

    pub(crate) fn topic(&mut self) -> Result<String, Malformed> {
        match self.text()? {
            topic if topic.is_empty() || topic.contains(['+', '#']) => Err(Malformed::Topic),
            topic => Ok(topic),
        }
    }

    pub(crate) fn filter(&mut self) -> Result<String, Malformed> {
        match self.text()? {
            filter if filter.is_empty() => Err(Malformed::Filter),
            filter => Ok(filter),
        }
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.name)) }
    }
}

fn connect(body: &mut Body) -> Result<Inbound, Malformed> {
    // MQTT 3.1 has the protocol name MQIsdp. An unknown level is not malformed, but must be
    // answered with return code 1 (MQTT 3.1.1, section 3.1.2.2).
    let name = body.text()?;
    let level = body.byte()?;
    match (name.as_str(), level) {
        ("MQTT", 4) => {}
        ("MQTT" | "MQIsdp", level) => {
            body.bytes.clear();
            return Ok(Inbound::OtherVersion { level });
        }
        _ => return Err(Malformed::Protocol),
    }
    let flags = body.byte()?;
    let (has_user, has_password, has_will) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 4 != 0);
    let (will_qos, will_retain) = ((flags >> 3) & 3, flags & 0x20 != 0);
    if flags & 1 != 0
        || (has_password && !has_user)
        || will_qos == 3
        || (!has_will && (will_qos != 0 || will_retain))
    {
        return Err(Malformed::ConnectFlags(flags));
    }
    if will_qos == 2 {
        return Err(Malformed::QosTwo);
    }
    let keep_alive_seconds = body.number()?;
    let client_id = body.text()?;
    let will = match has_will {
        true => Some(Will { topic: body.topic()?, payload: body.binary()? }),
        false => None,
    };
    let user_name = has_user.then(|| body.text()).transpose()?;
    let password = match has_password {
        true => Some(
            String::from_utf8(body.binary()?.to_vec()).map_err(|_| Malformed::Text("password"))?,
        ),
        false => None,
    };
    let clean_session = flags & 2 != 0;
    Ok(Inbound::Connect(Connect {
        clean_session,
        keep_alive_seconds,
        client_id,
        user_name,
        password,
        will,
    }))
}

fn publish(body: &mut Body, qos: u8, duplicate: bool, retain: bool) -> Result<Inbound, Malformed> {
    let topic = body.topic()?;
    let id = (qos > 0).then(|| body.packet_id()).transpose()?;
    let payload = std::mem::take(&mut body.bytes);
    Ok(Inbound::Publish(Publish { topic, id, duplicate, retain, payload }))
}

fn subscribe(body: &mut Body) -> Result<Inbound, Malformed> {
    let id = body.packet_id()?;
    let mut filters = Vec::new();
    while filters.is_empty() || !body.bytes.is_empty() {
        if body.bytes.is_empty() {
            return Err(Malformed::Filter);
        }
        let filter = body.filter()?;
        match body.byte()? {
            qos @ 0..=2 => filters.push((filter, qos)),
            _ => return Err(Malformed::Qos),
        }
    }
    Ok(Inbound::Subscribe { id, filters })
}

fn unsubscribe(body: &mut Body) -> Result<Inbound, Malformed> {
    let id = body.packet_id()?;
    let mut filters = Vec::new();
    while filters.is_empty() || !body.bytes.is_empty() {
        if body.bytes.is_empty() {
            return Err(Malformed::Filter);
        }
        filters.push(body.filter()?);
    }
    Ok(Inbound::Unsubscribe { id, filters })
}
