//! Errors of calls, and the status, code and message that the caller of a method receives.
//!
//! The host and the author's tool both use this table, which docs/reference/failures.md
//! documents.

use json::{JsonError, readable};
use std::time::Duration;

/// The reason why a call ended without an answer from the plugin.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A payload that is not JSON. The plugin was not called.
    #[error("payload {0}")]
    PayloadNotJson(JsonError),
    /// A payload above `payload_bytes`. The plugin was not called.
    #[error("payload has {bytes} bytes; {limit_bytes} are allowed")]
    PayloadTooLarge {
        /// Size of the payload.
        bytes: usize,
        /// Limit `payload_bytes`.
        limit_bytes: usize,
    },
    /// A call above the plugin's limit on concurrent calls.
    #[error("{calls_at_once} calls are running, which is the limit")]
    Busy {
        /// Limit `calls_at_once`.
        calls_at_once: usize,
    },
    /// An exhausted pool or memory budget of the engine. The plugin was not called.
    #[error("no capacity for another instance: {0}")]
    NoInstance(String),
    /// A call of an interface that the component does not export.
    #[error("does not export `device:behaviour/{0}`")]
    NoExport(&'static str),
    /// The plugin's refusal.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// A call past its deadline. The instance was dropped, so its work can be incomplete.
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// A call above its memory limit. The instance was dropped.
    #[error("exceeded its limit of {limit_bytes} bytes of memory")]
    OutOfMemory {
        /// Limit `memory_bytes`, or the maximum for one call in the budget if that is lower.
        limit_bytes: usize,
    },
    /// A call that grew while other calls used the memory budget, which is not the plugin's
    /// fault. The instance was dropped.
    #[error("no memory left of the {limit_bytes} bytes for all calls")]
    BudgetExhausted {
        /// Setting `memory_bytes` of the engine.
        limit_bytes: usize,
    },
    /// A trap of the guest. The instance was dropped.
    #[error("trapped: {0}")]
    Trapped(String),
    /// A panic of a host function, or of the code between host and guest. The instance was
    /// dropped.
    #[error("fault in the host: {0}")]
    HostFault(String),
    /// An answer that is not JSON, which was dropped.
    #[error("answer {0}")]
    AnswerNotJson(JsonError),
    /// A result with a string that is not UTF-8, which was dropped.
    #[error("answer has a string that is not UTF-8")]
    AnswerNotText,
    /// An answer above `answer_bytes`, which was dropped.
    #[error("answer has {bytes} bytes; {limit_bytes} are allowed")]
    AnswerTooLarge {
        /// Size of the answer.
        bytes: usize,
        /// Limit `answer_bytes`.
        limit_bytes: usize,
    },
    /// An answer with a status out of range, which was dropped.
    #[error("answer has status {0}, which is not between 100 and 599")]
    AnswerStatus(u16),
}

impl CallError {
    /// Returns the status of the answer to the caller.
    pub fn status(&self) -> u16 {
        self.status_and_code().0
    }

    /// Returns the code of the error: `error` in the body of the answer.
    pub fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// Returns a message on one line of bounded length, for logs and callers.
    pub fn message(&self) -> String {
        let text = match self {
            CallError::Refused(Refusal::Busy(Some(ms))) => format!("busy; try again in {ms} ms"),
            CallError::Refused(refusal) => refusal.to_string(),
            // The code already names the trap.
            CallError::Trapped(cause) => cause.clone(),
            other => other.to_string(),
        };
        readable(&text).into_owned()
    }

    /// Returns `true` if the call failed only because other calls use the capacity of the
    /// plugin or of the host. The same call can succeed later.
    pub fn is_lack_of_capacity(&self) -> bool {
        matches!(
            self,
            CallError::Busy { .. } | CallError::NoInstance(_) | CallError::BudgetExhausted { .. }
        )
    }

    fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            CallError::PayloadNotJson(_) => (400, "invalid-payload"),
            CallError::PayloadTooLarge { .. } => (413, "too-large"),
            CallError::Busy { .. } | CallError::NoInstance(_) => (429, "busy"),
            CallError::NoExport(_) => (501, "no-export"),
            CallError::Refused(refusal) => (refusal.status(), "refused"),
            CallError::DeadlineExceeded(_) => (504, "deadline-exceeded"),
            CallError::OutOfMemory { .. } | CallError::BudgetExhausted { .. } => {
                (507, "out-of-memory")
            }
            CallError::Trapped(_) => (500, "trapped"),
            CallError::HostFault(_) => (500, "host-fault"),
            CallError::AnswerNotJson(_)
            | CallError::AnswerNotText
            | CallError::AnswerTooLarge { .. }
            | CallError::AnswerStatus(_) => (502, "bad-answer"),
        }
    }
}

/// A plugin's refusal of a call. Its messages are not escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A payload that is JSON, but not valid for the method.
    #[error("invalid payload: {0}")]
    InvalidPayload(String),
    /// A method that is routed to the plugin, but not implemented by it.
    #[error("unknown method")]
    UnknownMethod,
    /// A busy plugin, with the milliseconds after which the caller can retry.
    #[error("busy")]
    Busy(Option<u32>),
    /// A failed attempt of the plugin.
    #[error("failed: {0}")]
    Failed(String),
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    /// Returns the status of the answer to the caller.
    fn status(&self) -> u16 {
        match self {
            Refusal::InvalidPayload(_) => 400,
            Refusal::UnknownMethod => 404,
            Refusal::Busy(_) => 429,
            Refusal::Failed(_) | Refusal::Other(_) => 500,
        }
    }
}

/// A plugin's error for a job or a change of the desired properties. Its messages are not
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// A request to retry after this many milliseconds, or after the host's own delay.
    #[error("retry requested")]
    Retry(Option<u32>),
    /// A permanent failure, after which the job is not retried.
    #[error("rejected: {0}")]
    Reject(String),
    /// Any other error, after which the job is retried after the host's own delay.
    #[error("{0}")]
    Other(String),
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
