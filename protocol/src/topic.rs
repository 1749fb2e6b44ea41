//! The topics of IoT Hub's MQTT interface, in both directions.
//!
//! ```text
//! device → hub   $iothub/methods/res/{status}/?$rid={rid}
//!                $iothub/twin/GET/?$rid={rid}
//!                $iothub/twin/PATCH/properties/reported/?$rid={rid}
//!                $iothub/credentials/POST/issueCertificate/?$rid={rid}
//!                devices/{d}[/modules/{m}]/messages/events/{properties}
//! hub → device   $iothub/methods/POST/{method}/?$rid={rid}
//!                $iothub/twin/res/{status}/?$rid={rid}[&$version={v}]
//!                $iothub/twin/PATCH/properties/desired/?$version={v}
//!                $iothub/credentials/res/{status}/?$rid={rid}
//!                devices/{d}/messages/devicebound/{properties}
//! ```
//!
//! Some clients split topics at fixed positions. Therefore nothing may follow the `$rid`
//! of a method, and `$rid` must come first in a twin answer.

use std::fmt;
use std::str::FromStr;

use crate::id::{DeviceId, IdError, MethodName, ModuleId, RequestId};
use crate::percent;
use crate::properties::{MessageProperties, PropertiesError};

pub use filter::Filter;

mod filter;

const METHOD_REQUEST: &str = "$iothub/methods/POST/";
const METHOD_ANSWER: &str = "$iothub/methods/res/";
const TWIN_GET: &str = "$iothub/twin/GET/";
const TWIN_REPORT: &str = "$iothub/twin/PATCH/properties/reported/";
const TWIN_ANSWER: &str = "$iothub/twin/res/";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";
const ISSUE_CERTIFICATE: &str = "$iothub/credentials/POST/issueCertificate/";
const CREDENTIAL_ANSWER: &str = "$iothub/credentials/res/";

/// The path of MQTT over WebSocket on the hub's HTTPS port.
pub const WEBSOCKET_PATH: &str = "/$iothub/websocket";

/// Maximum size of a message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Maximum length of a topic, in bytes: its length is a 16-bit number (MQTT 3.1.1,
/// section 1.5.3).
pub const MAX_TOPIC_BYTES: usize = u16::MAX as usize;

/// Maximum size of a packet that a device sends, in bytes on the wire: the maximum
/// message, the maximum topic with its properties, and the MQTT headers.
pub const MAX_PACKET_BYTES: usize = MAX_MESSAGE_BYTES + MAX_TOPIC_BYTES + 16;

/// A topic that a device publishes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceTopic {
    /// The answer to a method.
    MethodAnswer {
        /// The status chosen by the device, similar to an HTTP status.
        status: i32,
        /// The request id of the method.
        rid: RequestId,
    },
    /// A request for the twin.
    TwinGet {
        /// The request id, which the answer repeats.
        rid: RequestId,
    },
    /// A change of the reported properties.
    TwinReport {
        /// The request id, which the answer repeats.
        rid: RequestId,
    },
    /// A request for a certificate.
    IssueCertificate {
        /// The request id, which the answers repeat.
        rid: RequestId,
    },
    /// A device-to-cloud message.
    Telemetry {
        /// The device that sends it.
        device: DeviceId,
        /// The module of the device, if a module sends it.
        module: Option<ModuleId>,
        /// System and application properties.
        properties: MessageProperties,
    },
}

/// A topic that the hub publishes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubTopic {
    /// A direct method.
    Method {
        /// The name of the method.
        name: MethodName,
        /// The request id, which the answer must repeat.
        rid: RequestId,
    },
    /// The answer to a twin request.
    TwinAnswer {
        /// 200 if the twin was read, 204 if reported properties were updated, otherwise an
        /// error.
        status: u16,
        /// The request id of the twin request.
        rid: RequestId,
        /// The new version of the reported properties, if they were updated.
        version: Option<u64>,
    },
    /// A change of the desired properties.
    Desired {
        /// The new version of the desired properties.
        version: u64,
    },
    /// An answer to a request for a certificate.
    CredentialAnswer {
        /// 202 if another answer follows, 200 with the certificate, otherwise an error.
        status: u16,
        /// The request id of the request.
        rid: RequestId,
    },
    /// A cloud-to-device message.
    CloudToDevice {
        /// The device that receives it.
        device: DeviceId,
        /// System and application properties.
        properties: MessageProperties,
    },
}

