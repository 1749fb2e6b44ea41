//! Outcomes of methods.

use json::Json;
use protocol::error::{ErrorCode, HubError};
use protocol::method::{MAX_PAYLOAD_BYTES, MethodResult};
use protocol::mqtt5::Rejection;
use serde_json::json;

/// Outcome of a method: the device's answer, or an error of the hub.
pub(crate) type MethodOutcome = Result<MethodResult, HubError>;

/// Converts a device's answer to the outcome that the caller receives.
pub(crate) fn method_outcome(status: i32, body: &[u8]) -> MethodOutcome {
    if body.len() > MAX_PAYLOAD_BYTES {
        let text = format!(
            "the device's answer has {} bytes; at most {MAX_PAYLOAD_BYTES} are allowed",
            body.len()
        );
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    if body.is_empty() {
        return Ok(MethodResult { status, payload: Json::default() });
    }
    let payload = std::str::from_utf8(body)
        .map_err(|_| "is not UTF-8".to_owned())
        .and_then(|text| text.parse::<Json>().map_err(|e| e.to_string()));
    let payload = payload.map_err(|reason| {
        HubError::new(ErrorCode::ServerError, format!("the device's answer {reason}"))
    })?;
    Ok(MethodResult { status, payload })
}

/// Returns the outcome of a method that a device of MQTT 5 has rejected before it ran. Azure has
/// not published one; this hub answers like a device of MQTT 3.1.1 that refuses a call.
pub(super) fn rejected(reason: Rejection) -> MethodResult {
    let (status, error, message) = match reason {
        Rejection::MethodNotFound => (404, "unknown-method", "the device has no such method"),
        Rejection::InsufficientTime => {
            (408, "insufficient-time", "the method takes longer than the response timeout")
        }
        Rejection::DeviceBusy => (429, "busy", "the device runs as many methods as it can"),
        Rejection::Unspecified => (503, "rejected", "the device gave no reason"),
    };
    let message = format!("rejected before it ran: {message}");
    MethodResult { status, payload: json!({"error": error, "message": message}).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_passed_on_byte_for_byte() {
        let body = r#"{"b":1.10,"a":12345678901234567890123,"b":1e2}"#;
        assert_eq!(method_outcome(200, body.as_bytes()).unwrap().payload.get(), body);
    }

    #[test]
    fn a_malformed_answer_is_refused_with_the_reason() {
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for (body, reason) in [
            (deep.as_bytes(), "is nested too deep: more than 100 levels"),
            (br#""\ud83d""#, "has half of a surrogate pair"),
            (b"\xff", "is not UTF-8"),
        ] {
            let error = method_outcome(200, body).unwrap_err();
            assert_eq!(error.message, format!("the device's answer {reason}"));
        }
    }
}
