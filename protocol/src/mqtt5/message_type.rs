//! The types of messages, in the user property `type`.

use std::fmt;
use std::str::FromStr;

use super::topic::{Direction, Feature};

/// The type of a message: a name and the version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// The first message of a device on a connection.
    Birth,
    /// The answer to a birth.
    BirthAck,
    /// A request for the twin.
    TwinGet,
    /// The answer with the twin.
    TwinGetResponse,
    /// A change of reported properties.
    ReportedPatch,
    /// The answer to a change of reported properties.
    ReportedPatchResponse,
    /// A change of desired properties.
    DesiredPatch,
    /// Complete sections of the twin.
    TwinPush,
    /// The question whether a method can run.
    Probe,
    /// The answer to a probe.
    ProbeAck,
    /// The request to run a method.
    Exec,
    /// The result of a method.
    Result,
    /// The message that a method does not run.
    Abandon,
    /// A device-to-cloud message.
    Telemetry,
}

/// A type that this version does not know. Messages of such a type are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown message type")]
pub struct UnknownType;

const NAMES: [(MessageType, &str); 14] = [
    (MessageType::Birth, "birth"),
    (MessageType::BirthAck, "birth-ack"),
    (MessageType::TwinGet, "get"),
    (MessageType::TwinGetResponse, "get-response"),
    (MessageType::ReportedPatch, "reported-patch"),
    (MessageType::ReportedPatchResponse, "reported-patch-response"),
    (MessageType::DesiredPatch, "desired-patch"),
    (MessageType::TwinPush, "twin-push"),
    (MessageType::Probe, "probe"),
    (MessageType::ProbeAck, "probe-ack"),
    (MessageType::Exec, "exec"),
    (MessageType::Result, "result"),
    (MessageType::Abandon, "abandon"),
    (MessageType::Telemetry, "telemetry"),
];

impl MessageType {
    /// All types.
    pub const ALL: [MessageType; 14] = {
        let mut all = [MessageType::Birth; 14];
        let mut index = 0;
        while index < all.len() {
            all[index] = NAMES[index].0;
            index += 1;
        }
        all
    };

    /// Returns the feature in the topic of messages of this type.
    #[must_use]
    pub fn feature(self) -> Feature {
        use MessageType::{Abandon, Birth, BirthAck, Exec, Probe, ProbeAck, Result, Telemetry};
        match self {
            Birth | BirthAck => Feature::Presence,
            Probe | ProbeAck | Exec | Result | Abandon => Feature::Methods,
            Telemetry => Feature::Telemetry,
            _ => Feature::Twin,
        }
    }

    /// Returns the direction in the topic of messages of this type.
    #[must_use]
    pub fn direction(self) -> Direction {
        use MessageType::{
            BirthAck, DesiredPatch, Exec, Probe, ReportedPatchResponse, TwinGetResponse, TwinPush,
        };
        match self {
            BirthAck
            | TwinGetResponse
            | ReportedPatchResponse
            | DesiredPatch
            | TwinPush
            | Probe
            | Exec => Direction::ToDevice,
            _ => Direction::ToService,
        }
    }
}

impl FromStr for MessageType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<MessageType, UnknownType> {
        let name = text.strip_suffix(":1").ok_or(UnknownType)?;
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind).ok_or(UnknownType)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:1", NAMES[*self as usize].1)
    }
}
