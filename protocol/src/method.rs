//! Direct methods in the REST API: the request and its result.
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

/// The default time that the hub waits for the answer.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The allowed times to wait for the answer, in seconds.
pub const RESPONSE_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 5..=300;

/// The allowed times to wait for the device to connect, in seconds.
pub const CONNECT_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 0..=300;

/// A direct method that a service invokes.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodRequest {
    /// The method.
    pub name: MethodName,
    /// The payload: any JSON value; `null` if none was given.
    pub payload: Value,
    /// The longest time from delivery to answer.
    pub response_timeout: Duration,
    /// The longest time for the device to connect; zero does not wait.
    pub connect_timeout: Duration,
}

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// The status that the device chose: HTTP-like, but not the HTTP status.
    pub status: i32,
    /// The payload: any JSON value.
    #[serde(default)]
    pub payload: Value,
}

/// A malformed method request. The message names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodBodyError {
    /// A name that is missing or not a string.
    #[error("methodName is missing")]
    NoName,
    /// A malformed name.
    #[error("methodName")]
    Name(#[from] IdError),
    /// A time that is not a whole number of seconds within the range.
    #[error("{field} must be within [{from}; {to}].")]
    Timeout {
        /// The field's name.
        field: &'static str,
        /// The smallest allowed value, in seconds.
        from: u64,
        /// The largest allowed value, in seconds.
        to: u64,
    },
}

impl From<MethodBodyError> for HubError {
    fn from(error: MethodBodyError) -> HubError {
        // A body of the REST API has no chain of causes, only one message.
        let message = match &error {
            MethodBodyError::Name(cause) => format!("{error}: {cause}"),
            MethodBodyError::NoName | MethodBodyError::Timeout { .. } => error.to_string(),
        };
        HubError::new(ErrorCode::ArgumentInvalid, message)
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

    /// Returns the body to send.
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
    fn the_bodies_of_the_official_clients_are_parsed() {
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
    fn a_request_survives_a_round_trip() {
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
            assert_eq!(HubError::from(read(body).unwrap_err()).message, message);
        }
    }

    #[test]
    fn a_result_without_payload_has_a_null_payload() {
        let result: MethodResult = serde_json::from_str(r#"{"status":204}"#).unwrap();
        assert_eq!(result, MethodResult { status: 204, payload: Value::Null });
    }
}
