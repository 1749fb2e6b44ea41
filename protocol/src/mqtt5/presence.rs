//! The birth handshake, which follows every CONNECT.

use super::protobuf::{Message, Printer, ProtobufError, fields};

/// The first message of a device on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Birth {
    /// The session flag of the CONNACK, for diagnostics only.
    pub session_present: bool,
    /// The version of the reported properties that the device has.
    pub reported_version: u64,
    /// The version of the desired properties that the device has.
    pub desired_version: u64,
    /// Request for the desired properties, if their version differs.
    pub push_desired: bool,
    /// Request for the reported properties, if their version differs.
    pub push_reported: bool,
}

/// The answer to a [`Birth`]. Its fields have other numbers than those of the birth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BirthAck {
    /// The current version of the desired properties.
    pub desired_version: u64,
    /// The current version of the reported properties.
    pub reported_version: u64,
}

impl Message for Birth {
    fn decode(bytes: &[u8]) -> Result<Birth, ProtobufError> {
        let mut birth = Birth::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                1 => birth.session_present = field.boolean()?,
                10 => birth.reported_version = field.number()?,
                11 => birth.desired_version = field.number()?,
                12 => birth.push_desired = field.boolean()?,
                13 => birth.push_reported = field.boolean()?,
                _ => {}
            }
        }
        Ok(birth)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default()
            .number(1, self.session_present.into())
            .number(10, self.reported_version)
            .number(11, self.desired_version)
            .number(12, self.push_desired.into())
            .number(13, self.push_reported.into())
            .finish()
    }
}

impl Message for BirthAck {
    fn decode(bytes: &[u8]) -> Result<BirthAck, ProtobufError> {
        let mut ack = BirthAck::default();
        for field in fields(bytes)? {
            let field = field?;
            match field.number {
                10 => ack.desired_version = field.number()?,
                11 => ack.reported_version = field.number()?,
                _ => {}
            }
        }
        Ok(ack)
    }

    fn encode(&self) -> Vec<u8> {
        Printer::default()
            .number(10, self.desired_version)
            .number(11, self.reported_version)
            .finish()
    }
}