/// A malformed topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A topic that does not exist in IoT Hub.
    #[error("topic `{0}` is not a topic of IoT Hub")]
    Unknown(String),
    /// A status or version that is not a number.
    #[error("topic `{topic}` has a {what} that is not a number")]
    Number {
        /// The whole topic, escaped.
        topic: String,
        /// "status" or "version".
        what: &'static str,
    },
    /// A required field that is missing.
    #[error("topic `{topic}` has no {field}")]
    Missing {
        /// The whole topic, escaped.
        topic: String,
        /// `$rid` or `$version`.
        field: &'static str,
    },
    /// A malformed id or method name.
    #[error("topic with a malformed name")]
    Name(#[from] IdError),
    /// A malformed property bag.
    #[error("topic with malformed properties")]
    Properties(#[from] PropertiesError),
}

/// Escapes and truncates a topic for an error message.
fn escaped(topic: &str) -> String {
    json::excerpt(topic, 120).into_owned()
}

/// The query of a topic: the fields after `?`.
struct TopicQuery<'a> {
    topic: &'a str,
    text: &'a str,
}

impl<'a> TopicQuery<'a> {
    /// Splits `{segment}/?{query}`. The segment may be empty.
    fn split(topic: &'a str, rest: &'a str) -> Result<(&'a str, TopicQuery<'a>), TopicError> {
        let unknown = || TopicError::Unknown(escaped(topic));
        let (segment, text) = rest.split_once('?').ok_or_else(unknown)?;
        let segment = segment.strip_suffix('/').unwrap_or(segment);
        if segment.contains('/') {
            return Err(unknown());
        }
        Ok((segment, TopicQuery { topic, text }))
    }

    fn find(&self, field: &'static str) -> Option<&'a str> {
        let pairs = self.text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    fn rid(&self) -> Result<RequestId, TopicError> {
        let missing = || TopicError::Missing { topic: escaped(self.topic), field: "$rid" };
        let text = self.find("$rid").ok_or_else(missing)?;
        Ok(percent::decode(text).ok_or_else(missing)?.parse()?)
    }

    fn version(&self) -> Result<Option<u64>, TopicError> {
        self.find("$version").map(|text| number(self.topic, "version", text)).transpose()
    }
}

fn number<T: FromStr>(topic: &str, what: &'static str, text: &str) -> Result<T, TopicError> {
    text.parse().map_err(|_| TopicError::Number { topic: escaped(topic), what })
}

impl FromStr for DeviceTopic {
    type Err = TopicError;

    fn from_str(topic: &str) -> Result<DeviceTopic, TopicError> {
        let unknown = || TopicError::Unknown(escaped(topic));
        if let Some(rest) = topic.strip_prefix(METHOD_ANSWER) {
            let (status, query) = TopicQuery::split(topic, rest)?;
            return Ok(Self::MethodAnswer {
                status: number(topic, "status", status)?,
                rid: query.rid()?,
            });
        }
        if let Some(rest) = topic.strip_prefix(TWIN_GET) {
            let ("", query) = TopicQuery::split(topic, rest)? else { return Err(unknown()) };
            return Ok(Self::TwinGet { rid: query.rid()? });
        }
        if let Some(rest) = topic.strip_prefix(TWIN_REPORT) {
            let ("", query) = TopicQuery::split(topic, rest)? else { return Err(unknown()) };
            return Ok(Self::TwinReport { rid: query.rid()? });
        }
        if let Some(rest) = topic.strip_prefix(ISSUE_CERTIFICATE) {
            let ("", query) = TopicQuery::split(topic, rest)? else { return Err(unknown()) };
            return Ok(Self::IssueCertificate { rid: query.rid()? });
        }
        let rest = topic.strip_prefix("devices/").ok_or_else(unknown)?;
        let (device, rest) = rest.split_once('/').ok_or_else(unknown)?;
        let (module, rest) = match rest.strip_prefix("modules/") {
            Some(rest) => {
                let (module, rest) = rest.split_once('/').ok_or_else(unknown)?;
                (Some(module.parse()?), rest)
            }
            None => (None, rest),
        };
        let bag = match rest.strip_prefix("messages/events") {
            Some("") => "",
            Some(bag) => bag.strip_prefix('/').ok_or_else(unknown)?,
            None => return Err(unknown()),
        };
        // Some clients append a slash to the properties.
        let properties = bag.strip_suffix('/').unwrap_or(bag).parse()?;
        Ok(Self::Telemetry { device: device.parse()?, module, properties })
    }
}

impl fmt::Display for DeviceTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MethodAnswer { status, rid } => write!(f, "{METHOD_ANSWER}{status}/?$rid={rid}"),
            Self::TwinGet { rid } => write!(f, "{TWIN_GET}?$rid={rid}"),
            Self::TwinReport { rid } => write!(f, "{TWIN_REPORT}?$rid={rid}"),
            Self::IssueCertificate { rid } => write!(f, "{ISSUE_CERTIFICATE}?$rid={rid}"),
            Self::Telemetry { device, module: None, properties } => {
                write!(f, "devices/{device}/messages/events/{properties}")
            }
            Self::Telemetry { device, module: Some(module), properties } => {
                write!(f, "devices/{device}/modules/{module}/messages/events/{properties}")
            }
        }
    }
}

