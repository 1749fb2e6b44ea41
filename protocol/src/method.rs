//! Direct methods as the REST API says them: the request and its result.
//!
//! ```json
//! {"methodName":"reboot","payload":{"delay":5},"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}
//! {"status":200,"payload":{"result":true}}
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{ErrorCode, HubError};
use crate::id::{IdError, MethodName};

/// The largest payload, of a request and of an answer, in bytes of JSON.
pub const MAX_PAYLOAD_BYTES: usize = 128 * 1024;

/// How long the hub waits for the answer, unless told.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The seconds that the wait for the answer may be.
pub const RESPONSE_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 5..=300;

/// The seconds that the wait for the device may be.
pub const CONNECT_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 0..=300;

/// A direct method as a service asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodRequest {
    /// Which.
    pub name: MethodName,
    /// Any JSON value; `null` where none was given.
    pub payload: Value,
    /// From delivery to answer.
    pub response_timeout: Duration,
    /// How long the device may take to come online; zero does not wait.
    pub connect_timeout: Duration,
}

/// What the device answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// The device's own; HTTP-like, and not the HTTP status.
    pub status: i32,
    /// Any JSON value.
    #[serde(default)]
    pub payload: Value,
}

/// Why a body is not a method request; names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodBodyError {
    /// No name, or not a text.
    #[error("methodName is missing")]
    NoName,
    /// A name that breaks its rules.
    #[error("methodName: {0}")]
    Name(#[from] IdError),
    /// A time that is not whole seconds within the range.
    #[error("{field} must be within [{from}; {to}].")]
    Timeout {
        /// The field's name.
        field: &'static str,
        /// The least, in seconds.
        from: u64,
        /// The most, in seconds.
        to: u64,
    },
}

impl From<MethodBodyError> for HubError {
    fn from(error: MethodBodyError) -> HubError {
        HubError::new(ErrorCode::ArgumentInvalid, error.to_string())
    }
}

impl MethodRequest {
    /// A request with the default times.
    #[must_use]
    pub fn new(name: MethodName, payload: Value) -> MethodRequest {
        MethodRequest {
            name,
            payload,
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            connect_timeout: Duration::ZERO,
        }
    }

    /// Reads a body. Unknown fields are ignored, as clients send some.
    pub fn from_json(mut body: Map<String, Value>) -> Result<MethodRequest, MethodBodyError> {
        let name = body.get("methodName").and_then(Value::as_str).ok_or(MethodBodyError::NoName)?;
        let name = name.parse()?;
        let response = "responseTimeoutInSeconds";
        let connect = "connectTimeoutInSeconds";
        let response_timeout = seconds(&body, response, RESPONSE_TIMEOUT_SECONDS)?;
        let connect_timeout = seconds(&body, connect, CONNECT_TIMEOUT_SECONDS)?;
        Ok(MethodRequest {
            name,
            payload: body.remove("payload").unwrap_or(Value::Null),
            response_timeout: response_timeout.unwrap_or(DEFAULT_RESPONSE_TIMEOUT),
            connect_timeout: connect_timeout.unwrap_or(Duration::ZERO),
        })
    }

    /// The body to send.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "methodName": self.name,
            "payload": self.payload,
            "responseTimeoutInSeconds": self.response_timeout.as_secs(),
            "connectTimeoutInSeconds": self.connect_timeout.as_secs(),
        })
    }
}

fn seconds(
    body: &Map<String, Value>,
    field: &'static str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<Duration>, MethodBodyError> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seconds) if range.contains(&seconds) => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(MethodBodyError::Timeout { field, from: *range.start(), to: *range.end() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<MethodRequest, MethodBodyError> {
        let Value::Object(body) = body else { panic!("a body is an object") };
        MethodRequest::from_json(body)
    }

    #[test]
    fn the_bodies_of_the_official_clients_are_read() {
        let python = read(json!({"methodName": "echo", "payload": ""})).unwrap();
        assert_eq!(python.payload, json!(""));
        assert_eq!(python.response_timeout, DEFAULT_RESPONSE_TIMEOUT);
        let node = read(json!({"methodName": "echo", "payload": null,
            "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 300}))
        .unwrap();
        assert_eq!(node.payload, Value::Null);
        assert_eq!(node.connect_timeout, Duration::from_secs(300));
        assert_eq!(read(json!({"methodName": "echo"})).unwrap().payload, Value::Null);
    }

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let request = MethodRequest::new("reboot".parse().unwrap(), json!({"a": [1, null, "x"]}));
        assert_eq!(read(request.to_json()).unwrap(), request);
    }

    #[test]
    fn an_error_names_the_field() {
        for (body, message) in [
            (json!({}), "methodName is missing"),
            (
                json!({"methodName": "m", "responseTimeoutInSeconds": 4}),
                "responseTimeoutInSeconds must be within [5; 300].",
            ),
            (
                json!({"methodName": "m", "connectTimeoutInSeconds": 301}),
                "connectTimeoutInSeconds must be within [0; 300].",
            ),
            (
                json!({"methodName": "a b"}),
                "methodName: method name `a b` has a ' ', which is not allowed",
            ),
        ] {
            assert_eq!(read(body).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_result_without_payload_is_null() {
        let result: MethodResult = serde_json::from_str(r#"{"status":204}"#).unwrap();
        assert_eq!(result, MethodResult { status: 204, payload: Value::Null });
    }
}
