//! Topics: `ih/{device}/srv/{feature}` to the hub and `ih/{device}/dev/{feature}` to the
//! device.

use std::fmt;
use std::str::FromStr;

use crate::id::{DeviceId, IdError};

const PREFIX: &str = "ih/";

/// A topic of the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The device that sends or receives.
    pub device: DeviceId,
    /// The direction.
    pub direction: Direction,
    /// The last segment.
    pub feature: Feature,
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device to the hub.
    ToService,
    /// From the hub to the device.
    ToDevice,
}

/// The last segment of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// The birth handshake.
    Presence,
    /// Twins.
    Twin,
    /// Direct methods.
    Methods,
    /// Device-to-cloud messages.
    Telemetry,
}

/// A topic that the profile does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mqtt5TopicError {
    /// A topic of another form.
    #[error("topic is not `ih/DEVICE/srv/FEATURE` or `ih/DEVICE/dev/FEATURE`")]
    Form,
    /// A malformed device id.
    #[error("topic with a malformed device id")]
    Device(#[from] IdError),
}

impl Topic {
    /// Returns the topic filter of a device, the only one that it subscribes to.
    #[must_use]
    pub fn filter(device: &DeviceId) -> String {
        format!("{PREFIX}{device}/dev/#")
    }

    /// Returns `true` if a topic can contain this id. Ids with wildcards cannot use the profile.
    #[must_use]
    pub fn can_contain(device: &DeviceId) -> bool {
        !device.as_str().contains(['+', '#'])
    }
}

impl FromStr for Topic {
    type Err = Mqtt5TopicError;

    fn from_str(text: &str) -> Result<Topic, Mqtt5TopicError> {
        let mut segments = text.strip_prefix(PREFIX).ok_or(Mqtt5TopicError::Form)?.split('/');
        let mut next = || segments.next().ok_or(Mqtt5TopicError::Form);
        let device: DeviceId = next()?.parse()?;
        let direction = match next()? {
            "srv" => Direction::ToService,
            "dev" => Direction::ToDevice,
            _ => return Err(Mqtt5TopicError::Form),
        };
        let feature = match (next()?, direction) {
            ("presence", _) => Feature::Presence,
            ("twin", _) => Feature::Twin,
            ("methods", _) => Feature::Methods,
            ("telemetry", Direction::ToService) => Feature::Telemetry,
            _ => return Err(Mqtt5TopicError::Form),
        };
        match segments.next() {
            None if Topic::can_contain(&device) => Ok(Topic { device, direction, feature }),
            _ => Err(Mqtt5TopicError::Form),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::ToService => "srv",
            Direction::ToDevice => "dev",
        };
        let feature = match self.feature {
            Feature::Presence => "presence",
            Feature::Twin => "twin",
            Feature::Methods => "methods",
            Feature::Telemetry => "telemetry",
        };
        write!(f, "{PREFIX}{}/{direction}/{feature}", self.device)
    }
}