impl HubTopic {
    /// Returns the request id of a method with an otherwise malformed topic, so that the
    /// method can be answered. Returns `None` if the topic is not that of a method or has
    /// no request id.
    #[must_use]
    pub fn malformed_method(topic: &str) -> Option<RequestId> {
        // The malformed name may contain a question mark.
        let (_, text) = topic.strip_prefix(METHOD_REQUEST)?.rsplit_once('?')?;
        TopicQuery { topic, text }.rid().ok()
    }
}

impl FromStr for HubTopic {
    type Err = TopicError;

    fn from_str(topic: &str) -> Result<HubTopic, TopicError> {
        let unknown = || TopicError::Unknown(escaped(topic));
        if let Some(rest) = topic.strip_prefix(METHOD_REQUEST) {
            let (name, query) = TopicQuery::split(topic, rest)?;
            let name = percent::decode(name).ok_or_else(unknown)?.parse()?;
            return Ok(Self::Method { name, rid: query.rid()? });
        }
        if let Some(rest) = topic.strip_prefix(TWIN_ANSWER) {
            let (status, query) = TopicQuery::split(topic, rest)?;
            let status = number(topic, "status", status)?;
            return Ok(Self::TwinAnswer { status, rid: query.rid()?, version: query.version()? });
        }
        if let Some(rest) = topic.strip_prefix(DESIRED) {
            let ("", query) = TopicQuery::split(topic, rest)? else { return Err(unknown()) };
            let missing = || TopicError::Missing { topic: escaped(topic), field: "$version" };
            return Ok(Self::Desired { version: query.version()?.ok_or_else(missing)? });
        }
        if let Some(rest) = topic.strip_prefix(CREDENTIAL_ANSWER) {
            let (status, query) = TopicQuery::split(topic, rest)?;
            let status = number(topic, "status", status)?;
            return Ok(Self::CredentialAnswer { status, rid: query.rid()? });
        }
        let rest = topic.strip_prefix("devices/").ok_or_else(unknown)?;
        let (device, bag) = rest.split_once("/messages/devicebound/").ok_or_else(unknown)?;
        Ok(Self::CloudToDevice { device: device.parse()?, properties: bag.parse()? })
    }
}

impl fmt::Display for HubTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Only characters with a meaning in MQTT or in a URL are encoded.
            Self::Method { name, rid } => {
                write!(f, "{METHOD_REQUEST}{}/?$rid={rid}", MethodSegment(name.as_str()))
            }
            Self::TwinAnswer { status, rid, version: None } => {
                write!(f, "{TWIN_ANSWER}{status}/?$rid={rid}")
            }
            Self::TwinAnswer { status, rid, version: Some(version) } => {
                write!(f, "{TWIN_ANSWER}{status}/?$rid={rid}&$version={version}")
            }
            Self::Desired { version } => write!(f, "{DESIRED}?$version={version}"),
            Self::CredentialAnswer { status, rid } => {
                write!(f, "{CREDENTIAL_ANSWER}{status}/?$rid={rid}")
            }
            Self::CloudToDevice { device, properties } => {
                write!(f, "devices/{device}/messages/devicebound/{properties}")
            }
        }
    }
}

/// A method name as a topic segment. `%`, `#` and `+` must be encoded. `*` must not, since
/// some clients look up `component*command` without decoding it.
struct MethodSegment<'a>(&'a str);

impl fmt::Display for MethodSegment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '%' => f.write_str("%25")?,
                '#' => f.write_str("%23")?,
                '+' => f.write_str("%2B")?,
                other => fmt::Write::write_char(f, other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
