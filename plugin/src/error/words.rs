//! Response to the caller of a failed call: a status, an error code and a message.
//!
//! ARCHITECTURE.md contains the same table. It is in this crate so that the host and the
//! author's tool respond alike.

use super::{CallError, Refusal};
use json::readable;

impl CallError {
    /// Returns the status of the response.
    pub fn status(&self) -> u16 {
        self.row().0
    }

    /// Returns the error code, which is `error` in the body of the response.
    pub fn word(&self) -> &'static str {
        self.row().1
    }

    /// Returns a message on one line of bounded length, for logs and callers.
    pub fn message(&self) -> String {
        let text = match self {
            CallError::Refused(Refusal::Busy(Some(ms))) => format!("busy; try again in {ms} ms"),
            CallError::Refused(refusal) => refusal.to_string(),
            // The error code already says that the guest trapped.
            CallError::Trapped(cause) => cause.clone(),
            other => other.to_string(),
        };
        readable(&text).into_owned()
    }

    fn row(&self) -> (u16, &'static str) {
        match self {
            CallError::PayloadNotJson(_) => (400, "invalid-payload"),
            CallError::PayloadTooLarge { .. } => (413, "too-large"),
            CallError::Busy { .. } | CallError::NoInstance(_) => (429, "busy"),
            CallError::NoExport(_) => (404, "unknown-method"),
            CallError::Refused(refusal) => (refusal.status(), "refused"),
            CallError::DeadlineExceeded(_) => (504, "deadline-exceeded"),
            CallError::OutOfMemory { .. } | CallError::NoMemory { .. } => (507, "out-of-memory"),
            CallError::Trapped(_) => (500, "trapped"),
            CallError::HostFault(_) => (500, "host-fault"),
            CallError::AnswerNotJson(_)
            | CallError::AnswerTooLarge { .. }
            | CallError::AnswerStatus(_) => (502, "bad-answer"),
        }
    }
}

impl Refusal {
    /// Returns the status of a refusal.
    fn status(&self) -> u16 {
        match self {
            Refusal::InvalidPayload(_) => 400,
            Refusal::UnknownMethod => 404,
            Refusal::Busy(_) => 429,
            Refusal::Failed(_) | Refusal::Other(_) => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let refused = |text: String| CallError::Refused(Refusal::Other(text)).message();

        assert_eq!(refused("two\nlines\u{1b}[31m".to_owned()), "two\\nlines\\u{1b}[31m");
        assert_eq!(refused("a\u{202e}b\u{2028}c".to_owned()), "a\\u{202e}b\\u{2028}c");
        assert_eq!(refused("x".repeat(5000)).len(), 1024);
    }
}
