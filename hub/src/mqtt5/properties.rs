//! The properties of MQTT 5 packets (MQTT 5, section 2.2.2).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Mqtt5Publish;
use crate::mqtt::{Body, MAX_PACKET_BYTES, Malformed, put_binary, put_length};

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_ID: u8 = 0x0b;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_PROBLEM: u8 = 0x17;
const WILL_DELAY: u8 = 0x18;
const REQUEST_RESPONSE: u8 = 0x19;
const SERVER_REFERENCE: u8 = 0x1c;
pub(super) const REASON_STRING: u8 = 0x1f;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAX_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
pub(super) const USER: u8 = 0x26;
pub(super) const MAX_PACKET: u8 = 0x27;
pub(super) const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
pub(super) const SHARED_AVAILABLE: u8 = 0x2a;

/// The properties of a packet that sessions use. Others are checked and dropped.
#[derive(Default)]
pub(super) struct Properties {
    pub(super) expiry: Option<u32>,
    pub(super) content_type: Option<String>,
    pub(super) correlation: Option<Bytes>,
    pub(super) user: Vec<(String, String)>,
    pub(super) session_expiry: Option<u32>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) max_packet: Option<u32>,
    pub(super) has_subscription_id: bool,
}

/// The properties that each packet can have.
pub(super) const CONNECT: &[u8] = &[
    SESSION_EXPIRY,
    AUTHENTICATION_METHOD,
    AUTHENTICATION_DATA,
    REQUEST_PROBLEM,
    REQUEST_RESPONSE,
    RECEIVE_MAXIMUM,
    TOPIC_ALIAS_MAXIMUM,
    USER,
    MAX_PACKET,
];
pub(super) const WILL: &[u8] = &[
    PAYLOAD_FORMAT,
    MESSAGE_EXPIRY,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    WILL_DELAY,
    USER,
];
pub(super) const PUBLISH: &[u8] = &[
    PAYLOAD_FORMAT,
    MESSAGE_EXPIRY,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    TOPIC_ALIAS,
    USER,
];
pub(super) const ACKNOWLEDGEMENT: &[u8] = &[REASON_STRING, USER];
pub(super) const SUBSCRIBE: &[u8] = &[SUBSCRIPTION_ID, USER];
pub(super) const UNSUBSCRIBE: &[u8] = &[USER];
pub(super) const DISCONNECT: &[u8] = &[SESSION_EXPIRY, REASON_STRING, SERVER_REFERENCE, USER];

impl Properties {
    /// Reads the properties of a packet that can have those in `allowed`.
    pub(super) fn read(body: &mut Body, allowed: &[u8]) -> Result<Properties, Malformed> {
        let packet = body.name;
        let length = body.length()?;
        let mut body = Body { name: packet, bytes: body.take(length)? };
        let (mut properties, mut seen) = (Properties::default(), 0_u64);
        while !body.bytes.is_empty() {
            let property = body.byte()?;
            if !allowed.contains(&property) {
                return Err(Malformed::Property { packet, property });
            }
            let bit = 1 << property;
            if seen & bit != 0 && property != USER {
                return Err(Malformed::Repeated { packet, property });
            }
            seen |= bit;
            let invalid = Malformed::PropertyValue { packet, property };
            match property {
                PAYLOAD_FORMAT | REQUEST_PROBLEM | REQUEST_RESPONSE => {
                    if body.byte()? > 1 {
                        return Err(invalid);
                    }
                }
                MESSAGE_EXPIRY => properties.expiry = Some(body.number32()?),
                CONTENT_TYPE => properties.content_type = Some(body.text()?),
                CORRELATION_DATA => properties.correlation = Some(body.binary()?),
                SUBSCRIPTION_ID => {
                    if body.length()? == 0 {
                        return Err(invalid);
                    }
                    properties.has_subscription_id = true;
                }
                SESSION_EXPIRY => properties.session_expiry = Some(body.number32()?),
                WILL_DELAY => drop(body.number32()?),
                RECEIVE_MAXIMUM => match body.number()? {
                    0 => return Err(invalid),
                    maximum => properties.receive_maximum = Some(maximum),
                },
                MAX_PACKET => match body.number32()? {
                    0 => return Err(invalid),
                    maximum => properties.max_packet = Some(maximum),
                },
                TOPIC_ALIAS_MAXIMUM => drop(body.number()?),
                TOPIC_ALIAS => return Err(Malformed::TopicAlias),
                AUTHENTICATION_DATA => drop(body.binary()?),
                USER => properties.user.push((body.text()?, body.text()?)),
                // Response topic, authentication method, reason string, server reference.
                _ => drop(body.text()?),
            }
        }
        Ok(properties)
    }
}

/// Returns the properties of a message to a device.
pub(super) fn of_publish(message: &Mqtt5Publish) -> BytesMut {
    let mut bytes = BytesMut::new();
    if let Some(expiry) = message.expiry {
        bytes.put_u8(MESSAGE_EXPIRY);
        bytes.put_u32(expiry);
    }
    if let Some(text) = &message.content_type {
        bytes.put_u8(CONTENT_TYPE);
        put_binary(&mut bytes, text.as_bytes());
    }
    if let Some(correlation) = &message.correlation {
        bytes.put_u8(CORRELATION_DATA);
        put_binary(&mut bytes, correlation);
    }
    for (name, value) in &message.user {
        bytes.put_u8(USER);
        put_binary(&mut bytes, name.as_bytes());
        put_binary(&mut bytes, value.as_bytes());
    }
    bytes
}

/// Adds the properties of a CONNACK, which name the limits of this hub.
pub(super) fn put_connack(bytes: &mut BytesMut, session_expiry: Option<u32>) {
    let mut properties = BytesMut::new();
    if let Some(seconds) = session_expiry {
        properties.put_u8(SESSION_EXPIRY);
        properties.put_u32(seconds);
    }
    for (property, value) in
        [(MAX_QOS, 1), (RETAIN_AVAILABLE, 0), (SUBSCRIPTION_ID_AVAILABLE, 0), (SHARED_AVAILABLE, 0)]
    {
        properties.put_slice(&[property, value]);
    }
    properties.put_u8(MAX_PACKET);
    properties.put_u32(MAX_PACKET_BYTES as u32);
    put_length(bytes, properties.len());
    bytes.put_slice(&properties);
}
