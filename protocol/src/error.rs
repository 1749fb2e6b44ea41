//! Errors of the hub, and their two formats in a REST response.
//!
//! ```text
//! A  {"Message":"{\"errorCode\":404103,\"trackingId\":\"…\",\"message\":\"…\",\"info\":{},\"timestampUtc\":\"…\"}","ExceptionMessage":""}
//! B  {"Message":"ErrorCode:DeviceNotFound;mydevice","ExceptionMessage":"Tracking ID:…"}
//! ```
//!
//! In both cases the header `iothub-errorcode` contains the name of the code. The
//! official clients differ in which of these parts they read, so all of them are sent.

use std::fmt;

use serde_json::{Map, Value, json};

pub use code::ErrorCode;
pub use response::{ErrorResponse, ResponseCode};

mod code;
mod response;

/// An error that the hub returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HubError {
    /// The documented code.
    pub code: ErrorCode,
    /// The message.
    pub message: String,
    /// Further details by name, such as the `timeout` that expired.
    pub info: Vec<(String, String)>,
}

/// The format of an error in a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyShape {
    /// JSON encoded as a string within JSON: methods and newer parts of the API.
    Json,
    /// `ErrorCode:NAME;MESSAGE`: registry, twins and older parts of the API.
    Text,
}

impl HubError {
    /// Creates an error without further details.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> HubError {
        HubError { code, message: message.into(), info: Vec::new() }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_info(mut self, name: &str, value: impl Into<String>) -> HubError {
        self.info.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the body of a REST response. `timestamp` is in RFC 3339 format.
    #[must_use]
    pub fn to_body(&self, shape: BodyShape, tracking_id: &str, timestamp: &str) -> String {
        let body = match shape {
            BodyShape::Json => {
                let info: Map<String, Value> =
                    self.info.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
                let inner = json!({
                    "errorCode": self.code.number(),
                    "trackingId": tracking_id,
                    "message": self.message,
                    "info": info,
                    "timestampUtc": timestamp,
                });
                json!({"Message": inner.to_string(), "ExceptionMessage": ""})
            }
            BodyShape::Text => {
                return text_body(self.code.name(), &self.message, tracking_id, timestamp);
            }
        };
        body.to_string()
    }

    /// Parses a REST response in either format. Without a documented code, the error has the
    /// most general code for the HTTP status. To show an error to a user, parse an
    /// [`ErrorResponse`] instead.
    #[must_use]
    pub fn parse(http_status: u16, header: Option<&str>, body: &str) -> HubError {
        let ErrorResponse { code, message, info, .. } =
            ErrorResponse::parse(http_status, header, body);
        let code = match code {
            ResponseCode::Known(code) => code,
            ResponseCode::Unknown(_) | ResponseCode::Absent => {
                let from_header = header.and_then(ErrorCode::from_name);
                from_header.unwrap_or_else(|| ErrorCode::from_http_status(http_status))
            }
        };
        HubError { code, message, info }
    }
}

/// Returns the body of a response in the format `ErrorCode:NAME;MESSAGE`, also for names without
/// a documented number.
#[must_use]
pub fn text_body(name: &str, message: &str, tracking_id: &str, timestamp: &str) -> String {
    let body = json!({
        "Message": format!("ErrorCode:{name};{message}"),
        "ExceptionMessage": format!("Tracking ID:{tracking_id}-TimeStamp:{timestamp}"),
    });
    body.to_string()
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_survive_a_round_trip() {
        let offline =
            HubError::new(ErrorCode::DeviceNotOnline, "Timed out waiting for device to connect.")
                .with_info("timeout", "00:00:00");
        let body = offline.to_body(BodyShape::Json, "id", "2026-01-01T00:00:00Z");
        assert_eq!(HubError::parse(404, None, &body), offline);
        let unknown = HubError::new(ErrorCode::DeviceNotFound, "mydevice");
        let body = unknown.to_body(BodyShape::Text, "id", "2026-01-01T00:00:00Z");
        assert_eq!(HubError::parse(404, None, &body), unknown);
    }

    #[test]
    fn a_recorded_response_is_parsed() {
        let body = r#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"0a1b\",\"message\":\"Timed out waiting for device to connect.\",\"info\":{\"timeout\":\"00:00:00\"},\"timestampUtc\":\"2018-11-07T09:22:57.6054134Z\"}","ExceptionMessage":""}"#;
        let error = HubError::parse(404, Some("DeviceNotOnline"), body);
        assert_eq!(error.code, ErrorCode::DeviceNotOnline);
        assert_eq!(error.info, [("timeout".to_owned(), "00:00:00".to_owned())]);
    }

    #[test]
    fn an_offline_error_in_the_older_format_is_parsed() {
        let body = r#"{"Message":"ErrorCode:DeviceNotOnline;Timed out waiting for device to connect.","ExceptionMessage":"Tracking ID:1"}"#;
        assert_eq!(HubError::parse(404, None, body).code, ErrorCode::DeviceNotOnline);
    }

    #[test]
    fn a_code_missing_in_the_body_comes_from_the_header_or_the_status() {
        assert_eq!(
            HubError::parse(404, Some("ModuleNotFound"), "").code,
            ErrorCode::ModuleNotFound
        );
        assert_eq!(HubError::parse(401, None, "<html>").code, ErrorCode::IotHubUnauthorized);
        assert_eq!(HubError::parse(418, None, "").code, ErrorCode::GenericBadRequest);
        assert_eq!(HubError::parse(502, None, "").code, ErrorCode::ServerError);
    }

    proptest::proptest! {
        #[test]
        fn every_message_survives_a_round_trip(text in "[^;]{0,40}", number in 0usize..200) {
            let code = ErrorCode::ALL[number % ErrorCode::ALL.len()];
            let error = HubError::new(code, text);
            for shape in [BodyShape::Json, BodyShape::Text] {
                let body = error.to_body(shape, "t", "now");
                proptest::prop_assert_eq!(&HubError::parse(code.http_status(), None, &body), &error);
            }
        }

        #[test]
        fn no_body_makes_the_parser_panic(status: u16, body in "[ -~]{0,80}") {
            let _ = HubError::parse(status, Some(&body), &body);
        }
    }
}
