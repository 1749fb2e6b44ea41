//! Direct methods in the REST API: the request and its result.
//!
//! ```json
//! {"methodName":"reboot","payload":{"delay":5},"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}
//! {"status":200,"payload":{"result":true}}
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use json::{Json, JsonError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{ErrorCode, HubError};
use crate::id::{IdError, MethodName};

/// Maximum size of the payload of a request or an answer, in bytes of JSON.
pub const MAX_PAYLOAD_BYTES: usize = 128 * 1024;

/// Default time that the hub waits for the answer.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Allowed time to wait for the answer, in seconds.
pub const RESPONSE_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 5..=300;

/// Allowed time to wait for the device to connect, in seconds.
pub const CONNECT_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 0..=300;

/// A direct method that a service invokes.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodRequest {
    /// The name of the method.
    pub name: MethodName,
    /// The payload: any JSON value, byte for byte as sent; `null` if there is none.
    pub payload: Json,
    /// Maximum time from delivery to answer.
    pub response_timeout: Duration,
    /// Maximum time to wait for the device to connect. With zero, a call to an offline device
    /// fails immediately.
    pub connect_timeout: Duration,
}

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// The status chosen by the device, similar to but independent of the HTTP status.
    pub status: i32,
    /// The payload: any JSON value, byte for byte as sent.
    #[serde(default)]
    pub payload: Json,
}

/// A malformed method request. The message names the field.
#[derive(Debug, thiserror::Error)]
pub enum MethodBodyError {
    /// A body that is not JSON.
    #[error("the body is not JSON")]
    Syntax(#[source] serde_json::Error),
    /// A body that is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A payload that cannot be delivered.
    #[error("the payload {0}")]
    Payload(JsonError),
    /// A method name that is missing or not a string.
    #[error("methodName is missing")]
    NoName,
    /// A malformed method name.
    #[error("methodName")]
    Name(#[from] IdError),
    /// A timeout that is not a whole number of seconds within the range.
    #[error("{field} must be within [{from}; {to}].")]
    Timeout {
        /// The field's name.
        field: &'static str,
        /// The minimum, in seconds.
        from: u64,
        /// The maximum, in seconds.
        to: u64,
    },
}

impl From<MethodBodyError> for HubError {
    fn from(error: MethodBodyError) -> HubError {
        // An error body has a single message, so the cause is part of it.
        let message = match &error {
            MethodBodyError::Name(cause) => format!("{error}: {cause}"),
            MethodBodyError::Syntax(cause) => format!("{error}: {cause}"),
            _ => error.to_string(),
        };
        HubError::new(ErrorCode::ArgumentInvalid, message)
    }
}

impl MethodRequest {
    /// Creates a request with the default timeouts.
    #[must_use]
    pub fn new(name: MethodName, payload: impl Into<Json>) -> MethodRequest {
        MethodRequest {
            name,
            payload: payload.into(),
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            connect_timeout: Duration::ZERO,
        }
    }

    /// Parses a request body. Unknown fields are ignored, since some clients send them.
    /// If a field is repeated, its last value is used.
    pub fn from_json(body: &str) -> Result<MethodRequest, MethodBodyError> {
        let mut body: Body = serde_json::from_str(body).map_err(|error| match error.is_data() {
            true => MethodBodyError::NotAnObject,
            false => MethodBodyError::Syntax(error),
        })?;
        let name = field(&body, "methodName");
        let name = name.as_ref().and_then(Value::as_str).ok_or(MethodBodyError::NoName)?;
        let name = name.parse()?;
        let response = "responseTimeoutInSeconds";
        let connect = "connectTimeoutInSeconds";
        let response_timeout = seconds(&body, response, RESPONSE_TIMEOUT_SECONDS)?;
        let connect_timeout = seconds(&body, connect, CONNECT_TIMEOUT_SECONDS)?;
        let payload = body.remove("payload").map(|raw| Json::new(raw.get().to_owned()));
        Ok(MethodRequest {
            name,
            payload: payload.transpose().map_err(MethodBodyError::Payload)?.unwrap_or_default(),
            response_timeout: response_timeout.unwrap_or(DEFAULT_RESPONSE_TIMEOUT),
            connect_timeout: connect_timeout.unwrap_or(Duration::ZERO),
        })
    }

    /// Returns the request body. The payload is unchanged.
    #[must_use]
    pub fn to_json(&self) -> String {
        let body = SentBody {
            method_name: self.name.as_str(),
            payload: &self.payload,
            response_timeout_in_seconds: self.response_timeout.as_secs(),
            connect_timeout_in_seconds: self.connect_timeout.as_secs(),
        };
        serde_json::to_string(&body).expect("text and numbers are JSON")
    }
}

/// The fields of a body, as raw JSON.
type Body = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SentBody<'a> {
    method_name: &'a str,
    payload: &'a Json,
    response_timeout_in_seconds: u64,
    connect_timeout_in_seconds: u64,
}

/// Returns the value of a field; `None` if it is missing or cannot be represented.
fn field(body: &Body, name: &str) -> Option<Value> {
    body.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn seconds(
    body: &Body,
    name: &'static str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<Duration>, MethodBodyError> {
    let wrong = MethodBodyError::Timeout { field: name, from: *range.start(), to: *range.end() };
    match body.contains_key(name).then(|| field(body, name)) {
        None | Some(Some(Value::Null)) => Ok(None),
        Some(value) => match value.as_ref().and_then(Value::as_u64) {
            Some(seconds) if range.contains(&seconds) => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(wrong),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<MethodRequest, MethodBodyError> {
        MethodRequest::from_json(&body.to_string())
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
        assert_eq!(MethodRequest::from_json(&request.to_json()).unwrap(), request);
    }

    #[test]
    fn a_payload_is_passed_on_byte_for_byte() {
        let payload = r#"{"b":1.10, "a":[12345678901234567890123,1e2], "b":"\ud83d\ude00"}"#;
        let body = format!(r#"{{"payload":{payload},"methodName":"m"}}"#);
        let request = MethodRequest::from_json(&body).unwrap();
        assert_eq!(request.payload.get(), payload);
        assert!(request.to_json().contains(payload));
        let answer = format!(r#"{{"status":200,"payload":{payload}}}"#);
        let result: MethodResult = serde_json::from_str(&answer).unwrap();
        assert_eq!(serde_json::to_string(&result).unwrap(), answer);
    }

    #[test]
    fn a_malformed_body_is_refused_with_the_reason() {
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for (body, message) in [
            (
                format!(r#"{{"methodName":"m","payload":{deep}}}"#),
                "the payload is nested too deep: more than 100 levels",
            ),
            (
                r#"{"methodName":"m","payload":"\ud83d"}"#.to_owned(),
                "the payload has half of a surrogate pair",
            ),
            ("[]".to_owned(), "the body is not a JSON object"),
            (
                "{".to_owned(),
                "the body is not JSON: EOF while parsing an object at line 1 column 1",
            ),
        ] {
            let error = MethodRequest::from_json(&body).unwrap_err();
            assert_eq!(HubError::from(error).message, message);
        }
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
        assert_eq!(result, MethodResult { status: 204, payload: Json::default() });
    }
}
