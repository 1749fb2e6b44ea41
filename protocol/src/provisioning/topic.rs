//! The topics of the Device Provisioning Service, in both directions.
//!
//! Some clients split an answer's topic at `$`, so `$rid` comes first, and no other field has
//! a `$`.

use std::fmt;
use std::str::FromStr;

use super::id::OperationId;
use crate::id::{IdError, RequestId};
use crate::percent;

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?";
const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?";
const ANSWER: &str = "$dps/registrations/res/";

/// The topic filter of all answers.
pub const ANSWERS: &str = "$dps/registrations/res/#";

/// A topic that a device publishes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvisioningTopic {
    /// A registration.
    Register {
        /// The request id, which the answer repeats.
        rid: RequestId,
    },
    /// A poll of a registration in progress.
    Status {
        /// The request id, which the answer repeats.
        rid: RequestId,
        /// The registration.
        operation: OperationId,
    },
}

/// The topic of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningAnswer {
    /// The status, as in HTTP: 200 at the end, 202 in progress, otherwise an error.
    pub status: u16,
    /// The request id of the request.
    pub rid: RequestId,
    /// Number of seconds to wait before the next request.
    pub retry_after: Option<u64>,
}

/// A malformed topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisioningTopicError {
    /// A topic that the service does not have.
    #[error("topic `{0}` is not a topic of the Device Provisioning Service")]
    Unknown(String),
    /// A required field that is missing.
    #[error("topic `{topic}` has no {field}")]
    Missing {
        /// The whole topic, escaped.
        topic: String,
        /// `$rid` or `operationId`.
        field: &'static str,
    },
    /// A malformed request id or operation id.
    #[error("topic with a malformed id")]
    Id(#[from] IdError),
}

/// Escapes and truncates a topic for an error message.
fn escaped(topic: &str) -> String {
    json::excerpt(topic, 120).into_owned()
}

fn unknown(topic: &str) -> ProvisioningTopicError {
    ProvisioningTopicError::Unknown(escaped(topic))
}

fn find<'a>(query: &'a str, field: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == field).map(|(_, value)| value)
}

fn id<T: FromStr<Err = IdError>>(
    topic: &str,
    query: &str,
    field: &'static str,
) -> Result<T, ProvisioningTopicError> {
    let missing = || ProvisioningTopicError::Missing { topic: escaped(topic), field };
    let text = find(query, field).ok_or_else(missing)?;
    Ok(percent::decode(text).ok_or_else(missing)?.parse()?)
}

impl FromStr for ProvisioningTopic {
    type Err = ProvisioningTopicError;

    fn from_str(topic: &str) -> Result<ProvisioningTopic, ProvisioningTopicError> {
        if let Some(query) = topic.strip_prefix(REGISTER) {
            return Ok(ProvisioningTopic::Register { rid: id(topic, query, "$rid")? });
        }
        let query = topic.strip_prefix(STATUS).ok_or_else(|| unknown(topic))?;
        Ok(ProvisioningTopic::Status {
            rid: id(topic, query, "$rid")?,
            operation: id(topic, query, "operationId")?,
        })
    }
}

impl fmt::Display for ProvisioningTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProvisioningTopic::Register { rid } => write!(f, "{REGISTER}$rid={rid}"),
            ProvisioningTopic::Status { rid, operation } => {
                write!(f, "{STATUS}$rid={rid}&operationId={operation}")
            }
        }
    }
}

impl FromStr for ProvisioningAnswer {
    type Err = ProvisioningTopicError;

    fn from_str(topic: &str) -> Result<ProvisioningAnswer, ProvisioningTopicError> {
        let rest = topic.strip_prefix(ANSWER).ok_or_else(|| unknown(topic))?;
        let (status, query) = rest.split_once("/?").ok_or_else(|| unknown(topic))?;
        Ok(ProvisioningAnswer {
            status: status.parse().map_err(|_| unknown(topic))?,
            rid: id(topic, query, "$rid")?,
            // A malformed number is treated as missing: the answer itself is still valid.
            retry_after: find(query, "retry-after").and_then(|text| text.parse().ok()),
        })
    }
}

impl fmt::Display for ProvisioningAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProvisioningAnswer { status, rid, retry_after } = self;
        write!(f, "{ANSWER}{status}/?$rid={rid}")?;
        match retry_after {
            Some(seconds) => write!(f, "&retry-after={seconds}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_the_official_clients_survive_a_round_trip() {
        for text in [
            "$dps/registrations/PUT/iotdps-register/?$rid=9f3c",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=9f3c&operationId=4.d0a6-1",
        ] {
            assert_eq!(text.parse::<ProvisioningTopic>().unwrap().to_string(), text);
        }
        for text in [
            "$dps/registrations/res/202/?$rid=9f3c&retry-after=3",
            "$dps/registrations/res/200/?$rid=9f3c",
        ] {
            assert_eq!(text.parse::<ProvisioningAnswer>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_malformed_topic_is_refused_with_the_missing_field() {
        let poll = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1";
        let error = poll.parse::<ProvisioningTopic>().unwrap_err().to_string();
        assert_eq!(error, format!("topic `{poll}` has no operationId"));
        for bad in ["$dps/registrations/PUT/iotdps-register/", "$dps/registrations/res/x/?$rid=1"] {
            assert!(bad.parse::<ProvisioningTopic>().is_err(), "{bad}");
            assert!(bad.parse::<ProvisioningAnswer>().is_err(), "{bad}");
        }
        let answer = "$dps/registrations/res/429/?$rid=1&retry-after=soon";
        assert_eq!(answer.parse::<ProvisioningAnswer>().unwrap().retry_after, None);
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parsers_panic(text in "(\\$dps/registrations/)?[ -~]{0,60}") {
            let _ = text.parse::<ProvisioningTopic>();
            let _ = text.parse::<ProvisioningAnswer>();
        }
    }
}
