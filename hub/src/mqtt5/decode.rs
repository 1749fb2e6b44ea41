//! Packet decoder.

use bytes::{Bytes, BytesMut};
use protocol::mqtt5::ReasonCode;

use super::properties::{self, Properties};
use super::{LEVEL, Mqtt5Connect, Mqtt5Inbound, Mqtt5Publish, Mqtt5Subscribe};
use crate::mqtt::{Body, Malformed, PacketType, take_packet};

/// The receive maximum of a device that does not send one.
const DEFAULT_RECEIVE_MAXIMUM: u16 = u16::MAX;

/// Removes one packet from the front of `buffer`. Returns `None` if the packet is incomplete.
pub(crate) fn decode(buffer: &mut BytesMut) -> Result<Option<Mqtt5Inbound>, Malformed> {
    let Some((kind, mut body)) = take_packet(buffer)? else { return Ok(None) };
    let packet = match kind {
        PacketType::Connect => connect(&mut body)?,
        PacketType::Publish { qos, duplicate, retain } => {
            publish(&mut body, qos, duplicate, retain)?
        }
        PacketType::PubAck => {
            let id = body.packet_id()?;
            reason(&mut body, properties::ACKNOWLEDGEMENT)?;
            Mqtt5Inbound::PubAck(id)
        }
        PacketType::Subscribe => subscribe(&mut body)?,
        PacketType::Unsubscribe => unsubscribe(&mut body)?,
        PacketType::PingReq => Mqtt5Inbound::PingReq,
        PacketType::Disconnect => {
            let (reason, properties) = reason(&mut body, properties::DISCONNECT)?;
            Mqtt5Inbound::Disconnect { reason, session_expiry: properties.session_expiry }
        }
    };
    body.end()?;
    Ok(Some(packet))
}

fn connect(body: &mut Body) -> Result<Mqtt5Inbound, Malformed> {
    if body.text()? != "MQTT" || body.byte()? != LEVEL {
        return Err(Malformed::Protocol);
    }
    let flags = body.byte()?;
    let (has_user, has_password, has_will) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 4 != 0);
    let (will_qos, will_retain) = ((flags >> 3) & 3, flags & 0x20 != 0);
    if flags & 1 != 0 || will_qos == 3 || (!has_will && (will_qos != 0 || will_retain)) {
        return Err(Malformed::ConnectFlags(flags));
    }
    if will_qos == 2 {
        return Err(Malformed::QosTwo);
    }
    let keep_alive_seconds = body.number()?;
    let own = Properties::read(body, properties::CONNECT)?;
    let client_id = body.text()?;
    let will = match has_will {
        true => {
            let properties = Properties::read(body, properties::WILL)?;
            let topic = body.topic()?;
            let payload = body.binary()?;
            Some(message(topic, payload, properties).with_retain(will_retain))
        }
        false => None,
    };
    Ok(Mqtt5Inbound::Connect(Box::new(Mqtt5Connect {
        clean_start: flags & 2 != 0,
        keep_alive_seconds,
        session_expiry: own.session_expiry.unwrap_or(0),
        receive_maximum: own.receive_maximum.unwrap_or(DEFAULT_RECEIVE_MAXIMUM),
        max_packet_bytes: own.max_packet,
        client_id,
        will,
        user_name: has_user.then(|| body.text()).transpose()?,
        password: has_password.then(|| body.binary()).transpose()?,
    })))
}

fn publish(
    body: &mut Body,
    qos: u8,
    duplicate: bool,
    retain: bool,
) -> Result<Mqtt5Inbound, Malformed> {
    let topic = body.topic()?;
    let id = (qos > 0).then(|| body.packet_id()).transpose()?;
    let properties = Properties::read(body, properties::PUBLISH)?;
    let payload = std::mem::take(&mut body.bytes);
    let message = message(topic, payload, properties);
    Ok(Mqtt5Inbound::Publish(Mqtt5Publish { id, duplicate, retain, ..message }))
}

fn message(topic: String, payload: Bytes, properties: Properties) -> Mqtt5Publish {
    let Properties { expiry, content_type, correlation, user, .. } = properties;
    Mqtt5Publish {
        topic,
        payload,
        expiry,
        content_type,
        correlation,
        user,
        ..Mqtt5Publish::default()
    }
}

impl Mqtt5Publish {
    fn with_retain(self, retain: bool) -> Mqtt5Publish {
        Mqtt5Publish { retain, ..self }
    }
}

/// Reads a reason code and properties, which may both be missing.
fn reason(body: &mut Body, allowed: &[u8]) -> Result<(ReasonCode, Properties), Malformed> {
    if body.bytes.is_empty() {
        return Ok((ReasonCode::SUCCESS, Properties::default()));
    }
    let reason = ReasonCode(body.byte()?);
    match body.bytes.is_empty() {
        true => Ok((reason, Properties::default())),
        false => Ok((reason, Properties::read(body, allowed)?)),
    }
}

fn subscribe(body: &mut Body) -> Result<Mqtt5Inbound, Malformed> {
    let id = body.packet_id()?;
    let has_identifier = Properties::read(body, properties::SUBSCRIBE)?.has_subscription_id;
    let mut filters = Vec::new();
    while filters.is_empty() || !body.bytes.is_empty() {
        if body.bytes.is_empty() {
            return Err(Malformed::Filter);
        }
        let filter = body.filter()?;
        // QoS, no local, retain as published, retain handling; two reserved bits.
        match body.byte()? {
            options if options & 0xc0 != 0 || options & 0x30 == 0x30 || options & 3 == 3 => {
                return Err(Malformed::Qos);
            }
            options => filters.push((filter, options & 3)),
        }
    }
    Ok(Mqtt5Inbound::Subscribe(Mqtt5Subscribe { id, filters, has_identifier }))
}

fn unsubscribe(body: &mut Body) -> Result<Mqtt5Inbound, Malformed> {
    let id = body.packet_id()?;
    Properties::read(body, properties::UNSUBSCRIBE)?;
    let mut filters = Vec::new();
    while filters.is_empty() || !body.bytes.is_empty() {
        if body.bytes.is_empty() {
            return Err(Malformed::Filter);
        }
        filters.push(body.filter()?);
    }
    Ok(Mqtt5Inbound::Unsubscribe { id, filters })
}
