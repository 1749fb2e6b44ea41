//! Error responses of the REST API, from a client's point of view.

use std::fmt;

use serde_json::Value;

use super::ErrorCode;

/// Maximum size of a quoted body that does not come from the API, in bytes.
const MAX_FOREIGN_BODY_BYTES: usize = 500;

/// A response with an error status, sent by the hub or by a proxy.
///
/// If the response has no code of IoT Hub, `Display` shows the HTTP status instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The HTTP status.
    pub http_status: u16,
    /// The code, from the body or the header.
    pub code: ResponseCode,
    /// The message; empty if the response has none.
    pub message: String,
    /// Further details by name.
    pub info: Vec<(String, String)>,
}

/// The code of an error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseCode {
    /// A documented code.
    Known(ErrorCode),
    /// An undocumented number or name.
    Unknown(String),
    /// No code: the response does not come from the API of IoT Hub.
    Absent,
}

impl ErrorResponse {
    /// Parses a response in either format. If the body has no code, the code is taken
    /// from the header `iothub-errorcode`.
    #[must_use]
    pub fn parse(http_status: u16, header: Option<&str>, body: &str) -> ErrorResponse {
        let (in_body, message, info) = parse_body(body);
        let code = in_body.or_else(|| header.filter(|name| !name.is_empty()).map(by_name));
        let code = code.unwrap_or(ResponseCode::Absent);
        ErrorResponse { http_status, code, message, info }
    }

    /// Returns the code; `None` if it is missing or undocumented.
    #[must_use]
    pub fn known_code(&self) -> Option<ErrorCode> {
        match self.code {
            ResponseCode::Known(code) => Some(code),
            ResponseCode::Unknown(_) | ResponseCode::Absent => None,
        }
    }
}

/// Returns the code, the message and the info of a body.
fn parse_body(body: &str) -> (Option<ResponseCode>, String, Vec<(String, String)>) {
    let outer: Value = serde_json::from_str(body).unwrap_or_default();
    let message = outer.get("Message").or_else(|| outer.get("message")).and_then(Value::as_str);
    let Some(message) = message else {
        let is_text = !body.trim_start().starts_with('<') && body.len() <= MAX_FOREIGN_BODY_BYTES;
        let text = if is_text { body.trim() } else { "" };
        return (None, text.to_owned(), Vec::new());
    };
    if let Ok(Value::Object(inner)) = serde_json::from_str(message) {
        let code = inner.get("errorCode").and_then(Value::as_u64).map(by_number);
        let text = inner.get("message").and_then(Value::as_str).unwrap_or_default();
        let info = inner.get("info").and_then(Value::as_object).into_iter().flatten();
        let info = info.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
        return (code, text.to_owned(), info.collect());
    }
    match message.strip_prefix("ErrorCode:") {
        Some(rest) => {
            let (name, text) = rest.split_once(';').unwrap_or((rest, ""));
            (Some(by_name(name)), text.to_owned(), Vec::new())
        }
        None => (None, message.to_owned(), Vec::new()),
    }
}

fn by_number(number: u64) -> ResponseCode {
    let known = u32::try_from(number).ok().and_then(ErrorCode::from_number);
    known.map_or_else(|| ResponseCode::Unknown(number.to_string()), ResponseCode::Known)
}

fn by_name(name: &str) -> ResponseCode {
    let known = ErrorCode::from_name(name);
    known.map_or_else(
        || ResponseCode::Unknown(json::readable(name).into_owned()),
        ResponseCode::Known,
    )
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            ResponseCode::Known(code) => write!(f, "{code}")?,
            ResponseCode::Unknown(code) => write!(f, "{code} (HTTP {})", self.http_status)?,
            ResponseCode::Absent => write!(f, "HTTP {}", self.http_status)?,
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl std::error::Error for ErrorResponse {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, header: Option<&str>, body: &str, text: &str) {
        assert_eq!(ErrorResponse::parse(status, header, body).to_string(), text);
    }

    #[test]
    fn the_code_of_a_response_is_shown() {
        let body = r#"{"Message":"ErrorCode:DeviceNotFound;d1"}"#;
        check(404, None, body, "DeviceNotFound (404001): d1");
        check(404, Some("ModuleNotFound"), "", "ModuleNotFound (404010)");
        let body = r#"{"Message":"{\"errorCode\":404103,\"message\":\"offline\"}"}"#;
        check(404, None, body, "DeviceNotOnline (404103): offline");
    }

    #[test]
    fn an_undocumented_code_is_shown_unchanged() {
        let body = r#"{"Message":"{\"errorCode\":503001,\"message\":\"busy\"}"}"#;
        check(503, None, body, "503001 (HTTP 503): busy");
        check(409, None, r#"{"Message":"ErrorCode:Odd;d1"}"#, "Odd (HTTP 409): d1");
        check(400, Some("New\n"), "", "New\\n (HTTP 400)");
    }

    #[test]
    fn the_http_status_is_shown_if_there_is_no_code() {
        check(502, None, "<html>Bad Gateway</html>", "HTTP 502");
        check(404, None, "", "HTTP 404");
        check(404, Some(""), "", "HTTP 404");
        check(403, None, "blocked by policy\n", "HTTP 403: blocked by policy");
        check(
            500,
            None,
            r#"{"Message":"An error has occurred."}"#,
            "HTTP 500: An error has occurred.",
        );
    }
}
